"""Both meta-objectives over the step size, and their meta-gradients: limit as lines, samples as points."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, letter, measured, new_figure, theory

title = "Two meta-objectives, two best step sizes"
alt = (
    "The logarithm of the training loss and of the validation loss over the step size, a column a number of samples, "
    "and their meta-gradients below: the training loss falls until the edge of stability, the validation loss turns at "
    "a step size ten to a hundred times smaller; points of finite samples lie on the lines, up to the edge of "
    "stability, from where on their tasks scatter over many orders of magnitude."
)
_LABELS = {"train": "training loss", "validation": "held-out loss"}
_TOP = 5.0


def draw(result: Result) -> Figure:
    """Draw a column a number of samples: training loss, held-out loss, and the meta-gradients of their logarithms."""
    arrays = result.arrays
    figure, axes = new_figure(3, len(arrays["ratios"]), height=5.8, sharex="col", sharey="row")
    for column, ratio in enumerate(arrays["ratios"]):
        for row, by in enumerate(_LABELS):
            for ax, part in ((axes[row, column], "value"), (axes[2, column], "meta-gradient")):
                _curve(ax, result, (column, by, part), 2 * row)
            for ax in (axes[row, column], axes[2, column]):
                best = result.series("best", by)[column]
                ax.axvline(best, color=COLOURS[2 * row], linestyle=LINES[3 - 2 * row], linewidth=0.9)
        axes[0, column].set(xscale="log", yscale="log")
        for ax, what in zip(axes[:, column], ("training loss", "held-out loss", "slopes of both"), strict=True):
            ax.set_title(f"{what}, $n/d = {ratio:g}$")
        axes[2, column].axhline(0, color="#777777", linewidth=0.7)
    letter(axes)
    axes[0, 0].set(ylabel="training loss\nafter $t$ steps", ylim=(2e-5, _TOP))
    axes[1, 0].set(ylabel="held-out loss\nafter $t$ steps", ylim=(0.5, 1.6))
    axes[2, 0].set(ylabel=r"meta-gradient $G'(\eta)$", ylim=(-5.5, 2))
    figure.supxlabel(
        r"step size $\eta$; across: the best in the limit by training loss (dotted) and by held-out loss (dashed)",
        fontsize=9,
    )
    handles = [handle for ax in axes[:2, 0] for handle in ax.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _curve(ax: Axes, result: Result, which: tuple[int, str, str], style: int) -> None:
    """Draw one objective, or its meta-gradient, in the limit and on samples."""
    column, by, part = which
    arrays, label = result.arrays, _LABELS[by]
    limit = result.series("curve_limit", by, part)[column]
    theory(ax, arrays["curve_etas"][column], limit, style, label=f"{label}, limit")
    etas, near = arrays["etas"][column], result.series("compared", by)[column]
    mean, allowed = (result.series(array, by, part)[column] for array in ("mean", "allowed"))
    interval = (mean - allowed)[near], (mean + allowed)[near]
    measured(ax, etas[near], mean[near], style, interval, label=f"{label}: mean of tasks")
    middle, low, high = result.series("middle", by, part)[column][~near].T
    ax.vlines(etas[~near], low, high, color=COLOURS[style], linewidth=2.5, alpha=0.35)
    look = {"marker": MARKERS[style], "color": COLOURS[style], "linestyle": "none"}
    ax.plot(etas[~near], middle, markersize=3.5, label=f"{label}: median of tasks, bar: middle 80 %", **look)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    best = ", ".join(f"{one[1]:.2g}" for one in zip(*(result.series("best", by) for by in _LABELS), strict=True))
    return (
        f"Lines: the limit of many inputs; points: means of {result.config['tasks']} tasks, up to "
        f"{_farthest(result):.0%} off their line within their intervals of 99.9 %; filled: medians where single tasks "
        f"decide the mean. The best step size by held-out loss ({best}; dashed) is "
        f"{result.told('apart_half', '.0f')} and {result.told('apart_equal', '.0f')} times below that by training loss "
        f"at n/d = 0.5 and 1."
    )


def _farthest(result: Result) -> float:
    """Return the largest relative distance of a mean loss to the limit, of the points that are compared with it."""
    mean, limit = (result.series(array, None, "value") for array in ("mean", "points_limit"))
    return float(np.abs(mean / limit - 1)[result.arrays["compared"]].max())


def details(result: Result) -> str:
    """Say which points are compared with the limit, with the other values."""
    arrays, config, told = result.arrays, result.config, result.told
    both = (zip(*(result.series(array, by) for by in _LABELS), strict=True) for array in ("best", "risk"))
    found = "; ".join(
        f"n/d = {ratio:g}: {best[0]:.3g} and {best[1]:.2g}, risk {risk[0]:.2f} and {risk[1]:.2f}"
        for ratio, best, risk in zip(arrays["ratios"], *both, strict=True)
    )
    return (
        f"Least squares, sigma = {config['sigma']:g}, t = {config['steps']}. G' is the derivative by the step size of "
        f"1/t times the logarithm of the loss. Points: means of the engine on tasks of d = {config['d']}, equal to the "
        f"closed form of each task to {told('engine', '.1g')}. The intervals hold at all points together, up to where "
        f"the limit's first order in 1/d is a tenth of it or samples become unstable. Limit and first order lie at "
        f"most {told('losses', '.2f')} (losses) and {told('slopes', '.2f')} (meta-gradients) of half an interval away, "
        f"which is {told('allowed', '.0f', of=_percent)} % of the loss in the median. At n <= d the loss at the "
        f"other's best step size is larger, for the median task, by at least {told('train_gain', '.2g')} (training) "
        f"and {told('held_out_gain', '.2g')} (held-out; half of the samples are unstable there) orders of magnitude. "
        f"Best step size by training and by held-out loss in the limit, and the risk that each reaches (w = 0: 1): "
        f"{found}."
    )


def headline(claims: Claims) -> str:
    """State what was measured in short."""
    return (
        f"best step sizes {claims.told('apart_half', '.0f')} and {claims.told('apart_equal', '.0f')} times apart at "
        f"n = d/2 and n = d; means of {claims.config['tasks']} tasks off the limit with its first order by at most "
        f"{claims.told('losses', '.2f')} (losses), {claims.told('slopes', '.2f')} (meta-gradients) of half their "
        f"99.9 % intervals; engine off the closed form by at most {claims.told('engine', '.1e')}"
    )


def _percent(x: float) -> float:
    return 100 * x
