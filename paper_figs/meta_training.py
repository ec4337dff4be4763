"""Meta-training in the paper's setting: the cure, and three failures one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, new_figure

title = "Meta-training of the step size: three failures, one at a time"
alt = (
    "Six panels of the learned step size over meta-steps relative to the best one; only the log "
    "objective with exact or scaled gradients settles at one."
)

PANELS = (
    ("log-exact-float64-full", "cure: log objective,\nclosed form"),
    ("log-scaled-float32-full", "cure: log, scaled\nbackpropagation, float32"),
    ("log-plain-float64-full", "log, plain\nbackpropagation, float64"),
    ("log-plain-float32-full", "range: log, plain\nbackpropagation, float32"),
    ("log-scaled-float64-stop_gradient", "bias: log, scaled,\nstop-gradient"),
    ("naive-exact-float64-full", "outer step: naive objective,\nclosed form"),
)


def draw(result: Result) -> Figure:
    """Draw the median and the middle half of all tasks for each start."""
    arrays = result.arrays
    k = np.maximum(arrays["k"], 0.5)
    figure, axes = new_figure(2, 3, height=4.6, sharex=True, sharey=True)
    for ax, (name, label) in zip(axes.flat, PANELS, strict=True):
        quartiles = result.series("path", name)
        for index, start in enumerate(arrays["starts"]):
            _draw_runs(ax, k, quartiles[index], index, rf"$\eta_0 = {start:g}$")
        ax.axhline(1, color="black", linewidth=0.7, linestyle=":")
        ax.set(xscale="log", yscale="log", ylim=(0.02, 60), title=label)
        ax.title.set_fontsize(8.5)
    axes.flat[3].text(
        0.95,
        0.5,
        f"{result.told('range', '.0%')} of the runs end:\nthe gradient is not a number",
        transform=axes.flat[3].transAxes,
        ha="right",
        fontsize=8,
    )
    figure.supxlabel("meta-step $k$ (0.5: start)", fontsize=9)
    figure.supylabel(r"learned over best step size, $\eta_k/\eta^*$", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, title="line: median over tasks; band: middle half"
    )
    return figure


def _draw_runs(ax: Any, k: np.ndarray, quartiles: np.ndarray, index: int, label: str) -> None:
    """Draw the median and the middle half (k, 3); what was projected onto the bound lies below the axis."""
    low, middle, high = np.maximum(quartiles, 1e-3).T
    ax.fill_between(k, low, high, color=COLOURS[index + 1], alpha=0.25, linewidth=0)
    ax.plot(k, middle, color=COLOURS[index + 1], linestyle=LINES[index], label=label)
    if np.isfinite(middle).sum() == 1:
        ax.plot(k[:1], middle[:1], marker="x", color=COLOURS[index + 1])


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config
    return (
        f"The paper's setting (d = {config['d']}, t = {config['steps']}, steps {config['scale']:g}/sqrt(k)), "
        f"{config['tasks']} random tasks, {config['meta_steps']} meta-steps. With the log objective and its exact "
        f"gradient the median error of the step size is {result.told('exact_error', '.2%')} (scaled backpropagation "
        f"{result.told('scaled_error', '.2%')}, in float32 {result.told('scaled32_error', '.2%')}), and "
        f"{result.told('exact_share', '.0%')} of the runs end within {config['close']:.0%}; "
        f"{result.told('exact_projected', '.0%')} bounce off 0 at times. Along the runs scaled meta-gradients are "
        f"those of theory to {result.told('scaled_off', '.0e')} of the largest curvature. Alone, float32 without "
        f"exponents ends {result.told('range', '.0%')} of the runs from {config['starts'][0]:g} (float64: "
        f"{result.told('range_float64', '.0%')}); stop-gradient settles {result.told('bias', '.1%')} too high from "
        f"there (from {config['starts'][-1]:g} at {result.told('bias_low', '.1f', lambda x: 1 + x)} times the best), "
        f"which costs {result.told('bias_lost', '.1f')} orders of magnitude in f(w_t); the naive objective brings "
        f"{result.told('outer_step', '.0%')} within {config['close']:.0%}."
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
