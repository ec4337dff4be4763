"""What all plots of runs share: axes, lines that differ in grey too, and when a scale is logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metagrad.errors import bad_type
from metagrad.xp import Array

_WIDE = 10.0  # how many times the least the most is where a logarithmic scale shows more than a linear one
_SHADES = ("#000000", "#c1440e", "#0b5fa5", "#d99a00", "#177d5b", "#9b4f96", "#5aa9d6")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "x", "P")
_MOST_MARKERS = 12


def axes_of(where: str, ax: Any) -> Any:
    """Return the axes that were given, or those of a new figure; TypeError for what is no axes."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(figsize=(6.4, 4.0), layout="constrained")[1]
    if isinstance(ax, type) or not all(callable(getattr(ax, name, None)) for name in ("plot", "set_xlabel", "legend")):
        bad_type(where, "ax", f"a {type(ax).__name__}", "matplotlib axes, or None for new ones", "Use plt.subplots().")
    return ax


def look(number: int, points: int, of: int = 1) -> dict[str, Any]:
    """Return how line `number` of `of` looks: the first six differ in shade, dash and marker, so that grey print tells.

    Markers are a few, and beside those of the other lines, so that bars at them do not cover one another.
    """
    every = max(1, points // _MOST_MARKERS, min(of, points // 4))
    return {
        "color": _SHADES[number % len(_SHADES)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 3.5,
        "markevery": (number * every // of, every),
        "linewidth": 1.5,
    }


def is_logarithmic(numbers: Sequence[Array]) -> bool:
    """Tell whether all finite numbers are above 0, and the most is many times the least."""
    joined = np.concatenate([np.ravel(x) for x in numbers]) if numbers else np.zeros(0)
    seen = joined[np.isfinite(joined)]
    return bool(seen.size) and bool(seen.min() > 0) and bool(seen.max() > _WIDE * seen.min())


def finish(axes: Any, x: str, y: str, *, logarithmic: bool, legend: bool = True) -> None:
    """Label the axes, set the scale, count in whole numbers along x, and draw the legend."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if logarithmic:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(fontsize="small", framealpha=0.8, edgecolor="none")
