"""The meta-gradient of a learned optimizer over the unroll length, on three objectives, and what its slope is."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, MARKERS, measured, new_figure, theory

title = "A learned optimizer's meta-gradient: what the logarithm cures, and what not"
alt = (
    "Six panels. For LSTMs that read the logarithm and sign of the gradient, plain, log and log-excess meta-gradients "
    "rise together with the unroll length on three tasks, at the rate of nearby runs; stop-gradients do not. Run by "
    "run the slope of the log objective equals that of the plain one, unlike for gradient descent without a floor, and "
    "the plain one's equals the Lyapunov number where that is positive. For the shipped LSTM on a loss with a floor, "
    "plain and log gradients fall while it converges, and that of the log of the excess does not."
)
CHECKS = {  # the slopes of the plain objective, of the log and of the log of the excess
    "regression": ("regression_log_sign_plain", "regression_log_sign_log", "regression_log_sign_log_excess"),
    "floor": ("floor_log_sign_plain", "floor_log_sign_log", "floor_log_sign_log_excess"),
    "digits": ("digits_log_sign_plain", "digits_log_sign_log", "digits_log_sign_log_excess"),
    "shipped": ("floor_shipped_plain", "floor_shipped_log", "floor_shipped_log_excess"),
}
_TASKS = ("regression", "floor", "digits")
_TITLES = ("regression, no floor", "least squares, floor", "network, 8 x 8 digits")
_OBJECTIVES = (("plain", 1), ("log", 2), ("log excess", 4))
_CASES = (("regression", "log-sign"), ("floor", "log-sign"), ("digits", "log-sign"), ("regression", "raw"))
_CASES += (("floor", "raw"),)


def draw(result: Result) -> Figure:
    """Draw gradients over the unroll length for trained LSTMs, and slopes against slopes for all."""
    figure, axes = new_figure(2, 3, height=5.6)
    for ax, task, name, letter in zip(axes[0], _TASKS, _TITLES, "abc", strict=True):
        runs = result.config["runs"][task == "digits"]
        _gradients(ax, result, f"{task}_log-sign", runs)
        _growth(ax, result, f"{task}_log-sign", runs)
        ax.set_title(f"{letter}  {name}")
    _gradients(axes[1, 2], result, "floor_shipped", 0)
    axes[1, 2].set_title("f  shipped LSTM, floor")
    axes[1, 2].axvline(result.config["converging"][1], color="#777777", linestyle=":", linewidth=0.9)
    for ax in (*axes[0], axes[1, 2]):
        ax.set(xlabel="unroll length $T$", ylabel=r"$\log_{10}\|$meta-gradient$\|$" if ax in axes[:, 0] else None)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    _against_plain(axes[1, 0], result)
    _against_growth(axes[1, 1], result)
    return figure


def _gradients(ax: Axes, result: Result, case: str, first: int) -> None:
    """Draw means over the runs from `first` on, and their intervals."""
    T = result.arrays["horizons"]
    for place, (name, style) in zip((-1, 0, 1), _OBJECTIVES, strict=True):
        middle, low, high = _interval(result.series(f"{case}_log10", "full", name)[:, first:])
        measured(ax, T + place * T[-1] / 64, middle, style, (low, high), label=name)  # beside each other
    middle, low, high = _interval(result.series(f"{case}_log10", "stop_gradient", "plain")[:, first:])
    measured(ax, T, middle, 5, (low, high), label="plain, stop-gradient")


def _growth(ax: Axes, result: Result, case: str, first: int) -> None:
    """Draw a line of the slope that the growth of distances between nearby runs predicts."""
    T, arrays = result.arrays["horizons"], result.arrays
    late = result.config["fit_from"] <= T
    growth = np.maximum(arrays[f"{case}_lyapunov"][first:], 0).mean()
    line = result.series(f"{case}_log10", "full", "plain")[late, first:].mean() + growth * (T[late] - T[late].mean())
    theory(ax, T[late], line, 0, label="rate of nearby runs", linewidth=1.0)


def _interval(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over runs and its 95 % interval by Student's t; runs without a finite number are left out."""
    x = np.ma.masked_invalid(x)
    count = x.count(axis=-1)
    half = stats.t.ppf(0.975, np.maximum(count - 1, 1)) * x.std(axis=-1, ddof=1) / np.sqrt(count)
    middle = x.mean(axis=-1)
    return tuple(np.ma.filled(y, np.nan) for y in (middle, middle - half, middle + half))


def _against_plain(ax: Axes, result: Result) -> None:
    cases = [f"{task}_{rule}" for task, rule in _CASES]
    for name, style in _OBJECTIVES[1:]:
        plain, of = (
            np.concatenate([result.series(f"{case}_slopes", "full", one) for case in cases]) for one in ("plain", name)
        )
        measured(ax, plain, of, style, markersize=3.5)
        for task in ("regression", "floor"):
            control = [result.series(f"{task}_descent_slopes", "full", one).mean() for one in ("plain", name)]
            ax.plot(*control, marker=MARKERS[style], color=COLOURS[style], markersize=6.5, linestyle="none")
    ends = np.array(ax.get_xlim())
    theory(ax, ends, ends, 0, linewidth=0.9)
    theory(ax, ends, 0 * ends, 3, linewidth=1.2)
    ax.text(0.55 * ends[1], 0.02 * ends[1], "cured", va="bottom", fontsize=7.5)
    ax.text(0.55 * ends[1], 0.68 * ends[1], "not cured", ha="right", fontsize=7.5)
    ax.text(0.97, 0.06, "filled: gradient\ndescent", transform=ax.transAxes, ha="right", fontsize=7.5)
    ax.set(title="d  log against plain, all runs", xlabel="slope of plain (per step)")
    ax.set_ylabel("slope of log, log excess")


def _against_growth(ax: Axes, result: Result) -> None:
    for rule, style in (("log-sign", 1), ("raw", 6)):
        cases = [f"{task}_{r}" for task, r in _CASES if r == rule]
        x = np.concatenate([result.arrays[f"{case}_lyapunov"] for case in cases])
        y = np.concatenate([result.series(f"{case}_slopes", "full", "plain") for case in cases])
        measured(ax, x, y, style, markersize=3.5, label=rule)
    ends = np.array([ax.get_xlim()[0], 0.0, ax.get_xlim()[1]])
    theory(ax, ends, np.maximum(ends, 0), 0, linewidth=0.9, label=r"$\max(0, \lambda)$")
    ax.set(
        title="e  plain against nearby runs", xlabel=r"Lyapunov number $\lambda$ (per step)", ylabel="slope of plain"
    )
    ax.legend(loc="upper left", fontsize=7.5)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config

    def slopes(case: str) -> str:
        return ", ".join(f"{result.measured(key):.3f}" for key in CHECKS[case])

    log_sign = "; ".join(f"{task} {slopes(task)}" for task in _TASKS)
    return (
        f"LSTMs of {config['hidden']} units, each run with its own (means and 95 % intervals over runs). a-c: trained "
        f"ones that read log and sign of the gradient. Orders of magnitude per step, plain, log, log of the excess: "
        f"{log_sign}. d, e: all runs, trained or not; filled: gradient descent, {result.measured('descent_plain'):.3f} "
        f"(plain) and at most {result.measured('descent_cured'):.0e} where the log cures. Of the runs that explode the "
        f"log objective keeps at least {result.measured('log_over_plain'):.2f} of the slope, and slopes are within "
        f"{result.measured('lyapunov'):.3f} of the Lyapunov number where that is positive, 0 elsewhere (mean). f: the "
        f"LSTM that ships with the project, which reads the gradient itself, from {config['converging'][0]} steps to "
        f"the {config['converging'][1]} that it was trained for (dotted line): {slopes('shipped')}; it ends off "
        f"the minimum, at a place that depends on phi, and nothing vanishes any more. The floor of the network's loss "
        f"is the least that was seen."
    )
