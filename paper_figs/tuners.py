"""Tuning by gradient, by grid and exactly, on both objectives, and what a schedule adds."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, measured, new_figure, theory

title = "Gradient, grid and exact minimiser on both objectives"
alt = (
    "Three panels. The step size tuned by gradient, relative to the exact one, rises to one for two sample sizes and "
    "two objectives, with the grid's choice beside it. The risk on fresh tasks is the same for all ways to tune, "
    "above that of no training for train-tuning on few samples. Sorted learned schedules spread widely for the train "
    "objective and stay as they began for the validation objective."
)
_OBJECTIVES = ("train", "validation")
_TUNERS = ("gradient", "grid", "exact", "schedule")


def draw(result: Result) -> Figure:
    """Draw the paths, the risk on fresh tasks, and the learned schedules."""
    arrays = result.arrays
    figure, axes = new_figure(1, 3, height=3.5)
    cases = [(i, j) for i in range(len(arrays["ratios"])) for j in range(len(_OBJECTIVES))]
    for style, (i, j) in enumerate(cases):
        exact = arrays["etas"][i, j, 2, 0]
        label = f"{_OBJECTIVES[j]}, $n = {arrays['ratios'][i]:g}\\,d$"
        _path(axes[0], arrays["path"][i, j] / exact, arrays["etas"][i, j, 1, 0] / exact, style, label)
        _risks(axes[1], arrays["median"][i, j, :, 2], style)
        spread = np.sort(arrays["etas"][i, j, 3]) / exact
        axes[2].plot(np.arange(1, len(spread) + 1), spread, color=COLOURS[style], linestyle=LINES[style])
    axes[0].axhline(1, color="#444444", linewidth=0.7)
    axes[0].set(xscale="log", yscale="log", xlabel="meta-step $k$", ylabel=r"$\eta_k/\eta^*$", title="a  step size")
    axes[0].text(0.97, 0.04, "open points: the grid's choice", transform=axes[0].transAxes, ha="right", fontsize=7.5)
    theory(axes[1], [-0.4, 3.4], [1, 1], 6, linewidth=1.0)
    axes[1].text(3.4, 1.01, "$w = 0$", ha="right", va="bottom", fontsize=7.5)
    axes[1].set(xticks=range(4), ylabel=r"risk $\|w - w^*\|^2$", title="b  fresh tasks")
    axes[1].set_xticklabels(_TUNERS, rotation=30)
    axes[2].set(xlabel="rank of the step", ylabel=r"$\eta/\eta^*$", ylim=(0, None), title="c  learned schedules")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _path(ax: Axes, path: Any, grid: float, style: int, label: str) -> None:
    k = np.arange(len(path)) + 0.5
    ax.plot(k, path, color=COLOURS[style], linestyle=LINES[style], marker=MARKERS[style], markevery=[0], label=label)
    measured(ax, [k[-1] * 1.5 * 1.25**style], [grid], style)


def _risks(ax: Axes, median: Any, style: int) -> None:
    at = np.arange(len(_TUNERS)) + 0.14 * (style - 1.5)
    measured(ax, at, median[:, 0], style, (median[:, 1], median[:, 2]))


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, arrays = result.config, result.arrays
    risk = arrays["median"][0, :, 2, 2, 0]
    return (
        f"Least squares of the paper (d = {config['d']}, sigma = {config['sigma']:g}, t = {config['steps']}), tuned on "
        f"{config['tasks']} tasks, tested on {config['tested']} fresh ones (medians, 95 % intervals). The step size "
        f"by gradient is within {result.measured('gradient against exact'):.2f} grid spacings of the exact one, the "
        f"grid's within {result.measured('grid against exact'):.2f}. At n = {arrays['ratios'][0]:g} d train-tuning "
        f"reaches the risk {risk[0]:.2f}, validation-tuning {risk[1]:.2f}, w = 0 has 1. A schedule lowers the train "
        f"objective by at least {result.measured('schedule on the train'):.1f} orders of magnitude more than the best "
        f"step size, the validation objective by none, and not the risk (least median change "
        f"{result.measured('schedules: change'):.1g})."
    )
