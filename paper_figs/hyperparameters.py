"""Test errors of tuned penalties against scikit-learn's, the work of each search, and a network with ten of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import letter, measured, new_figure

title = "Penalties and weights tuned on held-out data"
alt = (
    "Left: test error relative to scikit-learn's cross-validated estimators, a row a problem: one penalty by "
    "meta-gradient lies near zero everywhere, a penalty an input far to the right where the outer loop goes on. "
    "Middle: passes over the data on a logarithmic axis, fewer by meta-gradient than by the grid. Right: share "
    "misclassified by a network, least by meta-gradient."
)
_PROBLEMS = {  # on the axis, and in sentences
    "products": ("ridge\nproducts", "products"),
    "diabetes": ("ridge\ndiabetes", "diabetes"),
    "wine": ("ridge\nwine", "wine"),
    "cancer": ("logistic\ntumours", "tumours"),
    "progress": ("logistic\nproducts", "products (logistic)"),
    "digits": ("logistic\ndigits", "digits"),
}
_ERRORS = {
    "one": ("one penalty, meta-gradient", 4),
    "grid": ("one penalty, grid", 1),
    "random": ("one penalty, random, equal work", 5),
    "each": ("a penalty an input, early stop", 2),
    "long": ("a penalty an input, no stop", 3),
}
_WORK = {
    "one": ("one penalty, meta-gradient", 4),
    "implicit": ("one penalty, implicit", 6),
    "grid": ("one penalty, grid", 1),
    "sklearn": ("scikit-learn", 0),
}
_NETWORK = {
    "start": ("untuned", 0),
    "sklearn": ("MLPClassifier", 0),
    "grid": ("grid of a decay", 1),
    "random": ("random,\nequal work", 5),
    "random2": ("random,\ntwice the work", 5),
    "gradient": ("meta-gradient", 4),
}


def draw(result: Result) -> Figure:
    """Draw relative errors, passes and the network's errors."""
    figure, (left, middle, right) = new_figure(1, 3, height=4.4, width_ratios=(1.5, 1, 1))
    shown = [name for name in _PROBLEMS if f"errors_{name}" in result.arrays]
    _differences(left, result, shown)
    _passes(middle, result, shown)
    _network(right, result)
    letter([left, middle, right])
    handles = [*zip(*left.get_legend_handles_labels(), strict=True)]
    known = {label for _, label in handles}
    handles += [pair for pair in zip(*middle.get_legend_handles_labels(), strict=True) if pair[1] not in known]
    figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=3)
    return figure


def _rows(ax: Axes, shown: list[str]) -> None:
    ax.set_yticks(range(len(shown)), [_PROBLEMS[name][0] for name in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    for edge in range(1, len(shown)):
        ax.axhline(edge - 0.5, color="#bbbbbb", linewidth=0.6)
    ax.grid(axis="y", visible=False)


def _differences(ax: Axes, result: Result, shown: list[str]) -> None:
    """Draw how much larger the mean test error of each tuner is than scikit-learn's, in per cent of it."""
    margin = 100 * result.config["margin"]
    ax.axvspan(-margin, margin, color="#eeeeee", zorder=0)
    ax.axvline(0, color="black", linewidth=0.7)
    for place, (tuner, (label, index)) in enumerate(_ERRORS.items()):
        for row, name in enumerate(shown):
            ours, theirs = (result.series(f"errors_{name}", which) for which in (tuner, "sklearn"))
            middle, half = _mean(100 * (ours - theirs) / theirs.mean())
            _across(ax, middle, row + 0.15 * (place - 2), index, half, label if row == 0 else None)
    ax.set_xscale("symlog", linthresh=10, linscale=1.2)
    ticks = (-30, -10, -5, 0, 5, 10, 30, 100)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="test error less that of scikit-learn (%)", title="test error")
    _rows(ax, shown)


def _passes(ax: Axes, result: Result, shown: list[str]) -> None:
    for place, (tuner, (label, index)) in enumerate(_WORK.items()):
        for row, name in enumerate(shown):
            middle, _ = _mean(result.series(f"passes_{name}", tuner))
            _across(ax, middle, row + 0.18 * (place - 1.5), index, None, label if row == 0 else None)
    ax.set_xscale("log")
    ax.set(xlabel="passes over the data", title="work")
    _rows(ax, shown)
    ax.set_yticklabels([])


def _network(ax: Axes, result: Result) -> None:
    for row, (tuner, (_, index)) in enumerate(_NETWORK.items()):
        middle, half = _mean(100 * result.series("wrong_network", tuner))
        _across(ax, middle, row, index, half, None)
    ax.set_yticks(range(len(_NETWORK)), [label for label, _ in _NETWORK.values()], fontsize=7.5)
    ax.set_ylim(len(_NETWORK) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set(xlabel="misclassified (%)", title="network")


def _across(ax: Axes, x: Any, y: float, index: int, half: Any, label: str | None) -> None:
    """Draw one point with an interval along x."""
    said = {} if label is None else {"label": label}
    if half is not None:
        ax.plot([x - half, x + half], [y, y], color="#222222", linewidth=0.9, zorder=2)
    measured(ax, [x], [y], index, **said)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over splits and half of its 95 % interval."""
    spread = values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean()), float(stats.t.ppf(0.975, values.size - 1) * spread)


def _shown(result: Any) -> list[str]:
    return [name for name in _PROBLEMS if name in result.config["blocks"]]


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told, names = result.told, _shown(result)
    errors = ", ".join(told(f"one_{name}", "+.1f", _percent) for name in names)
    return (
        f"One penalty by meta-gradient changes the mean test error of scikit-learn's estimators by {errors} % (top to "
        f"bottom; grey: the {100 * result.config['margin']:.0f} % allowed) with {told('work_grid', '.2f')} of a grid's "
        f"passes at most. A penalty an input, not stopped, errs {told('long_cancer', '.0f', _percent)} % more than "
        f"one, on tumours. Means over splits, 95 % intervals."
    )


def details(result: Result) -> str:
    """Say what is tuned and how the work is counted, with the other values."""
    config, told, names = result.config, result.told, _shown(result)
    counts = ", ".join(f"{result.arrays[f'errors_{name}'].shape[1]} ({_PROBLEMS[name][1]})" for name in names)
    each = ", ".join(f"{told(f'each_{name}', '+.1f', _percent)} % ({_PROBLEMS[name][1]})" for name in names)
    work = ", ".join(f"{told(f'work_{name}', '.2g')} ({_PROBLEMS[name][1]})" for name in names)
    return (
        f"Splits: {counts}; {result.arrays['errors_network'].shape[1]} networks. Half of each data set only tests. "
        f"A pass: a gradient of the loss on all n samples of a split; products of a derivative are counted as they "
        f"are made, an iteration of L-BFGS as one gradient, though it can take more. Passes of meta-gradient over "
        f"those of scikit-learn: {work}; RidgeCV has a closed form. Meta-gradient: {config['one']['inner']} steps of "
        f"Nesterov's momentum for each of {config['one']['outer']} penalties from 0.03 on, five folds side by side; "
        f"from a decade off the mean error changes by {told('moved_start', '+.1f', _percent)} % at the worst. The "
        f"implicit derivative changes it by {told('implicit', '+.1f', _percent)} % with up to "
        f"{told('work_implicit', '.0f')} times as many. A grid whose runs end at 1/100 of the gradient at 0 is up to "
        f"{told('rough', '.0f', _percent)} % worse than one whose runs end at 1/1000. Random search of one penalty is "
        f"{told('random', '.1f', _percent)} % worse with as many passes, {told('random4', '.1f', _percent)} % with 4 "
        f"times as many. A penalty an input, stopped after {config['early']} steps, against scikit-learn: {each}. "
        f"Network: weights of eight sources of labels and two decays; meta-gradient takes "
        f"{told('network_work', '.1f')} times the passes of MLPClassifier, which has no weights."
    )


def headline(claims: Claims) -> str:
    """Return the measured values for the table of claims."""
    told, names = claims.told, _shown(claims)
    errors = ", ".join(f"{_PROBLEMS[name][1]} {told(f'one_{name}', '+.1f', _percent)}" for name in names)
    return (
        f"Test error of one penalty by meta-gradient less scikit-learn's in %: {errors}; passes at most "
        f"{told('work_grid', '.2f')} of a grid's; a penalty an input {told('each_products', '+.1f', _percent)} "
        f"(products), not stopped {told('long_cancer', '+.0f', _percent)} (tumours); network "
        f"{told('network_wrong', '.0f', _percent)} points fewer errors than by random search of twice the work"
    )


def _percent(share: float) -> float:
    return 100 * share
