"""Where each function of the table is smooth: examples of its arguments, on which it is tested.

`DOMAINS[function]` lists the positional arguments of example calls; `draw` puts a random float array for each `Draw`
among them. Those arrays are differentiated, all else is constant. A function without an entry fails a test.
"""

from __future__ import annotations

from typing import Any

from metagrad.ad.domains import (
    angles,
    contractions,
    cumulative,
    elementwise,
    factors,
    filters,
    grids,
    joining,
    linalg,
    picking,
    products,
    rearranging,
    reductions,
    rounding,
    scipy_linalg,
    shapes,
    signals,
    sorting,
    special,
    spectra,
    statistics,
)
from metagrad.ad.domains.draws import Draw, Example, as_reals, draw

__all__ = ["DOMAINS", "Draw", "Example", "as_reals", "draw"]

DOMAINS: dict[Any, list[Example]] = {}
for _family in (
    angles,
    contractions,
    cumulative,
    elementwise,
    factors,
    filters,
    grids,
    joining,
    linalg,
    picking,
    products,
    rearranging,
    reductions,
    rounding,
    scipy_linalg,
    shapes,
    signals,
    sorting,
    special,
    spectra,
    statistics,
):
    DOMAINS |= _family.EXAMPLES
