"""Tuning by gradient, by grid and exactly, on both objectives, and what a schedule adds."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, measured, new_figure, theory

title = "Gradient, grid and exact minimiser on both objectives"
alt = (
    "Three panels. The step size tuned by gradient, relative to the exact one, rises to one for two sample sizes and "
    "two objectives, with the grid's choice beside it. The risk on fresh tasks is the same for all ways to tune, "
    "above that of no training for train-tuning on few samples. Sorted learned schedules spread widely for the train "
    "objective and stay as they began for the validation objective."
)


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
        spread = np.sort(etas["schedule"]) / exact
        axes[2].plot(np.arange(1, len(spread) + 1), spread, color=COLOURS[style], linestyle=LINES[style])
    axes[0].axhline(1, color="#444444", linewidth=0.7)
    axes[0].set(xscale="log", yscale="log", xlabel="meta-step $k$", ylabel=r"$\eta_k/\eta^*$", title="a  step size")
    axes[0].text(0.97, 0.04, "open points: the grid's choice", transform=axes[0].transAxes, ha="right", fontsize=7.5)
    theory(axes[1], [-0.4, 3.4], [1, 1], 6, linewidth=1.0)
    axes[1].text(3.4, 1.01, "$w = 0$", ha="right", va="bottom", fontsize=7.5)
    axes[1].set(xticks=range(4), ylabel=r"risk $\|w - w^*\|^2$", title="b  fresh tasks")
    axes[1].set_xticklabels(tuners, rotation=30)
    axes[2].set(xlabel="rank of the step", ylabel=r"$\eta/\eta^*$", ylim=(0, None), title="c  learned schedules")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _path(ax: Axes, path: Any, grid: float, style: int, label: str) -> None:
    k = np.arange(len(path)) + 0.5
    ax.plot(k, path, color=COLOURS[style], linestyle=LINES[style], marker=MARKERS[style], markevery=[0], label=label)
    measured(ax, [k[-1] * 1.5 * 1.25**style], [grid], style)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config
    return (
        f"Least squares of the paper (d = {config['d']}, sigma = {config['sigma']:g}, t = {config['steps']}), tuned on "
        f"{config['tasks']} tasks, tested on {config['tested']} fresh ones (medians, 95 % intervals). The step size by "
        f"gradient is within {result.told('gradient', '.2f')} grid spacings of the exact one, the grid's within "
        f"{result.told('grid', '.2f')}, that of a grid on the mean loss itself "
        f"{result.told('grid_losses', '.2f')}. At n = {min(config['ratios']):g} d train-tuning reaches the risk "
        f"{result.told('few_train', '.2f')}, validation-tuning {result.told('few_validation', '.2f')}, w = 0 has 1. A "
        f"schedule lowers the train objective by at least {result.told('train_schedule', '.1f')} orders of magnitude "
        f"more than the best step size, changes the validation objective by "
        f"{result.told('validation_schedule', '.1g', abs)}, and does not lower the risk (least median change "
        f"{result.told('schedule_risk', '.1g')})."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"within {claims.told('gradient', '.2f')} (gradient) and {claims.told('grid', '.2f')} (grid) grid spacings of "
        f"the exact one; n = {min(claims.config['ratios']):g} d: risk {claims.told('few_train', '.2f')} train-tuned, "
        f"{claims.told('few_validation', '.2f')} validation-tuned, 1 for w = 0; a schedule gains at least "
        f"{claims.told('train_schedule', '.1f')} orders of magnitude on train, none on validation or in risk"
    )
