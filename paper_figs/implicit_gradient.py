"""Errors of the unrolled and the implicit gradient over the horizon, of its solvers over products, and the memory."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import HORIZON, letter, measured, new_figure, theory

title = "The implicit gradient where the inner optimum was not reached"
alt = (
    "Four panels. On two problems the errors of the unrolled and the implicit gradient fall with the horizon along "
    "straight lines, the implicit one below, its bound above both. Conjugate gradients need few products with the "
    "Hessian, the Neumann series many. The memory of the unrolled gradient grows with the horizon."
)
_TITLES = {"gaussian": "ridge, Gaussian inputs", "diabetes": "ridge, diabetes data"}
_WAYS = {"unrolled": "through all steps", "implicit": "implicit"}
_SMALLEST = 1e-12  # of the scale: below it a point is what rounding leaves


def draw(result: Result) -> Figure:
    """Draw both problems over the horizon, the solvers over products, and the memory over the horizon."""
    figure, axes = new_figure(2, 2, height=5.2)
    for ax, name in zip(axes[0], _TITLES, strict=True):
        _errors(ax, result, name)
    _solvers(axes[1, 0], result, "diabetes")
    for index, (way, label) in enumerate(_WAYS.items()):
        measured(axes[1, 1], result.arrays["traced"], result.series("peak", way), index + 1, label=label)
    axes[1, 1].set(xlabel=HORIZON, ylabel="most memory (MiB)", title="memory", ylim=(0, None))
    axes[1, 1].legend(loc="upper left")
    letter(axes)
    return figure


def _errors(ax: Axes, result: Result, name: str) -> None:
    arrays = result.arrays
    size = arrays[f"size_{name}"][:, None]
    line, steps = arrays[f"line_steps_{name}"], arrays[f"steps_{name}"]
    theory(ax, line, np.median(arrays[f"bound_line_{name}"] / size, axis=0), 0, label="bound of implicit")
    for index, (way, label) in enumerate(_WAYS.items()):
        exact = np.abs(result.series(f"line_{name}", way)) / size
        theory(ax, line, np.median(exact, axis=0), index + 1, linewidth=1.0)
        _points(ax, steps, np.abs(result.series(f"engine_{name}", way)) / size, index + 1, label)
    ax.set(xscale="log", yscale="log", xlabel=HORIZON, ylabel="error / scale", title=_TITLES[name])
    ax.set_ylim(1e-13, None)
    ax.legend(loc="lower left")


def _solvers(ax: Axes, result: Result, name: str) -> None:
    arrays = result.arrays
    size = arrays[f"size_{name}"][:, None]
    for index, (solver, label) in enumerate((("neumann", "Neumann series"), ("cg", "conjugate gradients"))):
        errors, exact = (np.abs(arrays[f"{key}_{name}"]) / size for key in (solver, f"{solver}_theory"))
        at = arrays["terms"] if solver == "neumann" else np.arange(1, errors.shape[1] + 1)
        middle = np.median(exact, axis=0)
        some = middle > _SMALLEST
        theory(ax, at[some], middle[some], index + 1, linewidth=1.0)
        _points(ax, at, errors, index + 1, label)
    ax.set(xscale="log", yscale="log", xlabel="products with the Hessian", ylabel="error / scale")
    ax.set(title=f"at the optimum, {name}", ylim=(_SMALLEST, None))
    ax.legend(loc="lower right")


def _points(ax: Axes, x: np.ndarray, errors: np.ndarray, index: int, label: str) -> None:
    """Draw medians over cases with their intervals, from order statistics, where they are more than rounding."""
    ordered = np.sort(errors, axis=0)
    low = max(int(binom.ppf(0.025, len(ordered), 0.5)) - 1, 0)
    middle = np.median(errors, axis=0)
    some = middle > _SMALLEST
    measured(ax, x[some], middle[some], index, (ordered[low][some], ordered[-1 - low][some]), label=label)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Gradient of a ridge penalty after t inner steps, through all of them and implicit (points: engine, lines: "
        f"theory; medians over cases, 95 % intervals). At the last t the former is off by "
        f"{told('nearer_gaussian', '.0f')} and {told('nearer_diabetes', '.0f')} times as much; the bound of the latter "
        f"exceeds its error {told('slack_gaussian', '.0f')}- and {told('slack_diabetes', '.0f')}-fold."
    )


def details(result: Result) -> str:
    """Say what was measured, with the other values."""
    config, told = result.config, result.told
    cases = config["blocks"] * config["cases"]
    first, *_, last = config["traced"]
    return (
        f"{cases} regressions each: 40 samples of 20 Gaussian inputs with the penalty 0.1, and 100 of the 442 patients "
        f"of the diabetes data with 0.03; as many samples held out; gradient descent from 0 with the step size 1/L. "
        f"Errors are in units of |dF/dw| |dw*/dtheta|, the most that the gradient could be. Engine and theory differ "
        f"by {told('unrolled', '.0e')} (unrolled) and {told('implicit', '.0e')} (implicit) of it. The note of the "
        f"estimator foretells the error to {told('note', '.0%')}, with two digits; its Status is OK nowhere where "
        f"the error is above 1e-5 of the gradient, and everywhere where it is below 1e-7. (c) An error of 1e-6 takes a "
        f"Neumann series {told('products_gaussian', '.0f')} (Gaussian) and {told('products_diabetes', '.0f')} "
        f"(diabetes) times as many products as conjugate gradients, of which ten dimensions need ten. (d) 8 tasks of "
        f"64 parameters: from t = {first} to {last} memory grows by {told('memory_unrolled', '.1f')} unrolled, "
        f"{told('memory', '.2f')} implicit."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    told = claims.told
    return (
        f"after 24 condition numbers of steps the unrolled gradient is off by {told('nearer_gaussian', '.0f')} "
        f"(Gaussian) and {told('nearer_diabetes', '.0f')} (diabetes) times as much as the implicit one; its bound "
        f"holds, and exceeds the error by {told('slack_gaussian', '.0f')} and {told('slack_diabetes', '.0f')} in the "
        f"median; a Neumann series takes {told('products_diabetes', '.0f')} times as many products as conjugate "
        f"gradients on diabetes"
    )
