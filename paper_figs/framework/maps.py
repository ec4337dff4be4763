"""Maps of who wins, over two axes: by colour, and without colour by a hatch and a line."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

CLEAR = float(np.log10(1.02))  # what differs by less is not hatched: nobody would tell it from equal
_HATCH = "////"


def two_sided(ax: Axes, x: np.ndarray, y: np.ndarray, logs: np.ndarray, largest: float = 1.0) -> Any:
    """Shade by decimal logarithms (y, x) of a ratio, from -largest to largest, and return the shades for a colour bar.

    Orange where they are positive, violet and hatched where the ratio is below 1 by more than 2 per cent: both ends
    are dark in grey, and the hatch tells them apart.
    """
    shade = ax.pcolormesh(x, y, logs, cmap="PuOr_r", vmin=-largest, vmax=largest, rasterized=True)
    if (logs < -CLEAR).any():
        hatched = ax.contourf(x, y, logs, [-np.inf, -CLEAR], colors="none", hatches=[_HATCH])
        hatched.set(edgecolor="#555555", linewidth=0)
    return shade


def hatched(label: str) -> Patch:
    """Return the hatch of `two_sided` for a legend."""
    return Patch(facecolor="#d8d4e8", edgecolor="#555555", hatch=_HATCH, linewidth=0, label=label)


def above(y: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Return, for each column of logs (y, x), the y above which all are positive, between points in the logarithm.

    NaN where that is none of the y in sight: where the last is not positive, or all are.
    """
    found = np.full(logs.shape[1], np.nan)
    for column, z in enumerate(logs.T):
        below = np.flatnonzero(~(z > 0))
        if below.size and below[-1] + 1 < len(y):
            k = below[-1]
            share = -z[k] / (z[k + 1] - z[k])
            found[column] = np.exp(np.log(y[k]) + share * (np.log(y[k + 1]) - np.log(y[k])))
    return found
