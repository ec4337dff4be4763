"""Learning curves on fresh quadratics: trained LSTMs, the bound of fixed schedules, and rules that read the task."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, STEP, letter, measured, new_figure, theory

title = "Learned optimizers on fresh quadratics, below every fixed schedule"
alt = (
    "Mean and median loss over the steps: the mean of three trained LSTMs lies below a line, the least that fixed "
    "schedules can have, at the horizon of training; conjugate gradients lie far below. Points show all baselines."
)
_BOUND, _CG, _BB = "best schedule", "conjugate gradients", "Barzilai-Borwein"
_DRAWN = ("momentum, warmed up", "Adam", _BB)  # curves beside those of the LSTMs, the bound and conjugate gradients
_LEAST = {"mean": 2e-2, "median": 1e-6}


def draw(result: Result) -> Figure:
    """Draw means and medians over the steps, and the means of all baselines at the trained horizon."""
    figure, axes = new_figure(1, 3, height=3.6, width_ratios=(1, 1, 0.8))
    for ax, key, spread in ((axes[0], "mean", "interval"), (axes[1], "median", "median_interval")):
        _curves(ax, result, key, spread)
    _ends(axes[2], result)
    letter(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _curves(ax: Axes, result: Result, key: str, spread: str) -> None:
    times, horizon = result.arrays["times"], result.config["trained_steps"]
    steps = np.arange(result.arrays[key].shape[1])
    apart = (times == horizon) | (np.abs(times - horizon) > 0.03 * len(steps))
    top = 2 * result.series(key, _BOUND)[0]
    theory(ax, steps, result.series(key, _BOUND), 1, linewidth=2.2, label="best fixed schedule in hindsight (theory)")
    solved = slice(0, horizon + 1)  # far beyond, the floats of what is solved run out
    theory(ax, steps[solved], result.series(key, _CG)[solved], 5, label="conjugate gradients, task by task")
    for name, index in [(name, 0) for name in _lstms(result)] + [(name, 2 + k) for k, name in enumerate(_DRAWN)]:
        curve, ends = result.series(key, name), result.series(spread, None, name)
        shown = np.isfinite(ends).all(axis=0) & (curve[times] < top) & apart
        if (key, name) != ("mean", _BB):  # it is not monotone, and a few tasks make it jump
            ax.plot(steps, curve, color=COLOURS[index], linestyle=LINES[index], linewidth=0.7)
        label = {"LSTM": "LSTMs, three meta-trainings"}.get(name, name if index else None)
        measured(ax, times[shown], curve[times][shown], index, ends[:, shown], label=label, markersize=3.5)
    ax.axvline(horizon, color="#777777", linestyle=":", linewidth=0.9)
    ax.set(xlabel=STEP, yscale="log", ylabel=f"{key} loss", ylim=(_LEAST[key], top), title=f"{key}, tuned on others")


def _ends(ax: Axes, result: Result) -> None:
    horizon = result.config["trained_steps"]
    at = list(result.arrays["times"]).index(horizon)
    rows: list[tuple[str, float, Any, int]] = [
        (name, result.series("mean", name)[horizon], result.series("interval", None, name)[:, at], index)
        for name, index in [*((name, 0) for name in _lstms(result)), (_BOUND, 1), (_BB, 4)]
    ]
    for name in sorted(result.names("hindsight"), key=lambda name: float(result.series("hindsight", name))):
        index = 2 + _DRAWN.index(name) if name in _DRAWN else 6
        rows.append(
            (name, float(result.series("hindsight", name)), result.series("hindsight_interval", None, name), index)
        )
    for row, (_, value, ends, index) in enumerate(rows):
        spread = np.abs(np.array([[value - ends[0]], [ends[1] - value]]))
        look = {"color": COLOURS[index], "marker": MARKERS[index], "markerfacecolor": "white", "capsize": 2}
        ax.errorbar([value], [row], xerr=spread, markersize=4, **look)
    ax.axvline(result.series("mean", _BOUND)[horizon], color=COLOURS[1], linestyle="--", linewidth=0.9)
    ax.set(yticks=range(len(rows)), xscale="log", xlabel=rf"mean loss at $\tau = {horizon}$", title="in hindsight")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticklabels([row[0] for row in rows], fontsize=7.5)
    ax.invert_yaxis()


def _lstms(result: Result) -> tuple[str, ...]:
    return result.names("over_bound")


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    t, told = result.config["trained_steps"], result.told
    return (
        f"Mean loss after the {t} steps of meta-training (dotted): {told('lstm_least')} to {told('lstm_largest')} for "
        f"{len(_lstms(result))} LSTMs, at most {told('below_schedules', '.2f')} of {told('bound')}, the least of any "
        f"fixed schedule of step sizes and momenta in hindsight. Not beaten: conjugate gradients, and Barzilai-Borwein "
        f"steps on {told('bb_ahead', '.0%')} of the tasks or more. 95 % intervals over tasks."
    )


def details(result: Result) -> str:
    """Say what the baselines know, with the other values."""
    told = result.told
    return (
        f"{int(result.arrays['tasks'])} fresh random least-squares problems of 10 coordinates; intervals of means by "
        f"the bootstrap. Before the horizon of meta-training, from the tenth step on, the LSTMs are at most "
        f"{told('below_schedules_before', '.2f')} of the best schedule for each step. Baselines, all hyper-parameters "
        f"best in hindsight (c): momentum {told('best_momentum')}, Adam {told('best_adam')}, the best of all "
        f"{told('best_baseline')}; the curves (a), (b) are those of hyper-parameters tuned on other tasks. Of rules "
        f"that read the task, conjugate gradients end at most {told('cg', '.0e')} times as high as an LSTM; "
        f"Barzilai-Borwein steps have the mean {told('bb')} and the median {told('bb_median', '.2g')} (an LSTM: "
        f"{told('lstm_median', '.2g')}). The worst 5 % of the tasks have at least {told('worst_share', '.0%')} of an "
        f"LSTM's mean."
    )


def headline(claims: Claims) -> str:
    """Say how the means compare, and what is not beaten."""
    told = claims.told
    return (
        f"mean loss {told('lstm')}, of each at most {told('below_schedules', '.2f')} of the best fixed schedule's and "
        f"{told('below_hindsight', '.2f')} of the best baseline's; Barzilai-Borwein ahead on at least "
        f"{told('bb_ahead', '.0%')} of the tasks, conjugate gradients at most {told('cg', '.0e')} times as high; the "
        f"worst 5 % of the tasks have at least {told('worst_share', '.0%')}"
    )
