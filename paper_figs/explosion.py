"""The meta-gradient of the plain objective over the step size, between its bounds, for several horizons."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import IN_CURVATURES, letter, measured, new_figure, theory

title = "Explosion and vanishing of the plain meta-gradient"
alt = (
    "log10 of the size of F' over the step size, a column a horizon: it falls slowly below two over L and rises "
    "steeply above, between an upper and a lower bound; the engine's points lie on the line."
)
_POINTS = 13  # more of them would hide the line


def draw(result: Result) -> Figure:
    """Draw one column a horizon: the whole range above, the side where F' vanishes enlarged below."""
    arrays = result.arrays
    steps = arrays["steps"]
    figure, axes = new_figure(2, len(steps), height=4.9, sharex=True)
    for column, t in enumerate(steps):
        for ax in axes[:, column]:
            _curves(ax, arrays, column)
        axes[0, column].set(title=f"$t = {t}$")
        axes[1, column].set(title=f"$t = {t}$, below $2/L$")
        _float64_range(axes[0, column])
        _enlarge_vanishing_side(axes[1, column], arrays, column)
    for ax in axes[:, 0]:
        ax.set_ylabel(r"$\log_{10}|F'(\eta)|$")
    letter(axes)
    figure.supxlabel(f"{IN_CURVATURES}; grey: neither lower bound applies", fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _curves(ax: Axes, arrays: dict[str, np.ndarray], column: int) -> None:
    ax.axvspan(*arrays["window"][column], color="#e8e8e8", zorder=0)
    theory(ax, arrays["etas"], arrays["upper"][column], 4, label="upper bound", linewidth=1.0)
    theory(ax, arrays["etas"], arrays["lower"][column], 2, label="lower bound", linewidth=1.0)
    theory(ax, arrays["etas"], arrays["log10"][column], 0, label=r"$|F'(\eta)|$, theory")
    some = slice(None, None, -(-len(arrays["points"]) // _POINTS))
    measured(ax, arrays["points"][some], arrays["engine"][column][some], 1, label="engine")


def _float64_range(ax: Axes) -> None:
    """Mark the range of float64, unless the axis is so long that it would be a line through zero."""
    low, high = ax.get_ylim()
    smallest, largest = np.log10([np.finfo(np.float64).tiny, np.finfo(np.float64).max])
    if not low < largest < high < 30 * largest:
        return
    ax.text(0.05, largest, "float64", fontsize=7, va="bottom", color="#444444")
    for limit in (smallest, largest):
        if low < limit:
            ax.axhline(limit, color="#444444", linewidth=0.8, linestyle=":")


def _enlarge_vanishing_side(ax: Axes, arrays: dict[str, np.ndarray], column: int) -> None:
    side = arrays["etas"] < 2
    curves = np.concatenate([arrays[name][column][side] for name in ("log10", "upper", "lower")])
    curves = curves[np.isfinite(curves)]
    margin = 0.08 * np.ptp(curves)
    ax.set_ylim(curves.min() - margin, curves.max() + margin)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    last, told = result.arrays["steps"][-1], result.told
    return (
        f"F' is the derivative of f(w_t) by the step size, L the largest curvature. At t = {last} |F'| is "
        f"10^{told('small', '.1f')} at 0.5/L and 10^{told('large', '.0f')} at 2.5/L: it explodes above 2/L and "
        f"vanishes below. Bounds violated: {told('bounds', '.0f')}. The engine is off by at most "
        f"{told('engine', '.2g')}, far outside the range of float64 too."
    )


def details(result: Result) -> str:
    """Say what is drawn, and how well the rates are met."""
    told = result.told
    return (
        f"A quadratic with condition number 100 (d = 20). The second row enlarges the side where F' vanishes. A step, "
        f"|F'|/t grows at {told('exploding', '.3f')} times 2 log10(eta L - 1) above 2/L, and falls below it at no less "
        f"than {told('vanishing', '.2f')} times the rate of the slowest mode."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    last = claims.config["horizons"][-1]
    return (
        f"10^{claims.told('small', '.1f')} at 0.5/L and 10^{claims.told('large', '.0f')} at 2.5/L, t = {last}; growth "
        f"above 2/L {claims.told('exploding', '.3f')} of theory's; {claims.told('bounds', '.0f')} bounds violated on "
        f"{claims.config['tasks']} tasks; engine off by at most {claims.told('engine', '.2g')}"
    )
