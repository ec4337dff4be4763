"""The phase diagram of train-by-train and train-by-validation with minibatch SGD, over epochs and batch sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, new_figure

title = "Where train-by-validation wins with SGD"
alt = (
    "Six planes of samples per input and noise, for three numbers of epochs, learning from half of the samples above "
    "and from all in the end below, shaded by the logarithm of the ratio of the two risks. Validation wins above a "
    "line that rises with the samples and falls with the epochs; exact boundaries of small samples lie on it for both "
    "batch sizes, and near gradient descent's dashed line for batches of all samples."
)
_ROWS = {"half": "validation learns from its half", "all": "from all in the end"}
_MARKS = (("+", "runs: validation wins"), ("_", "runs: train wins"), ("x", "runs: undecided"))


def draw(result: Result) -> Figure:
    """Draw a column for each number of epochs; above learning from the half, below from all samples in the end."""
    arrays = result.arrays
    figure, axes = new_figure(2, len(arrays["epochs"]), height=5.6, sharex=True, sharey=True)
    for row, (way, label) in enumerate(_ROWS.items()):
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
            if row == 0:
                ax.set_title(f"{epochs} epoch{'s' if epochs > 1 else ''}")
            else:
                ax.set_xlabel("samples per input $n/d$")
        axes[row, 0].set_ylabel(f"{label}\nnoise $\\sigma$")
    bar = figure.colorbar(shade, ax=axes, extend="both", pad=0.01, aspect=40)
    bar.set_label(r"$\log_{10}$ risk by train / risk by validation, SGD")
    _legend(figure, axes[0, 1])
    for height, name in ((0.91, "validation wins"), (0.05, "train wins")):
        axes[0, 0].text(0.05, height, name, transform=axes[0, 0].transAxes, fontsize=8)
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    """Name the lines, the exact boundaries and the runs, a column each."""
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(
        range(len(labels)), key=lambda k: ("limit", "exact", "runs").index(labels[k].split(",")[0].split(":")[0])
    )
    gap = len([label for label in labels if label.startswith("limit")])
    handles, labels = [handles[k] for k in order], [labels[k] for k in order]
    blank = ax.plot([], [], linestyle="none")[0]
    figure.legend(
        [*handles[:gap], blank, *handles[gap:]], [*labels[:gap], "", *labels[gap:]], loc="outside upper center", ncols=3
    )


def _plane(ax: Axes, result: Result, way: str, column: int) -> object:
    """Shade the plane in the limit, and draw the lines of equal risks of SGD and of gradient descent."""
    where = result.arrays["ratios"], result.arrays["sigmas"]
    for index, (name, label) in enumerate(
        (("sgd", "limit, SGD"), ("full", "limit, as many steps of gradient descent"))
    ):
        by_train, by_validation = (result.series(name, by)[column] for by in ("train", way))
        ratio = np.log10(by_train / by_validation).T
        if index == 0:  # orange where train-by-train has the larger risk
            shade = ax.pcolormesh(*where, ratio, cmap="PuOr_r", vmin=-1, vmax=1, rasterized=True)
        look = {"linestyles": [LINES[index]], "linewidths": (1.8, 1.2)[index]}
        ax.contour(*where, ratio, [0.0], colors=COLOURS[0], **look)
        ax.plot([], [], color=COLOURS[0], linestyle=LINES[index], linewidth=look["linewidths"], label=label)
    return shade


def _exact(ax: Axes, result: Result, way: str, column: int) -> None:
    """Mark the boundaries at finite d, with their intervals; batch sizes side by side."""
    arrays = result.arrays
    colours = COLOURS[1], COLOURS[2], "white"
    for index, batch in enumerate(arrays["batches"]):
        level = result.series("boundary", way)[index, column]
        low, high = result.series("boundary_interval", None, way)[:, index, column]
        ax.errorbar(
            arrays["exact_ratios"] * 1.13 ** (index - 1),
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
            label=label,
        )


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config
    first, last, small, large = config["epochs"][0], config["epochs"][-1], *config["batches"][:2]
    choose, fresh = config["targets"]
    return (
        f"Shade and lines: risks in the limit of many inputs, each way with its own best training time eta T; the "
        f"batch size drops out. Points: the boundary given {config['inputs']} samples of d = {config['d']} inputs (the "
        f"log objective, as the mean over inputs is that of the rarest), from exact averages over targets and batches, "
        f"with 95 % jackknife intervals over the inputs, batch sizes side by side. Upper row: batch {large} against "
        f"{small} moves it by {_percent(result, 'batches')} %, d = {config['d']} against the limit by "
        f"{_percent(result, 'dimension')} %, where it moves most. In the limit at n = d it falls to "
        f"{result.told('epochs', '.0f', _hundred)} % from {first} to {last} epochs. Runs of SGD on the same inputs "
        f"(batch {small}, {config['epochs'][1]} epochs) tune themselves on {choose} tasks for each of them and are "
        f"tested on {fresh}: {result.told('runs', '.0f')} gains contradict the exact moments (intervals of 99.9 % for "
        f"all gains together), {result.told('undecided', '.0f')} are undecided. In the lower row at low noise both "
        f"ways differ little, which leaves the line there to chance in small samples."
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
