"""Fresh networks under learned optimizers, meta-trained on the training loss or on held-out samples, and tuned SGD."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, STEP, letter, measured, new_figure

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
    settings = zip(result.names("learned"), config["samples"], config["noise"], strict=True)
    for column, (which, n, noise) in enumerate(settings):
        for ax, kind in zip(axes[:, column], _ROWS, strict=True):
            for place, (by, (name, look)) in enumerate(_LEARNED.items()):
                _curve(ax, result.series("learned", which, by, kind), look, place, name, kind)
            sgd = result.series("sgd", which, kind)
            _curve(ax, sgd, 0, len(_LEARNED), "SGD, tuned on validation", kind)
            if config["steps"] > config["horizon"]:
                ax.axvspan(config["horizon"], config["steps"], color="#eeeeee", zorder=0)
        if noise:
            perfect = 1 - 0.9 * noise  # a redrawn label of ten classes is right by chance once in ten
            axes[1, column].axhline(perfect, color="#777777", linestyle=":", linewidth=0.9)
            axes[1, column].annotate(
                "knows the true digit", (0, perfect), (3, 2), textcoords="offset points", fontsize=7.5
            )
        labels = "noisy" if noise else "clean"
        for ax, kind in zip(axes[:, column], _ROWS, strict=True):
            ax.set_title(f"{kind}, $n = {n}$, {labels}")
    _label(figure, axes)
    letter(axes)
    return figure


def _label(figure: Figure, axes: np.ndarray) -> None:
    for row, (kind, label) in zip(axes, _ROWS.items(), strict=True):
        row[0].set_ylabel(label)
        if kind != "test accuracy":
            row[0].set_yscale("log")  # shared by the row
            row[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            row[0].yaxis.set_major_formatter("{x:g}")
            row[0].yaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel(STEP, fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)


def _curve(ax: Any, values: np.ndarray, look: int, place: int, name: str, kind: str) -> None:
    """Draw the mean over meta-trainings (repeats, steps + 1, runs) as a thin line, and points with intervals on it."""
    middle, ends = _mean(values.mean(axis=-1), kind)
    ax.plot(middle, color=COLOURS[look], linestyle=LINES[look], linewidth=0.8)
    last = len(middle) - 1
    # each rule at its own steps, so that points do not hide one another
    at = np.unique(np.linspace(0, last, _POINTS + 1).astype(int)[1:] - place * max(1, last // (3 * _POINTS)))
    measured(ax, at, middle[at], look, (ends[0][at], ends[1][at]), label=name)


def _mean(values: np.ndarray, kind: str) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the mean over meta-trainings, the first axis, and its 95 % interval; of losses the geometric mean."""
    x, back = (np.log(values), np.exp) if kind.endswith("loss") else (values, np.asarray)
    repeats = len(x)
    width = stats.t.ppf(0.975, repeats - 1) * x.std(axis=0, ddof=1) / np.sqrt(repeats)
    middle = x.mean(axis=0)
    return back(middle), (back(middle - width), back(middle + width))


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told = result.config, result.told
    few, many = config["samples"]
    score = " and ".join(told(f"many_accuracy_{rule}", ".2f") for rule in _LEARNED)
    return (
        f"An MLP optimizer meta-trained {config['repeats']} times on {_IMAGES[config['data']]}, by training loss or by "
        f"held-out loss. With n = {few} samples and noisy labels the test loss by train ends "
        f"{told('few_test', '.2f')} times as high as that by validation; with n = {many} clean ones the accuracies "
        f"are {score}. Means, 95 % intervals over meta-trainings."
    )


def details(result: Result) -> str:
    """Say how it was trained and compared, with the other values."""
    config, told = result.config, result.told
    at = min(config["horizon"], config["steps"])
    parts = []
    for which, n in zip(result.names("learned"), config["samples"], strict=True):
        loss, score = (
            [told(f"{which}_{kind}_{rule}", spec) for rule in (*_LEARNED, "sgd")]
            for kind, spec in (("loss", ".2f"), ("accuracy", ".2f"))
        )
        parts.append(
            f"at n = {n}: test loss {loss[0]} by train, {loss[1]} by validation, {loss[2]} SGD; "
            f"test accuracy {score[0]}, {score[1]}, {score[2]}"
        )
    beyond = "; grey: beyond the horizon of meta-training" if config["steps"] > at else ""
    return (
        f"Networks {'-'.join(map(str, config['sizes']))} (ReLU), batches of {config['batch_size']}. The optimizer has "
        f"31 features; each meta-training has a split of the digits, noisy labels and tests of its own, and "
        f"{sum(config['episodes'])} episodes of {config['horizon']} steps in windows of {config['window']}, with the "
        f"same draws for both objectives; SGD has the step size of the least mean validation loss. Means over "
        f"meta-trainings, each of {config['runs']} fresh networks (of losses geometric); all of the same digits, so "
        f"other images may differ more. Noisy: {100 * max(config['noise']):.0f} % of the labels are drawn anew, in "
        f"training and test alike{beyond}. At step {at}, {'; '.join(parts)}. With few samples the test loss by train "
        f"is {told('least_few_test', '.2f')} to {told('largest_few_test', '.2f')} times that by validation in one "
        f"meta-training; with many, the difference of the accuracies alone is judged."
    )


def headline(claims: Claims) -> str:
    """Return the measured values for the table of claims."""
    config = claims.config
    few, many = config["samples"]
    loss = " and ".join(claims.told(f"few_loss_{rule}", ".2f") for rule in _LEARNED)
    score = " and ".join(claims.told(f"few_accuracy_{rule}", ".2f") for rule in _LEARNED)
    clean = " and ".join(claims.told(f"many_accuracy_{rule}", ".2f") for rule in _LEARNED)
    return (
        f"{config['repeats']} meta-trainings, n = {few}, {config['noise'][0]:.0%} of labels redrawn: test loss "
        f"{claims.told('few_test', '.2f')} times as large ({loss}; tuned SGD {claims.told('few_loss_sgd', '.2f')}), "
        f"accuracy {score}; n = {many}: accuracy {clean}"
    )
