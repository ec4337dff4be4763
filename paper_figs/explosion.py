"""The meta-gradient of the plain objective over the step size, between its bounds, for several horizons."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, measured, new_figure, theory

title = "Explosion and vanishing of the plain meta-gradient"
alt = "log10 of the size of F' over the step size for several horizons, each between an upper and a lower bound."


def draw(result: Result) -> Figure:
    """Draw one panel a horizon."""
    arrays = result.arrays
    steps, etas = arrays["steps"], arrays["etas"]
    figure, axes = new_figure(1, len(steps), height=3.1, sharex=True)
    for panel, (ax, t) in enumerate(zip(axes, steps, strict=True)):
        low, high = arrays["window"][panel]
        ax.axvspan(low, high, color="#e8e8e8", zorder=0)
        theory(ax, etas, arrays["upper"][panel], 4, label="upper bound", linewidth=1.0)
        theory(ax, etas, arrays["lower"][panel], 2, label="lower bound", linewidth=1.0)
        theory(ax, etas, arrays["log10"][panel], 0, label=r"$|F'(\eta)|$, theory")
        measured(ax, arrays["points"], arrays["engine"][panel], 1, label="engine")
        for limit in (np.log10(np.finfo(np.float64).max), np.log10(np.finfo(np.float64).tiny)):
            if arrays["upper"][panel].min() < limit < arrays["upper"][panel].max():
                ax.axhline(limit, color=COLOURS[5], linewidth=0.8, linestyle=":")
                ax.text(0.1, limit, "float64 range", fontsize=7, va="bottom", color=COLOURS[5])
        ax.set(title=f"$t = {t}$")
    axes[0].set_ylabel(r"$\log_{10}|F'(\eta)|$ (orders of magnitude)")
    figure.supxlabel(
        r"step size $\eta$ (units of $1/\lambda_{\max}$; grey: window where neither lower bound applies)", fontsize=9
    )
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    small, large = (check["measured"] for check in result.sidecar["checks"][:2])
    last = result.arrays["steps"][-1]
    return (
        f"F' of f(w_t) on a quadratic with condition number 100 (d = 20). At t = {last} it is 1e{small:.1f} at "
        f"half of 1/L and "
        f"1e{large:.0f} at 2.5/L; both bounds hold without exception, and the engine (points) agrees with theory to "
        f"{result.measured('engine'):.1g}, far outside the range of float64."
    )
