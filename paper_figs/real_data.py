"""Test errors of both choices of the step size on the diabetes data, over the number of training samples."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure

title = "Train-by-train and train-by-validation on real data"
alt = (
    "Test error over the number of training samples, a column a set of inputs: train-by-train peaks where samples are "
    "as many as inputs, above the error of w = 0; train-by-validation falls steadily; with many samples they agree."
)
_RUNS = {
    "train": ("train-by-train", 1),
    "validation": ("train-by-validation", 2),
    "half": ("the same, trained on its half only", 4),
}
_TICKS = (0.5, 0.7, 1, 2, 4, 8)
_APART = 1.035  # of neighbouring points, so that their intervals can be told apart


def draw(result: Result) -> Figure:
    """Draw a column a set of inputs: test errors at each horizon, and the paired difference below."""
    arrays, config = result.arrays, result.config
    steps = arrays["steps"]
    figure, axes = new_figure(len(steps) + 1, 2, height=6.6, sharex="col", sharey="row")
    for column, d in enumerate((10, 64)):
        mine = arrays["inputs"] == d
        n, nothing = arrays["n"][mine], arrays["nothing"][mine]
        errors = {run: result.series("errors", run)[mine] for run in _RUNS}
        for row, t in enumerate(steps):
            _test_errors(axes[row, column], n, {run: each[..., row] for run, each in errors.items()}, nothing)
            axes[row, column].set(yscale="log", title=f"{d} inputs, $t = {t}$")
            axes[row, column].set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
            axes[row, column].set_yticks([], minor=True)
        _differences(axes[-1, column], n, errors, steps)
        axes[-1, column].set(xscale="log", xlabel="training samples $n$", title=f"{d} inputs, paired difference")
        axes[-1, column].plot([config["far"] * d, n[-1]], [100 * config["cost"]] * 2, color="#444444", linestyle=":")
        axes[-1, column].set_xticks(n[::2], [str(size) for size in n[::2]])
        axes[-1, column].set_xticks([], minor=True)
        for ax in axes[:, column]:
            ax.axvspan(n[0] / 1.1, config["near"] * d, color="#eeeeee", zorder=0)
            ax.axvline(d, color="#444444", linewidth=0.8, linestyle=":")
    _label(figure, axes)
    return figure


def _test_errors(ax: Axes, n: np.ndarray, errors: dict[str, np.ndarray], nothing: np.ndarray) -> None:
    middle, interval = _mean(nothing)
    measured(ax, n, middle, 0, interval, label="$w = 0$")
    for place, (run, (label, index)) in enumerate(_RUNS.items()):
        middle, interval = _mean(errors[run])
        measured(ax, n * _APART ** (place - 1), middle, index, interval, label=label)


def _differences(ax: Axes, n: np.ndarray, errors: dict[str, np.ndarray], steps: np.ndarray) -> None:
    ax.axhline(0, color="black", linewidth=0.7)
    for row, t in enumerate(steps):
        by_train, by_validation = (errors[by][..., row] for by in ("train", "validation"))
        middle, interval = _mean((by_validation - by_train) / (by_train.mean(axis=1, keepdims=True) / 100))
        measured(ax, n * _APART ** (row - 0.5), middle, (3, 5)[row], interval, label=f"$t = {t}$")


def _label(figure: Figure, axes: np.ndarray) -> None:
    for ax in axes[:-1, 0]:
        ax.set_ylabel("test error\n(variances of the target)")
    for ax, letter in zip(axes[:, 0], "abc", strict=True):
        ax.annotate(
            letter, (0, 1), (-34, 8), xycoords="axes fraction", textcoords="offset points", fontweight="bold", size=11
        )
    axes[-1, 0].set_ylabel("(TbV - TbT)/TbT in %")
    axes[-1, 1].legend(loc="lower right")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, config = result.arrays, result.config
    splits = arrays["errors"].shape[1]
    unstable = 100 * np.mean(result.series("etas", "unlimited") > 2)
    return (
        f"Diabetes data of scikit-learn (442 patients), the target one year on from 10 inputs, or from 64 with their "
        f"squares and products; inputs and target standardised by the training part. Means over {splits} random splits "
        f"of n samples to train on and the rest to test on, with 95 % intervals over splits (not over patients). With "
        f"n at most {config['near']} inputs (grey) validation wins in all but "
        f"{result.measured('near'):.0f} cases; from {config['far']:g} inputs on it costs at most "
        f"{100 * result.measured('far'):.1f} % (dotted: the {100 * config['cost']:.0f} % allowed). At n = inputs "
        f"(vertical line) train-by-train has at least {result.measured('harm'):.1f} times the error of w = 0 "
        f"(t = {arrays['steps'][-1]}). Validation searched up to train-by-train's step size: without that limit "
        f"{unstable:.1f} % of its choices are unstable on all n samples, and the largest test error is "
        f"1e{result.measured('unlimited'):.0f}."
    )


def _mean(values: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the mean over splits (sizes,) and its 95 % interval."""
    middle, spread = values.mean(axis=1), 1.96 * values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    return middle, (middle - spread, middle + spread)
