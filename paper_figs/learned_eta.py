"""Learned step sizes against the finite-horizon minimiser and its limit."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import HORIZON, letter, measured, new_figure, theory

title = "The learned step size and its limit"
alt = (
    "Learned step size over the horizon: points on the theory line, which tends to the limit two over alpha plus L; "
    "the gap between the two joins, over long horizons, the line of its first correction."
)


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
    axes[0].set(xscale="log", ylim=(0.9 * low.min(), 1.1 * high.max()), xlabel=HORIZON)
    axes[0].set(ylabel=r"step size over $2/(\alpha+L)$", title="learned step size")
    low, middle, high = np.quantile(np.abs(ratio["learned"] - 1), [0.25, 0.5, 0.75], axis=1)
    along, gap = arrays["along"], np.abs(arrays["along_gap"])
    first = np.abs(arrays["constant"]) / (2 * along[:, None] - 1)
    theory(axes[1], along, np.median(gap, axis=1), 0)
    theory(axes[1], along, np.median(first, axis=1), 2)
    measured(axes[1], steps, middle, 1, (low, high))
    axes[1].set(xscale="log", yscale="log", xlabel=HORIZON, ylabel=r"$|\eta_t/\eta_\infty - 1|$")
    axes[1].set_title("gap to the limit: medians over tasks")
    letter(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told = result.config, result.told
    return (
        f"Learned by scaled backpropagation of the log objective; alpha and L: smallest and largest curvature. At the "
        f"worst horizon {told('learned', '.0%')} of {config['tasks']} tasks learn the minimiser within "
        f"{100 * config['near']:g} %. Far out the gap to the limit 2/(alpha + L) falls like 1/t^p, "
        f"p = {told('order', '.4f')}, at {told('constant', '.4f')} times the first correction (task farthest from 1)."
    )


def details(result: Result) -> str:
    """Say what the tasks are, and where the gap falls."""
    config, told = result.config, result.told
    return (
        f"Tasks with eigenvalues in [{config['lowest']:g}, 1] (d = {config['d']}). The median error of the learned "
        f"step size is at most {told('error', '.1g')}. Order and size of the gap are measured where the spectrum says "
        f"that its fall has begun (t up to {told('horizon', '.0f')})."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    near = f"{100 * claims.config['near']:g} %"
    return (
        f"share of {claims.config['tasks']} tasks that learn the minimiser within {near}, at the worst horizon: "
        f"{claims.told('learned', '.0%')} (median error {claims.told('error', '.0e')}); far out the gap falls like "
        f"1/t^p, p = {claims.told('order', '.3f')}, and is {claims.told('constant', '.3f')} times the predicted one "
        f"(tasks farthest from 1)"
    )
