"""Both meta-objectives over the step size, and their meta-gradients: limit as lines, samples as points."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, measured, new_figure, theory

title = "Two meta-objectives, two best step sizes"
alt = (
    "The logarithm of the training loss and of the validation loss over the step size, a column a number of samples, "
    "and their meta-gradients below: the training loss falls until the edge of stability, the validation loss turns at "
    "a step size ten to a hundred times smaller; points of finite samples lie on the lines."
)
_LABELS = {"train": "training loss", "validation": "held-out loss"}
_TOP = 5.0


def draw(result: Result) -> Figure:
    """Draw a column a number of samples: training loss, held-out loss, and the meta-gradients of their logarithms."""
    arrays, t = result.arrays, result.config["steps"]
    figure, axes = new_figure(3, len(arrays["ratios"]), height=5.8, sharex="col", sharey="row")
    for column, ratio in enumerate(arrays["ratios"]):
        for row, by in enumerate(_LABELS):
            log_rate, slope = (result.series("curve", by, part)[column] for part in ("value", "meta-gradient"))
            _curve(axes[row, column], result, (column, by, "value"), np.exp(np.minimum(t * log_rate, 600)), 2 * row)
            _curve(axes[2, column], result, (column, by, "meta-gradient"), slope, 2 * row)
            for ax in (axes[row, column], axes[2, column]):
                best = result.series("best", by)[column]
                ax.axvline(best, color=COLOURS[2 * row], linestyle=LINES[3], linewidth=0.9)
        axes[0, column].set(title=f"$n/d = {ratio:g}$", xscale="log", yscale="log")
        axes[2, column].axhline(0, color="#777777", linewidth=0.7)
    axes[0, 0].set(ylabel="training loss\nafter $t$ steps", ylim=(2e-5, _TOP))
    axes[1, 0].set(ylabel="held-out loss\nafter $t$ steps", ylim=(0.5, 1.6))
    axes[2, 0].set(ylabel=r"meta-gradient $\frac{1}{t}\,\frac{d}{d\eta}\log$ loss", ylim=(-5.5, 2))
    figure.supxlabel(r"step size $\eta$; dotted: the best of each in the limit", fontsize=9)
    handles = [handle for ax in axes[:2, 0] for handle in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _curve(ax: Axes, result: Result, which: tuple[int, str, str], limit: np.ndarray, style: int) -> None:
    """Draw one objective, or its meta-gradient, in the limit and on samples."""
    column, by, part = which
    arrays, label = result.arrays, _LABELS[by]
    mean, width = result.series("mean", by, part)[column], 1.96 * result.series("error", by, part)[column]
    seen = mean < _TOP  # a mean that one diverging task decides has an interval from edge to edge
    theory(ax, arrays["curve_etas"][column], limit, style, label=f"{label}, limit")
    mean, width, etas = mean[seen], width[seen], arrays["etas"][column][seen]
    measured(ax, etas, mean, style, (mean - width, mean + width), label=f"{label}, engine")


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, config = result.arrays, result.config
    both = (zip(*(result.series(array, by) for by in _LABELS), strict=True) for array in ("best", "risk"))
    found = "; ".join(
        f"n/d = {ratio:g}: {best[0]:.3g} and {best[1]:.2g}, risk {risk[0]:.2f} and {risk[1]:.2f}"
        for ratio, best, risk in zip(arrays["ratios"], *both, strict=True)
    )
    return (
        f"Least squares, sigma = {config['sigma']:g}, t = {config['steps']}. Lines: the limit of many inputs; points: "
        f"the engine on {config['tasks']} tasks of d = {config['d']} with 95 % intervals, equal to the closed form of "
        f"each task to {result.measured('engine'):.1g}. Best step size by training and by held-out loss in the limit, "
        f"and the risk that each reaches (w = 0: 1): {found}."
    )
