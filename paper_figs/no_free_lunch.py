"""What can be gained on each set of functions, what a policy gains while it is meta-trained, and what it loses."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import META_STEP, letter, measured, new_figure, theory

title = "No free lunch, and what it says of meta-learning"
alt = (
    "Three panels. The best gain over the size of the set of functions: policies lie within that of all sets, on "
    "closed sets at zero. Over the meta-steps the gain on the functions trained on rises to that of the best one, "
    "while that on the rest falls below zero. The gain on the rest lies on the line of minus the gain trained on."
)
_VALUES = (2, 3)
_GAIN = "gain on a function"


def draw(result: Result) -> Figure:
    """Draw all sets with the policies on them, the way of the training, and the balance of both sides."""
    figure, axes = new_figure(1, 3, height=3.3)
    _all_sets(axes[0], result)
    _training(axes[1], result)
    _balance(axes[2], result)
    letter(axes)
    return figure


def _all_sets(ax: Axes, result: Result) -> None:
    low, middle, high = (result.series("best_of_sets", one) for one in ("least", "median", "most"))
    size = np.arange(1, len(low) + 1)
    ax.fill_between(size, low, high, color="#dddddd", linewidth=0, label="best of all sets")
    theory(ax, size, middle, 0, label="its median")
    trained = result.series("gain_2", "trained")[-1]
    measured(ax, result.arrays["size_2"], trained, 1, label="policies")
    closed = result.series("gain_closed", "trained")[-1]
    measured(ax, result.arrays["size_closed"], closed, 2, label="on closed sets")
    ax.set(
        xlabel="functions trained on, of 16", ylabel=f"{_GAIN} (values)", title="all 65 535 sets", ylim=(-0.03, None)
    )
    ax.legend(loc="upper right", handlelength=1.6)


def _training(ax: Axes, result: Result) -> None:
    k, m = result.arrays["meta_steps"], _VALUES[-1]
    best, size = result.arrays[f"best_{m}"], result.arrays[f"size_{m}"]
    rest = 3**4 - size
    for index, (place, limit) in enumerate((("trained", best), ("rest", -best * size / rest))):
        x = result.series(f"gain_{m}", place)
        half = stats.t.ppf(0.975, x.shape[1] - 1) * x.std(axis=1, ddof=1) / np.sqrt(x.shape[1])
        middle = x.mean(axis=1)
        theory(ax, [k[0], k[-1]], [limit.mean()] * 2, 0, linewidth=1.0, label=None if index else "best algorithm")
        some = slice(None, None, max(1, len(k) // 10))
        label = {"trained": "trained on", "rest": "the rest"}[place]
        measured(ax, k[some], middle[some], index + 1, ((middle - half)[some], (middle + half)[some]), label=label)
    ax.axhline(0, color="#444444", linewidth=0.7)
    ax.set(xlabel=META_STEP, ylabel=f"mean {_GAIN} (values)", title=f"training, {m} values")
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom - 0.5 * (top - bottom), None)  # room for the legend
    ax.legend(loc="lower right")


def _balance(ax: Axes, result: Result) -> None:
    largest = 0.0
    for index, m in enumerate(_VALUES):
        gain, lost = (result.series(f"gain_{m}", place)[-1] for place in ("trained", "rest"))
        size = result.arrays[f"size_{m}"]
        x = gain * size / (m**4 - size)
        largest = max(largest, x.max())
        measured(ax, x, lost, index + 1, label=f"{m} values")
    ax.plot([0, largest], [0, -largest], color="#444444", linewidth=0.8, zorder=1, label="theory")
    ax.set(xscale="symlog", yscale="symlog")
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_yscale("symlog", linthresh=0.01)
    ax.set(xlabel=r"gain trained on $\times\,|S|/|S^c|$", ylabel="gain on the rest (values)", title="what is lost")
    ax.legend(loc="lower left")


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Policies that choose the next of four points, meta-trained on random sets of functions: on those they gain "
        f"{told('mean_gain_2', '.3f')} (2 values) and {told('mean_gain_3', '.3f')} (3) over random search, on the rest "
        f"{told('mean_rest_2', '.3f')} and {told('mean_rest_3', '.3f')}; both sums cancel to {told('balance', '.0e')}. "
        f"On closed sets they gain at most {told('closed_gain', '.0e')}. Means over sets, 95 % intervals."
    )


def details(result: Result) -> str:
    """Say what was looked at, with the other values."""
    config, told = result.config, result.told
    return (
        f"All 576 and 55 296 algorithms on all functions of 4 points and 2 or 3 values have the same histograms of "
        f"values ({told('seconds', '.2g')} s). Of the 65 535 sets of functions of 2 values all algorithms are alike on "
        f"31, the closed ones, of 255 (3 points) on 15. A policy is a softmax over the points that were not looked at, "
        f"for each history; its loss is the expected least of {config['looks']} values, exact, and {config['sets'][0]} "
        f"and {config['sets'][1]} sets were trained on by the outer loop (Adam, {config['meta_steps']} meta-steps). "
        f"(a) grey: the best algorithm on all sets that are not closed. (b) lines: the best algorithm of each set, on "
        f"average. A policy stays at most {told('shortfall', '.1g')} below it."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    told = claims.told
    return (
        f"576 and 55 296 algorithms, histograms apart by {told('spread', '.0f')}; 31 of 65 535 sets are closed, and no "
        f"other has all algorithms alike; policies gain {told('mean_gain_2', '.3f')} on what they were trained on and "
        f"{told('mean_rest_2', '.3f')} on the rest (3 values: {told('mean_gain_3', '.3f')}, "
        f"{told('mean_rest_3', '.3f')}), in sum {told('balance', '.0e')}"
    )
