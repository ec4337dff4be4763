"""Accuracy on characters of new alphabets over the steps of adaptation, from learned starts and without."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, letter, measured, new_figure

title = "Few-shot characters of alphabets never trained on"
alt = (
    "Accuracy over the steps of gradient descent, one panel a number of drawings: from learned starts it rises from "
    "chance within a few steps; MAML ends highest, far above the line of the random start, near or above that of the "
    "nearest neighbour."
)
_LEARNED = {"MAML": 2, "first-order MAML": 5, "Reptile": 1}
_BASELINES = {"random start": 0, "nearest neighbour": 4}
_APART = 0.16  # steps between neighbouring points


def draw(result: Result) -> Figure:
    """Draw accuracies over the steps of adaptation, a panel a number of drawings."""
    shown = result.names("learned")
    figure, axes = new_figure(1, len(shown), height=3.4, sharey=True, squeeze=False)
    for ax, shots in zip(axes[0], shown, strict=True):
        for name, index in _BASELINES.items():
            _level(ax, 100 * result.series("baselines", shots, name), index, name)
        for place, (name, index) in enumerate(_LEARNED.items()):
            curve = 100 * result.series("learned", shots, name)
            middle, interval = _mean(curve.reshape(len(curve), -1))
            steps = np.arange(len(curve))
            measured(ax, steps + _APART * (place - 1), middle, index, interval, label=name)
        chance = 100 / result.config["ways"]
        ax.axhline(chance, color="#444444", linewidth=0.8, linestyle=":")
        ax.text(len(curve) - 1, chance, "chance", fontsize=7, ha="right", va="bottom", color="#444444")
        ax.set(title=f"{shots} of each character", xlabel="steps of gradient descent")
    axes[0, 0].set_ylabel("accuracy on new drawings (%)")
    letter(axes)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _level(ax: Axes, scores: np.ndarray, index: int, name: str) -> None:
    """Draw what does not depend on the steps: a line, and its interval as a band."""
    middle, (low, high) = _mean(scores.reshape(1, -1))
    ax.axhline(middle[0], color=COLOURS[index], linestyle=LINES[index], label=name)
    ax.axhspan(low[0], high[0], color=COLOURS[index], alpha=0.15, linewidth=0)


def _mean(scores: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the mean over the test problems, the last axis, and its 95 % interval."""
    count = scores.shape[-1]
    half = stats.t.ppf(0.975, count - 1) * scores.std(axis=-1, ddof=1) / np.sqrt(count)
    middle = scores.mean(axis=-1)
    return middle, (middle - half, middle + half)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told, config = result.told, result.config
    one, five = (
        f"{told(f'maml_{shots}', '.1f', _percent)} % (nearest neighbour "
        f"{told(f'nearest_neighbour_{shots}', '.1f', _percent)} %)"
        for shots in config["shots"]
    )
    return (
        f"Telling five characters apart, of alphabets never trained on: with MAML's start {one} from one drawing each, "
        f"{five} from five. A small convolutional net; lines: without meta-training. Means over "
        f"{config['repeats'] * config['tests']} problems, 95 % intervals."
    )


def details(result: Result) -> str:
    """Say what was trained on what, with the other values."""
    told, config = result.told, result.config
    used, learned = result.arrays["used"], result.names("learned", 1)
    scores = {
        name: [told(f"{_key(name)}_{shots}", ".1f", _percent) for shots in config["shots"]]
        for name in (*learned[1:], "random start")
    }
    others = "; ".join(f"{name} {' % and '.join(each)} %" for name, each in scores.items())
    return (
        f"Omniglot, {used.shape[-1]} alphabets, {config['test_alphabets']} of them for tests, drawn by the seed; "
        f"drawings of {config['side']} x {config['side']} pixels, turned ones as further classes in training alone. "
        f"Net: two layers of {config['channels']} channels, 3 x 3, stride 2, ReLU, then a linear one. Meta-training: "
        f"{config['meta_steps']} steps of Adam on {config['batch']} problems each, {config['steps']} inner steps "
        f"(Reptile: {config['reptile_steps']} on minibatches, from {config['reptile_shots']} drawings a class), far "
        f"fewer than published, with settings that a few runs at one seed suggested. After {config['test_steps']} "
        f"steps: {others}. "
        f"Random starts, one a problem, have the best of {len(config['random_etas'])} step sizes and "
        f"{config['random_steps']} steps; the nearest neighbour is Euclidean, at the best of several resolutions; both "
        f"chosen on training alphabets. "
        f"Intervals: over problems, given the starts and the alphabets."
    )


def headline(claims: Claims) -> str:
    """Return the measured values for the table of claims."""
    ways = ("maml", "first_order_maml", "reptile", "random_start", "nearest_neighbour")
    said = ("MAML", "first order", "Reptile", "random start", "nearest neighbour")
    parts = [
        ", ".join(f"{x} {claims.told(f'{way}_{shots}', '.0f', _percent)}" for x, way in zip(said, ways, strict=True))
        for shots in claims.config["shots"]
    ]
    return f"accuracy in % from one drawing of each of five characters: {parts[0]}; from five: {parts[1]}"


def _key(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _percent(share: float) -> float:
    return 100 * share
