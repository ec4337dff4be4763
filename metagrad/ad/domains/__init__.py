"""Where each function of the table is smooth: examples of its arguments, on which it is tested.

`DOMAINS[function]` lists the positional arguments of example calls; `draw` puts a random float array for each `Draw`
among them. Those arrays are differentiated, all else is constant. A function without an entry fails a test.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from metagrad.ad.domains.draws import Draw, Example, as_reals, draw

__all__ = ["DOMAINS", "Draw", "Example", "as_reals", "draw"]

_FAMILIES = (
    "angles",
    "contractions",
    "cumulative",
    "elementwise",
    "factors",
    "filters",
    "grids",
    "joining",
    "linalg",
    "picking",
    "products",
    "rearranging",
    "reductions",
    "rounding",
    "scipy_linalg",
    "shapes",
    "signals",
    "sorting",
    "special",
    "spectra",
    "statistics",
)
DOMAINS: dict[Any, list[Example]] = {}
for _family in _FAMILIES:
    DOMAINS |= import_module(f"metagrad.ad.domains.{_family}").EXAMPLES
