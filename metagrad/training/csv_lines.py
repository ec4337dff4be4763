"""Lines of comma-separated values that any program reads back to the same numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def csv_line(cells: Iterable[Any]) -> bytes:
    """Return a line: floats with all their digits, NaN and None empty, inf as it is, True and False as 1 and 0.

    >>> csv_line([3, 0.1, float("nan"), float("-inf"), True, "final loss", None])
    b'3,0.1,,-inf,1,final loss,\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(x) for x in cells])
    return text.getvalue().encode()


def _cell(x: Any) -> Any:
    if x is None:
        return ""
    if isinstance(x, bool | np.bool_):
        return int(x)
    if isinstance(x, np.generic):
        x = x.item()
    return "" if isinstance(x, float) and math.isnan(x) else x
