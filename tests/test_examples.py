"""Every example runs, is short enough to be read at a glance, and is listed in the pages."""

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MOST_LINES = 15
NEEDS = {"pytorch_loop": "torch", "property_test": "hypothesis"}  # what is not among the requirements


def lines_of_code(source: str) -> int:
    """Count lines that are neither blank nor the docstring nor an import: what a reader has to follow."""
    skipped = set()
    for node in ast.parse(source).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            skipped |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(bool(line.strip()) and number not in skipped for number, line in lines)


def test_there_are_examples():
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example(path, tmp_path):
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "a sentence says what it shows"
    assert lines_of_code(source) <= MOST_LINES
    if path.stem in NEEDS and find_spec(NEEDS[path.stem]) is None:
        pytest.skip(f"{NEEDS[path.stem]} is not installed")
    run = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "PATH": ""},
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"\d", run.stdout), "it prints a number"
    assert not re.search(r"\b(nan|inf)\b", run.stdout)


def test_the_pages_list_them_all():
    pages = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md")))
    assert {path.name for path in EXAMPLES} == set(re.findall(r"examples/(\w+\.py)", pages))
