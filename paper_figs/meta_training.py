"""Meta-training in the paper's setting: the cure, and three failures one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, META_STEP, letter, new_figure

title = "Meta-training of the step size: three failures, one at a time"
alt = (
    "Four panels of the learned step size over meta-steps, relative to the best one. The log objective settles at one "
    "in closed form, by scaled backpropagation in float32 and by plain in float64. In float32 without exponents the "
    "runs end. Stop-gradient settles too high. With the naive objective, steps jump between zero and ten thousand "
    "times too large."
)
_CURE, _ALSO = "log-exact-float64-full", ("log-scaled-float32-full", "log-plain-float64-full")
_PANELS = (
    (_CURE, "cure: log objective"),
    ("log-plain-float32-full", "range: the same, plain float32"),
    ("log-scaled-float64-stop_gradient", "bias: stop-gradient"),
    ("naive-exact-float64-full", "outer step: naive objective"),
)
_MARKS = (("s", "x"), ("^", "+"))  # of both ways to get the cure's gradient, by start
_ZERO = 0.008  # where the axis has its 0: steps that were projected onto the bound
_TOP = 60.0


def draw(result: Result) -> Figure:
    """Draw the median and the middle half of all tasks for each start."""
    arrays = result.arrays
    figure, axes = new_figure(2, 2, height=5.2, sharex=True)
    for ax, (name, label) in zip(axes.flat, _PANELS, strict=True):
        jumps = name.startswith("naive")
        for index in range(len(arrays["starts"])):
            (_draw_jumps if jumps else _draw_runs)(ax, result, name, index)
        ax.axhline(1, color="black", linewidth=0.7, linestyle=":")
        top = 7 if jumps else 2
        ticks = range(0 if jumps else -1, top, 2 if jumps else 1)
        ax.set(xscale="symlog", yscale="log", ylim=(_ZERO / 1.6, 10.0**top if jumps else _TOP), title=label)
        ax.set_xscale("symlog", linthresh=1, linscale=0.4)
        ax.set_yticks([_ZERO, *(10.0**k for k in ticks)], ["0", *(f"$10^{{{k}}}$" for k in ticks)])
        ax.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        ax.minorticks_off()
    axes[0, 1].text(
        0.95,
        0.42,
        f"{result.told('range', '.0f', lambda x: 100 * x)} % of the runs from {arrays['starts'][0]:g} end:\n"
        "the gradient is not a number",
        transform=axes[0, 1].transAxes,
        ha="right",
        fontsize=8,
    )
    letter(axes)
    figure.supxlabel(f"{META_STEP} (0: start)", fontsize=9)
    figure.supylabel(r"learned over best step size, $\eta_k/\eta^*$", fontsize=9)
    _legend(figure, axes[0, 0])
    return figure


def _legend(figure: Figure, ax: Any) -> None:
    """Name the starts and, without a colour, both other ways to get the gradient."""
    others = [
        ax.plot([], [], marks[0] if way == 0 else marks[1], color=COLOURS[index + 1], markerfacecolor="white")[0]
        for way in (0, 1)
        for index, marks in enumerate(_MARKS)
    ]
    handles, labels = ax.get_legend_handles_labels()
    handles += [tuple(others[:2]), tuple(others[2:])]
    labels += ["scaled backpropagation, float32", "plain backpropagation, float64"]
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=2,
        handler_map={tuple: HandlerTuple(ndivide=None)},
        title="line, band: median and middle half over tasks, closed form; points: medians",
    )


def _draw_runs(ax: Any, result: Result, name: str, index: int) -> None:
    """Draw the median and the middle half; for the cure, the medians with other ways to get the gradient as well."""
    k, colour = result.arrays["k"], COLOURS[index + 1]
    low, middle, high = np.maximum(result.series("path", name)[index], _ZERO).T
    ax.fill_between(k, low, high, color=colour, alpha=0.25, linewidth=0)
    ax.plot(k, middle, color=colour, linestyle=LINES[index], label=rf"$\eta_0 = {result.arrays['starts'][index]:g}$")
    if name == _CURE:
        for way, (other, marker) in enumerate(zip(_ALSO, _MARKS[index], strict=True)):
            shown = slice(2 * way, None, 4)
            points = np.maximum(result.series("path", other)[index][shown, 1], _ZERO)
            ax.plot(k[shown], points, marker, color=colour, markerfacecolor="white", markersize=4, zorder=3)
    if not np.isfinite(middle[-1]):
        last = np.flatnonzero(np.isfinite(middle))[-1]
        ax.plot(k[last], middle[last], marker=_MARKS[index][1], color=colour, markersize=8, markeredgewidth=1.6)


def _draw_jumps(ax: Any, result: Result, name: str, index: int) -> None:
    """Draw medians as points: a line between 0 and far too large would say no more than its colour."""
    middle = np.maximum(result.series("path", name)[index][:, 1], _ZERO)
    look = {"marker": _MARKS[index][0], "markerfacecolor": "white", "linestyle": "none"}
    ax.plot(result.arrays["k"], middle, color=COLOURS[index + 1], markersize=4, **look)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told = result.config, result.told
    return (
        f"The log objective brings {told('exact_share', '.0%')} of the runs within {config['close']:.0%} of the best "
        f"step size. Alone, float32 without exponents ends {told('range', '.0%')} of the runs from "
        f"{config['starts'][0]:g}; stop-gradient settles {told('bias', '.1%')} too high from there; the naive "
        f"objective brings {told('outer_step', '.0%')} within {config['close']:.0%}: it jumps from 0, the bound, to "
        f"thousands of times too large."
    )


def details(result: Result) -> str:
    """Say what was tuned, with the other values."""
    config, told = result.config, result.told
    return (
        f"The paper's setting (d = {config['d']}, t = {config['steps']}, outer steps {config['scale']:g}/sqrt(k)), "
        f"{config['tasks']} random tasks, {config['meta_steps']} meta-steps. With the log objective and its exact "
        f"gradient the median error of the step size is {told('exact_error', '.2%')} (scaled backpropagation "
        f"{told('scaled_error', '.2%')}, in float32 {told('scaled32_error', '.2%')}); "
        f"{told('exact_projected', '.0%')} of the runs are projected onto 0 at times. Along the runs scaled "
        f"meta-gradients are those of theory to {told('scaled_off', '.0e')} of the largest curvature. Plain float64 "
        f"ends {told('range_float64', '.0%')} of the runs. From {config['starts'][-1]:g} stop-gradient ends at "
        f"{told('bias_low', '.1f', lambda x: 1 + x)} times the best; its bias costs {told('bias_lost', '.1f')} orders "
        f"of magnitude in f(w_t)."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    start, close = claims.config["starts"][0], f"within {claims.config['close']:.0%}"
    return (
        f"median error {claims.told('exact_error', '.2%')} exact, {claims.told('scaled_error', '.2%')} scaled "
        f"({claims.told('exact_share', '.0%')} of the runs {close}); from {start:g}, float32 "
        f"overflow ends {claims.told('range', '.0%')}; stop-gradient ends {claims.told('bias', '.1%')} off and loses "
        f"{claims.told('bias_lost', '.1f')} orders of magnitude; naive objective "
        f"{claims.told('outer_step', '.0%')} {close}"
    )
