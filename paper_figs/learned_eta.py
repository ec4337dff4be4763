"""Learned step sizes against the finite-horizon minimiser and its limit."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "The learned step size and its limit"
alt = "Learned step size over the horizon: points on the theory line, which tends to the limit two over alpha plus L."


def draw(result: Result) -> Figure:
    """Draw learned over limit, and the gap to the limit."""
    arrays = result.arrays
    steps = arrays["steps"]
    figure, axes = new_figure(1, 2, height=3.2)
    ratio = {name: arrays[name] / arrays["limit"] for name in ("learned", "best", "corrected")}
    low, middle, high = np.quantile(ratio["learned"], [0.25, 0.5, 0.75], axis=1)
    theory(axes[0], steps, np.median(ratio["best"], axis=1), 0, label=r"minimiser $\eta^*_t$, theory")
    theory(axes[0], steps, np.median(ratio["corrected"], axis=1), 2, label="limit with first correction")
    measured(axes[0], steps, middle, 1, (low, high), label="learned: median, middle half of tasks")
    axes[0].axhline(1, color="black", linewidth=0.7, linestyle=":")
    axes[0].set(xscale="log", ylim=(0.9 * low.min(), 1.1 * high.max()), xlabel="horizon $t$ (steps)")
    axes[0].set(ylabel=r"step size over $2/(\alpha+L)$", title="learned step size")
    gap = {name: np.abs(ratio[name] - 1) for name in ("learned", "best")}
    low, middle, high = np.quantile(gap["learned"], [0.25, 0.5, 0.75], axis=1)
    theory(axes[1], steps, np.median(gap["best"], axis=1), 0)
    measured(axes[1], steps, middle, 1, (low, high))
    guide = middle[-1] * steps[-1] / steps
    axes[1].plot(steps, guide, color="#777777", linewidth=0.9, linestyle=":", label="$1/t$")
    axes[1].set(xscale="log", yscale="log", xlabel="horizon $t$ (steps)", ylabel=r"$|\eta_t/\eta_\infty - 1|$")
    axes[1].set_title("gap to the limit")
    axes[1].legend(loc="lower left")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    return (
        f"{result.config['tasks']} tasks with eigenvalues in [0.1, 1] (d = 20), meta-trained by scaled "
        f"backpropagation of the log "
        f"objective. The learned step size is the minimiser at its horizon (median relative error "
        f"{result.measured('error'):.1g}), which tends to 2/(alpha + L) like 1/t^p, "
        f"p = {result.measured('order'):.2f} over the last horizons."
    )
