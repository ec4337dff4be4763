"""The page of operations is the table's, and its code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy

from metagrad.ad import listing, table

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_page_is_made_from_the_table():
    made_with = f"NumPy {listing.minor(np.__version__)} and SciPy {listing.minor(scipy.__version__)}"
    if made_with not in PAGE:
        pytest.skip(f"the page was made with other versions than {made_with}")
    assert listing.markdown() == PAGE, "make it anew: python -m metagrad.ad.listing > docs/operations.md"


def test_every_function_of_the_table_is_on_the_page():
    table.load_late()
    for function in (*table.FUNCTIONS, *table.CONSTANT):
        assert f"`{listing.name_of(function)}`" in PAGE or not hasattr(function, "__module__")


def test_the_example_of_an_operation_runs(monkeypatch, capsys):
    monkeypatch.setattr(table, "FUNCTIONS", dict(table.FUNCTIONS))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.split() == ["[1.", "1.]"]
