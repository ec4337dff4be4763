"""Test errors of both choices of the step size on real data, over the number of training samples per input."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import letter, measured, new_figure

title = "Train-by-train and train-by-validation on real data"
alt = (
    "Test error over the training samples per input, a column a problem: train-by-train peaks where samples are as "
    "many as inputs, train-by-validation falls steadily; below, their paired difference is far below zero at few "
    "samples and near zero at many."
)
_RUNS = {
    "train": ("train-by-train", 1),
    "validation": ("train-by-validation", 2),
    "half": ("the same, trained on its half only", 4),
}
_PROBLEMS = {  # title, and what is predicted
    "diabetes": ("diabetes", "progress of diabetes a year on from 10 measurements, 442 patients"),
    "products": ("products", "the same from 64: these, their squares and products"),
    "wine": ("wine", "alcohol from 12 other measurements, 178 wines"),
    "cancer": ("tumours", "malignant or benign from 30 measurements, 569 tumours"),
    "digits": ("digits", "odd or even from 64 pixels, 1797 digits"),
}
_SHORT = {"diabetes": "diabetes", "products": "its products", "wine": "wine", "cancer": "tumours", "digits": "digits"}
_FAR = ("diabetes", "wine", "cancer", "digits")  # those with enough samples for the claim on many
_TICKS = (0.3, 0.5, 1, 2, 4, 8)
_PER_INPUT = (0.25, 1, 4, 16)
_APART = 1.06  # of neighbouring points, so that their intervals can be told apart


def draw(result: Result) -> Figure:
    """Draw a column a problem: test errors at the last horizon, and the paired difference at all horizons below."""
    arrays, config = result.arrays, result.config
    steps = arrays["steps"]
    figure, axes = new_figure(2, len(_PROBLEMS), height=4.9, sharex=True, sharey="row")
    for column, (name, d) in enumerate(zip(result.names("inputs"), arrays["inputs"], strict=True)):
        mine = arrays["problem"] == column
        x, above, below = arrays["n"][mine] / d, *axes[:, column]
        errors = {run: result.series("errors", run)[mine] for run in _RUNS}
        _test_errors(above, x, {run: each[..., -1] for run, each in errors.items()}, arrays["nothing"][mine])
        above.set(yscale="log", title=f"{_PROBLEMS[name][0]}\n$d = {d}$")
        _differences(below, x, errors, steps)
        below.set_title(_PROBLEMS[name][0])
        below.plot([config["far"], max(_PER_INPUT)], [100 * config["cost"]] * 2, color="#444444", linestyle=":")
        below.set_xscale("log")
        for ax in axes[:, column]:
            ax.axvspan(0.2, config["near"], color="#eeeeee", zorder=0)
            ax.axvline(1, color="#444444", linewidth=0.8, linestyle=":")
    _label(figure, axes, steps)
    return figure


def _test_errors(ax: Axes, x: np.ndarray, errors: dict[str, np.ndarray], nothing: np.ndarray) -> None:
    middle, interval = _mean(nothing)
    measured(ax, x, middle, 0, interval, label="$w = 0$")
    for place, (run, (label, index)) in enumerate(_RUNS.items()):
        middle, interval = _mean(errors[run])
        measured(ax, x * _APART ** (place - 1), middle, index, interval, label=label)


def _differences(ax: Axes, x: np.ndarray, errors: dict[str, np.ndarray], steps: np.ndarray) -> None:
    ax.axhline(0, color="black", linewidth=0.7)
    for row, t in enumerate(steps):
        by_train, by_validation = (errors[by][..., row] for by in ("train", "validation"))
        middle, interval = _mean((by_validation - by_train) / (by_train.mean(axis=1, keepdims=True) / 100))
        measured(ax, x * _APART ** (2 * row - 1), middle, (3, 5)[row % 2], interval, label=f"$t = {t}$")


def _label(figure: Figure, axes: np.ndarray, steps: np.ndarray) -> None:
    axes[0, 0].set_ylabel(f"test error, $t = {steps[-1]}$\n(variances of the target)")
    axes[0, 0].set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes[0, 0].set_yticks([], minor=True)
    axes[1, 0].set_ylabel("validation less train\nof the error by train (%)")
    axes[1, 0].set_xticks(_PER_INPUT, [f"{tick:g}" for tick in _PER_INPUT])
    axes[1, 0].set_xticks([], minor=True)
    axes[1, 0].set_xlim(0.2, 20)
    axes[1, -1].legend(loc="lower right")
    letter(axes)
    figure.supxlabel("training samples per input $n/d$", fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told = result.config, result.told
    wins = ", ".join(told(f"near_{name}", ".0f", _percent) for name in _PROBLEMS)
    return (
        f"Up to {config['near']:g} samples an input (grey) train-by-validation changes the mean test error by "
        f"{wins} % where it gains least, from left to right; from {config['far']:g} on it costs little (dotted: the "
        f"{100 * config['cost']:.0f} % allowed outside of tumours). Means over "
        f"{result.arrays['errors'].shape[1]} splits, 95 % intervals; w = 0: no training."
    )


def details(result: Result) -> str:
    """Say what the problems are, with the other values."""
    config, told = result.config, result.told
    problems = "; ".join(f"{heading}: {what}" for heading, what in _PROBLEMS.values())
    costs = ", ".join(f"{told(f'far_{name}', '.1f', _percent)} % ({_PROBLEMS[name][0]})" for name in _FAR)
    harm = ", ".join(told(f"harm_{name}", ".1f", lambda x: 1 + x) for name in _PROBLEMS)
    return (
        f"Data of scikit-learn ({problems}). Inputs scaled by the training part; half of each data set, the same "
        f"whatever the seed, only tests; the splits of the other half give n training samples. The intervals say "
        f"nothing of other patients, wines or digits. From {config['far']:g} samples an input on validation costs at "
        f"most {costs}. At n = d (vertical line) and t = {config['horizons'][-1]} train-by-train has {harm} times the "
        f"error of w = 0. Validation searched up to train-by-train's step size: without that limit "
        f"{told('unlimited', '.1f', _percent)} % of the splits end with a test error above 100 variances, with it "
        f"{told('limited', '.2f', _percent)} %, train-by-train's own included. Points of one n are drawn "
        f"{_APART - 1:.0%} apart."
    )


def headline(claims: Claims) -> str:
    """Return the measured values for the table of claims."""
    config = claims.config
    wins = ", ".join(f"{_SHORT[name]} {claims.told(f'near_{name}', '.0f', _percent)}" for name in _PROBLEMS)
    costs = ", ".join(claims.told(f"far_{name}", ".1f", _percent) for name in _FAR)
    return (
        f"(TbV - TbT)/TbT of mean test errors in %, largest: {wins} up to {config['near']:g} samples an input; {costs} "
        f"from {config['far']:g} on (not of products); without a limit "
        f"{claims.told('unlimited', '.1f', _percent)} % of the splits diverge"
    )


def _percent(share: float) -> float:
    return 100 * share


def _mean(values: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the mean over splits (sizes,) and its 95 % interval."""
    splits = values.shape[1]
    half = stats.t.ppf(0.975, splits - 1) * values.std(axis=1, ddof=1) / np.sqrt(splits)
    middle = values.mean(axis=1)
    return middle, (middle - half, middle + half)
