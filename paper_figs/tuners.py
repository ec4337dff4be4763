"""Tuning by gradient, by grid and exactly, on both objectives, and what a schedule adds."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, META_STEP, STEP, letter, measured, new_figure, theory

title = "Gradient, grid and exact minimiser on both objectives"
alt = (
    "Three panels. The step size tuned by gradient, relative to the exact one, rises to one for two sample sizes and "
    "two objectives, with the grid's choice beside it. The risk on fresh tasks is the same for all ways to tune, "
    "above that of no training for train-tuning on few samples. Learned schedules leave the line on which they began "
    "for the train objective, and stay on it for the validation objective."
)
_BEGAN = (0.5, 1.5)  # the first and the last step of a schedule, over the best step size, before it is learned


def draw(result: Result) -> Figure:
    """Draw the paths, the risk on fresh tasks, and the learned schedules."""
    arrays = result.arrays
    figure, axes = new_figure(1, 3, height=3.5)
    tuners = result.names("etas", 2)
    cases = [(i, objective) for i in range(len(arrays["ratios"])) for objective in result.names("etas", 1)]
    for style, (i, objective) in enumerate(cases):
        etas = {tuner: result.series("etas", objective, tuner)[i] for tuner in tuners}
        exact, grid = etas["exact"][0], etas["grid"][0]
        label = f"{objective}, $n = {arrays['ratios'][i]:g}\\,d$"
        _path(axes[0], result.series("path", objective)[i] / exact, grid / exact, style, label)
        low, middle, high = (
            result.series("median", objective, None, "risk", one)[i] for one in ("low", "median", "high")
        )
        measured(axes[1], np.arange(len(tuners)) + 0.14 * (style - 1.5), middle, style, (low, high))
        steps = np.arange(1, len(etas["schedule"]) + 1)
        some = slice(style, None, 4)  # points that lie on each other would hide one another
        learned = etas["schedule"] / exact
        axes[2].plot(steps, learned, color=COLOURS[style], linestyle=LINES[style], linewidth=0.7)
        measured(axes[2], steps[some], learned[some], style)
    axes[0].axhline(1, color="#444444", linewidth=0.7)
    ends = len(result.series("path", "train")[0]) - 1
    axes[0].set(yscale="log", xlabel=f"{META_STEP} (0: start)", ylabel=r"$\eta_k/\eta^*$", title="step size")
    axes[0].set_xscale("symlog", linthresh=1, linscale=0.4)
    axes[0].set_xlim(-0.4, _grid_at(ends, 4))
    axes[0].set_xticks([0, 1, 10, 100, _grid_at(ends, 1.5)], ["0", "1", "10", "100", "grid"])
    axes[0].minorticks_off()
    theory(axes[1], [-0.4, 3.4], [1, 1], 6, linewidth=1.0)
    axes[1].text(3.5, 1, "$w = 0$", ha="left", va="center", fontsize=7.5)
    axes[1].set(xticks=range(4), xlim=(-0.5, 4.5), ylabel=r"risk $\|w - w^*\|^2$", title="fresh tasks")
    axes[1].set_xticklabels(tuners, rotation=30)
    axes[2].plot([1, len(steps)], _BEGAN, color="#c4c4c4", linestyle=LINES[5], linewidth=5, zorder=1)
    axes[2].text(0.97, 0.05, "grey: where they began", transform=axes[2].transAxes, ha="right", fontsize=7.5)
    axes[2].set(xlabel=STEP, ylabel=r"$\eta_\tau/\eta^*$", ylim=(0, None), title="learned schedules")
    letter(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _path(ax: Axes, path: Any, grid: float, style: int, label: str) -> None:
    k = np.arange(len(path))
    ax.plot(k, path, color=COLOURS[style], linestyle=LINES[style], marker=MARKERS[style], markevery=[0], label=label)
    measured(ax, [_grid_at(k[-1], style)], [grid], style)


def _grid_at(last: int, style: float) -> float:
    """Return where the grid's choice is drawn: beyond the last meta-step, under a name of its own."""
    return float(last * 3.0 * 1.4**style)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"All ways to tune agree: by gradient within {told('gradient', '.2f')} spacings of the grid of the exact step "
        f"size eta*. At n = {min(result.config['ratios']):g} d train-tuning reaches the risk "
        f"{told('few_train', '.2f')}, validation-tuning {told('few_validation', '.2f')}, no training 1. Schedules "
        f"lower the train objective by at least {told('train_schedule', '.1f')} decades and no risk; with this "
        f"noise no steps alone can, and weight decay beside them gains {100 * result.measured('decay'):.1f} %."
    )


def details(result: Result) -> str:
    """Say what was tuned, with the other values."""
    config, told = result.config, result.told
    return (
        f"Least squares of the paper (d = {config['d']}, sigma = {config['sigma']:g}, t = {config['steps']}), tuned on "
        f"{config['tasks']} tasks, tested on {config['tested']} fresh ones (medians, 95 % intervals). The grid's "
        f"choice is within {told('grid', '.2f')} spacings of the exact step size, that of a grid on the mean loss "
        f"itself {told('grid_losses', '.2f')}. A schedule begins at steps from {_BEGAN[0]:g} to {_BEGAN[1]:g} times "
        f"the best step size, as equal ones stay equal; in which order they come makes no difference. It changes the "
        f"validation objective by {told('validation_schedule', '.1g', abs)} decades; the least median change of the "
        f"risk is {told('schedule_risk', '.1g')}."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"within {claims.told('gradient', '.2f')} (gradient) and {claims.told('grid', '.2f')} (grid) grid spacings of "
        f"the exact one; n = {min(claims.config['ratios']):g} d: risk {claims.told('few_train', '.2f')} train-tuned, "
        f"{claims.told('few_validation', '.2f')} validation-tuned, 1 for w = 0; a schedule gains at least "
        f"{claims.told('train_schedule', '.1f')} orders of magnitude on train, none on validation or in risk"
    )
