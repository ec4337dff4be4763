"""Fresh networks under learned optimizers, meta-trained on the training loss or on held-out samples, and tuned SGD."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, measured, new_figure

title = "Learned optimizers, meta-trained on training loss or on held-out samples"
alt = (
    "Test loss, test accuracy and training loss over the steps, a column a setting. With few samples and noisy labels "
    "the optimizer meta-trained on the training loss has the least training loss and a test loss that climbs above "
    "all others; with many clean samples both learned optimizers classify alike."
)
_ROWS = {"test loss": "test loss\n(nats)", "test accuracy": "test accuracy", "training loss": "training loss\n(nats)"}
_LEARNED = {"train": ("learned, train-by-train", 1), "validation": ("learned, train-by-validation", 2)}
_IMAGES = {"digits8x8": "scikit-learn's 8 x 8 digits", "digits5000": "5 000 digits of MNIST", "mnist": "MNIST"}
_POINTS = 10


def draw(result: Result) -> Figure:
    """Draw a column a setting: test loss, test accuracy and training loss of the three rules."""
    config = result.config
    figure, axes = new_figure(len(_ROWS), len(config["samples"]), height=6.4, sharex=True, sharey="row")
    for column, (n, noise) in enumerate(zip(config["samples"], config["noise"], strict=True)):
        for ax, kind in zip(axes[:, column], _ROWS, strict=True):
            for place, (by, (name, look)) in enumerate(_LEARNED.items()):
                values = result.series("learned", by, kind)[column].mean(axis=0)  # over meta-trainings
                _curve(ax, values, look, place, name)
            _curve(ax, result.series("sgd", kind)[column], 0, len(_LEARNED), "SGD, tuned on validation")
            if config["steps"] > config["horizon"]:
                ax.axvspan(config["horizon"], config["steps"], color="#eeeeee", zorder=0)
        if noise:
            perfect = 1 - 0.9 * noise  # a redrawn label of ten classes is right by chance once in ten
            axes[1, column].axhline(perfect, color="#777777", linestyle=":", linewidth=0.9)
            axes[1, column].annotate(
                "knows the true digit", (0, perfect), (3, 2), textcoords="offset points", fontsize=7.5
            )
        labels = f"{noise:.0%} of the labels redrawn" if noise else "clean labels"
        axes[0, column].set_title(f"$n = {n}$, {labels}")
    _label(figure, axes)
    return figure


def _label(figure: Figure, axes: np.ndarray) -> None:
    for row, (kind, label) in zip(axes, _ROWS.items(), strict=True):
        row[0].set_ylabel(label)
        if kind != "test accuracy":
            row[0].set_yscale("log")  # shared by the row
            row[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            row[0].yaxis.set_major_formatter("{x:g}")
            row[0].yaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel("step", fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)


def _curve(ax: Any, values: np.ndarray, look: int, place: int, name: str) -> None:
    """Draw the mean over runs (steps + 1, runs) as a thin line, and points with 95 % intervals on it."""
    middle, width = _interval(values)
    ax.plot(middle, color=COLOURS[look], linestyle=LINES[look], linewidth=0.8)
    last = len(middle) - 1
    # each rule at its own steps, so that points do not hide one another
    at = np.unique(np.linspace(0, last, _POINTS + 1).astype(int)[1:] - place * max(1, last // (3 * _POINTS)))
    measured(ax, at, middle[at], look, (middle[at] - width[at], middle[at] + width[at]), label=name)


def _interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.stats import t as student

    runs = values.shape[-1]
    width = student.ppf(0.975, runs - 1) * values.std(axis=-1, ddof=1) / np.sqrt(runs)
    return values.mean(axis=-1), width


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, config = result.arrays, result.config
    at = min(config["horizon"], config["steps"])
    parts = []
    for column, n in enumerate(config["samples"]):
        loss, score = (
            [result.series("learned", by, kind)[column, :, at].mean() for by in _LEARNED]
            + [result.series("sgd", kind)[column, at].mean()]
            for kind in ("test loss", "test accuracy")
        )
        parts.append(
            f"at n = {n}: test loss {loss[0]:.2f} by train, {loss[1]:.2f} by validation, {loss[2]:.2f} SGD; "
            f"test accuracy {score[0]:.3f}, {score[1]:.3f}, {score[2]:.3f}"
        )
    etas = " and ".join(f"{eta:.2g}" for eta in arrays["sgd_eta"])
    times = "once" if config["repeats"] == 1 else f"{config['repeats']} times with other seeds, curves are their means,"
    beyond = "; grey: beyond the horizon of meta-training" if config["steps"] > at else ""
    return (
        f"{_IMAGES[config['data']]}, networks {'-'.join(map(str, config['sizes']))} (ReLU), batches of "
        f"{config['batch_size']}. The MLP optimizer with 31 features is meta-trained {times} for "
        f"{sum(config['episodes'])} episodes of {config['horizon']} steps in windows of {config['window']}, on the "
        f"mean loss of the training samples or of held-out ones, with the same draws for both; SGD has the step size "
        f"({etas}) of the least mean validation loss. {config['runs']} fresh networks and samples, 95 % intervals over "
        f"them (not over test images or meta-trainings); noisy labels in training and test "
        f"alike{beyond}. At step {at}, {'; '.join(parts)}."
    )
