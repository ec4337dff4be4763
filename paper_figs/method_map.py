"""Map over step size and horizon: where each method's meta-gradient of the log objective is right."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import HORIZON, IN_CURVATURES, letter, new_figure

title = "Who returns a right meta-gradient, and where"
alt = "Eight maps over step size and horizon, one for each method, shaded by outcome: right, wrong, zero, not a number."

_LONG = 18  # letters that fit above a panel

# shades, distinct in grey, and hatches
_LOOK = {
    "right": ("#f4f1e8", ""),
    "wrong": ("#D55E00", "////"),
    "zero": ("#56B4E9", "...."),
    "not a number": ("#1a1a1a", ""),
}


def draw(result: Result) -> Figure:
    """Draw one map a method."""
    outcome, steps, etas = (result.arrays[name] for name in ("outcome", "steps", "etas"))
    outcomes = result.arrays["outcomes"].tolist()  # what the codes stand for
    shades, hatches = zip(*(_LOOK[name] for name in outcomes), strict=True)
    figure, axes = new_figure(2, 4, height=4.3, sharex=True, sharey=True)
    colours, norm = ListedColormap(shades), BoundaryNorm(np.arange(-0.5, len(shades)), len(shades))
    for panel, (ax, name) in enumerate(zip(axes.flat, result.names("outcome"), strict=True)):
        ax.pcolormesh(etas, steps, outcome[panel], cmap=colours, norm=norm, shading="nearest", rasterized=True)
        for code, hatch in enumerate(hatches):
            if hatch:
                _hatch(ax, outcome[panel] == code, _edges(etas), np.exp(_edges(np.log(steps))), hatch)
        ax.set(yscale="log", title=name.replace(", ", ",\n") if len(name) > _LONG else name)
        ax.grid(visible=False)
        ax.axvline(2, color="black", linewidth=0.7, linestyle=":")
        share = (outcome[panel] == outcomes.index("right")).mean()
        ax.text(
            0.04,
            0.05,
            f"{100 * share:.0f} % right",
            transform=ax.transAxes,
            fontsize=8,
            bbox={"fc": "white", "ec": "none", "pad": 1},
        )
    letter(axes)
    figure.supxlabel(f"{IN_CURVATURES}; dotted: $2/L$", fontsize=9)
    figure.supylabel(HORIZON, fontsize=9)
    patches = [
        Patch(facecolor=shade, edgecolor="black", hatch=hatch, linewidth=0.5, label=label)
        for shade, hatch, label in zip(shades, hatches, outcomes, strict=True)
    ]
    figure.legend(handles=patches, loc="outside upper center", ncols=4)
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return the borders of cells around `centres`."""
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def _hatch(ax: Axes, cells: np.ndarray, x: np.ndarray, y: np.ndarray, pattern: str) -> None:
    """Hatch the cells (rows y, columns x) that are set, run by run along the rows."""
    for row, line in enumerate(cells):
        turns = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
        for first, last in zip(turns[::2], turns[1::2], strict=True):
            size = (x[last] - x[first], y[row + 1] - y[row])
            ax.add_patch(Rectangle((x[first], y[row]), *size, fill=False, hatch=pattern, linewidth=0))


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    plain = ", ".join(told(f"plain_float{bits}", ".0%", of=_floored) for bits in (64, 32, 16))
    scaled = ", ".join(told(f"scaled_float{bits}", ".1%", of=_floored) for bits in (64, 32, 16))
    return (
        f"Meta-gradients of the log objective against theory, L: largest curvature. With exponents beside the digits "
        f"float64, float32, float16 are right on {scaled} of the map, plain on {plain}; the public code's recipe on "
        f"{told('public_code', '.0%')} beyond two steps. A longer dtype serves at least "
        f"{told('range_of_dtype', '.2g')} times longer horizons, its largest exponent is 8 times as large."
    )


def details(result: Result) -> str:
    """Say on which problem."""
    return (
        f"One quadratic of the paper's family (d = {result.config['d']}), on a grid of step sizes and horizons. A cell "
        f"is right where the meta-gradient agrees with theory, wrong where it is another number, and zero or not a "
        f"number where that is what the method returns."
    )


def headline(claims: Claims) -> str:
    """Say on how much of the map the methods are right."""
    scaled = [claims.told(f"scaled_float{bits}", ".0%", of=_floored) for bits in (64, 32, 16)]
    plain = [claims.told(f"plain_float{bits}", ".0%", of=_floored) for bits in (64, 32, 16)]
    return (
        f"float64, float32, float16 are right on {', '.join(scaled)} of the map; plain on {', '.join(plain)}; the "
        f"public code's recipe on {claims.told('public_code', '.0%')} beyond two steps"
    )


def _floored(share: float) -> float:
    """Return a share in whole per mille, rounded down: what is not right everywhere is not told as 100 %."""
    return float(np.floor(1000 * share) / 1000)
