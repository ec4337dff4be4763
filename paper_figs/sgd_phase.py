"""The phase diagram of train-by-train and train-by-validation with minibatch SGD, over epochs and batch sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from paper_figs.framework import maps
from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, SAMPLES, letter, new_figure

title = "Where train-by-validation wins with SGD"
alt = (
    "Six planes of samples per input and noise, for three numbers of epochs, learning from half of the samples above "
    "and from all in the end below, shaded by the logarithm of the ratio of the two risks. Validation wins above a "
    "line that rises with the samples and falls with the epochs; exact boundaries of small samples lie on it for both "
    "batch sizes, and near gradient descent's dashed line for batches of all samples."
)
_ROWS = ("half", "all")
_APART = 1.1  # of batch sizes side by side, as a factor
_MARKS = (("+", "runs: validation wins"), ("_", "runs: train wins"), ("x", "runs: undecided"))


def draw(result: Result) -> Figure:
    """Draw a column for each number of epochs; above learning from the half, below from all samples in the end."""
    arrays = result.arrays
    figure, axes = new_figure(2, len(arrays["epochs"]), height=5.4, sharex=True, sharey=True)
    for row, way in enumerate(_ROWS):
        for column, epochs in enumerate(arrays["epochs"]):
            ax = axes[row, column]
            shade = _plane(ax, result, way, column)
            _exact(ax, result, way, column)
            if column == 1:
                _runs(ax, result, way)
            ax.set(xscale="log", yscale="log", xlim=arrays["ratios"][[0, -1]], ylim=arrays["sigmas"][[0, -1]])
            ax.set_xticks([0.25, 1, 4, 16], ["1/4", "1", "4", "16"])
            ax.set_yticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
            ax.xaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_minor_locator(NullLocator())
            ax.grid(False)
            ax.set_title(f"{way}, {epochs} epoch{'s' if epochs > 1 else ''}")
        axes[row, 0].set_ylabel(r"noise $\sigma$ (units of $\|w^*\|$)")
    figure.supxlabel(SAMPLES, fontsize=9)
    letter(axes)
    bar = figure.colorbar(shade, ax=axes, extend="both", pad=0.01, aspect=40)
    bar.set_label(r"$\log_{10}$ (risk by train / risk by validation)")
    _legend(figure, axes[0, 1])
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    """Name the lines and the hatch, the exact boundaries, and the runs, a column each."""
    handles, labels = ax.get_legend_handles_labels()
    first = [k for k, label in enumerate(labels) if label.startswith("limit")]
    rest = [k for kind in ("exact", "runs") for k, label in enumerate(labels) if label.startswith(kind)]
    listed = [*(handles[k] for k in first), maps.hatched("limit: train wins by over 2 %")]
    listed += [handles[k] for k in rest]
    figure.legend(handles=listed, loc="outside upper center", ncols=3)


def _plane(ax: Axes, result: Result, way: str, column: int) -> object:
    """Shade the plane in the limit, and draw the noise above which validation wins, of SGD and of gradient descent."""
    ratios, sigmas = result.arrays["ratios"], result.arrays["sigmas"]
    shade = None
    for index, (name, label) in enumerate((("sgd", "limit: boundary"), ("full", "limit: the same, gradient descent"))):
        by_train, by_validation = (result.series(name, by)[column] for by in ("train", way))
        logs = np.log10(by_train / by_validation).T
        if index == 0:  # orange where train-by-train has the larger risk
            shade = maps.two_sided(ax, ratios, sigmas, logs)
        look = {"color": COLOURS[0], "linestyle": LINES[index], "linewidth": (1.8, 1.2)[index]}
        ax.plot(ratios, maps.above(sigmas, logs), label=label, **look)
    return shade


def _exact(ax: Axes, result: Result, way: str, column: int) -> None:
    """Mark the boundaries at finite d, with their intervals; batch sizes side by side."""
    arrays = result.arrays
    colours = COLOURS[1], COLOURS[2], "white"
    for index, batch in enumerate(arrays["batches"]):
        level = result.series("boundary", way)[index, column]
        low, high = result.series("boundary_interval", None, way)[:, index, column]
        ax.errorbar(
            arrays["exact_ratios"] * _APART ** (index - 1),
            level,
            yerr=[level - low, high - level],
            color=COLOURS[0],
            marker=MARKERS[index],
            markerfacecolor=colours[index],
            markersize=4.5,
            markeredgewidth=0.7,
            linestyle="none",
            elinewidth=0.8,
            capsize=1.5,
            zorder=3,
            label=f"exact, {f'batch {batch}' if batch else 'all samples in a batch'}",
        )


def _runs(ax: Axes, result: Result, way: str) -> None:
    """Mark the points where SGD was run: which way won, or that the interval does not tell."""
    low, high = result.series("gain_interval", way).T
    for which, (marker, label) in zip((low > 0, high < 0, (low <= 0) & (high >= 0)), _MARKS, strict=True):
        ax.plot(
            *result.arrays["points"][which].T,
            marker,
            color=COLOURS[0],
            markersize=6.5,
            markeredgewidth=1.3,
            path_effects=[withStroke(linewidth=3.2, foreground="white")],  # else the hatch swallows them
            label=label,
        )


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    first, last = (result.config["epochs"][k] for k in (0, -1))
    return (
        f"Validation wins in the orange, train in the hatched region; half, all: what validation learns from in the "
        f"end. At n = d the boundary of SGD falls to {result.told('epochs', '.0f', _hundred)} % from {first} to {last} "
        f"epochs. Exact boundaries (d = {result.config['d']}) and runs agree: {result.told('runs', '.0f')} contradict, "
        f"{result.told('undecided', '.0f')} are undecided. White without a hatch: both risks within 2 %."
    )


def details(result: Result) -> str:
    """Say how the points were made, and how the boundary moves."""
    config = result.config
    (small, large), (choose, fresh) = config["batches"][:2], config["targets"]
    return (
        f"Shade and lines: risks in the limit of many inputs, each way with its own best training time eta t; the "
        f"batch size drops out. The lines are the noise above which validation wins; below them at low noise both ways "
        f"differ by so little in the lower row that who is ahead changes several times. Gradient descent takes as many "
        f"steps. Points: the boundary given {config['inputs']} samples of d = {config['d']} inputs (the log objective, "
        f"as the mean over inputs is that of the rarest), from exact averages over targets and batches, with 95 % "
        f"jackknife intervals over the inputs; batch sizes are drawn {_APART - 1:.0%} apart. Upper row: batch {large} "
        f"against {small} moves it by {_percent(result, 'batches')} %, d = {config['d']} against the limit by "
        f"{_percent(result, 'dimension')} %, where it moves most. Runs of SGD on the same inputs (batch {small}, "
        f"{config['epochs'][1]} epochs) tune themselves on {choose} tasks for each of them and are tested on {fresh}; "
        f"intervals of 99.9 % for all gains together."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    (first, last), d = (claims.config["epochs"][k] for k in (0, -1)), claims.config["d"]
    small, large = claims.config["batches"][:2]
    return (
        f"n = d: boundary at {last} epochs {claims.told('epochs', '.2f')} times that at {first}; batch {large} against "
        f"{small} moves it by {_percent(claims, 'batches')} %, d = {d} against the limit by "
        f"{_percent(claims, 'dimension')} % at most; few samples and epochs: at most {claims.told('few', '.2f')} times "
        f"gradient descent's, many: at least {claims.told('many', '.2f')}; {claims.told('runs', '.0f')} gains of runs "
        f"contradict the exact moments"
    )


def _percent(told: Any, key: str) -> str:
    """Return the size of a difference of logarithms as a change in per cent."""
    return str(told.told(key, ".1f", lambda x: 100 * float(np.expm1(abs(x)))))


def _hundred(share: float) -> float:
    return 100 * share
