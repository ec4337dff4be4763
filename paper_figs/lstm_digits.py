"""Learning curves of the trained LSTM and of tuned baselines on networks for real digits, in training and in test."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, STEP, letter, new_figure

title = "A learned optimizer on networks for digits"
alt = (
    "Loss over the steps for the trained LSTM and six tuned baselines: training loss and test loss, learning from few "
    "and from many digits, and where there are more panels training loss of networks of other kinds."
)
_LABELS = {"LSTM": "LSTM, trained"}  # the baselines have their own names
_TICKS = {"train": (0.01, 0.1, 1), "test": (0.3, 0.5, 1, 2)}
_LIMITS = {"train": (0.002, 4), "test": (0.25, 3)}
_SPOKEN = {"train": "training loss", "test": "test loss"}
_NETS = {
    "trained": "784-20-10, sigmoid",
    "units": "784-40-10, sigmoid",
    "layers": "784-20-20-10, sigmoid",
    "relu": "784-20-10, ReLU",
}
_DIGITS = {"few": "1,000 digits", "many": "4,000 digits", "unseen": "1,000 unseen digits"}


def draw(result: Result) -> Figure:
    """Draw training above test for the network of meta-training, a column a number of digits; below, the others."""
    cases = result.names("train")
    tested = [case for case in cases if np.isfinite(result.series("test", case, "LSTM")).all()]
    panels = [(case, name) for name in ("train", "test") for case in tested]
    panels += [(case, "train") for case in cases if case not in tested]
    rows = -(-len(panels) // 2)
    figure, axes = new_figure(rows, 2, height=1.0 + 2.1 * rows, sharex=True, squeeze=False)
    for ax, (case, name) in zip(axes.flat, panels, strict=False):
        _panel(ax, result, case, name)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    letter(axes)
    figure.supxlabel(STEP, fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _panel(ax: Any, result: Result, case: str, name: str) -> None:
    """Draw the curves of one case; a run that diverged ends at the frame."""
    every = result.config["every"]
    rules = result.names(name, 1)
    for index, rule in enumerate(rules):
        mean, width = (result.series(array, case, rule) for array in (name, f"{name}_width"))
        steps = np.arange(len(mean)) if name == "train" else every * np.arange(1, len(mean) + 1)
        look = {"color": COLOURS[index], "linestyle": LINES[index], "linewidth": 2.0 if index == 0 else 1.0}
        ax.plot(steps, mean, **look)
        at = slice(4 + 2 * index, None, 20) if name == "train" else slice(index % 3, None, 3)
        below = np.minimum(width[at], 0.99 * mean[at])  # on a logarithmic axis
        ax.errorbar(
            steps[at],
            mean[at],
            (below, width[at]),
            fmt=MARKERS[index],
            color=COLOURS[index],
            markerfacecolor="white",
            capsize=2,
            elinewidth=0.9,
            markersize=3.5,
            label=_LABELS.get(rule, rule),
        )
    net, digits = case.split("_")
    heading = _DIGITS[digits] if net == "trained" else _NETS[net]
    ax.set(title=f"{_SPOKEN[name]}, {heading}", ylabel=f"{_SPOKEN[name]} (nats)", yscale="log", ylim=_LIMITS[name])
    ax.set_yticks(_TICKS[name], [f"{tick:g}" for tick in _TICKS[name]])
    ax.minorticks_off()


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    ends = [
        f"with {count} digits: training loss {_compared(result, name, 'train_end')}, test loss "
        f"{_compared(result, name, 'test_end')}"
        for name, count in (("few", "1,000"), ("many", "4,000"))
        if f"trained_{name}" in result.names("train")
    ]
    return (
        f"Means over {result.config['fresh']} fresh networks for MNIST, 95 % intervals; baselines tuned on other "
        f"networks. The LSTM against the best baseline at the end, {'; '.join(ends)}."
    )


def details(result: Result) -> str:
    """Say what was tuned and on which digits, with all values."""
    config, parts = result.config, []
    for case in result.names("train"):
        name, (net, digits) = case.removeprefix("trained_"), case.split("_")
        said = f"{_DIGITS[digits]}{'' if net == 'trained' else f', {_NETS[net]}'}: training loss "
        said += f"{_compared(result, name, 'train_path')}, at the end {_compared(result, name, 'train_end')}"
        if digits != "unseen":
            said += (
                f"; test loss {_compared(result, name, 'test_path')}, at the end {_compared(result, name, 'test_end')}"
                f"; test accuracy {result.told(f'{name}_accuracy_lstm', '.1%')} against "
                f"{result.told(f'{name}_accuracy_most', '.1%')}"
            )
        parts.append(said)
    return (
        f"Networks {_NETS['trained']} where nothing else is said, minibatches of {config['batch_size']}. Meta-training "
        f"saw 4,000 digits; networks learn from 1,000 or all of these and are tested on 1,000 others, which are the "
        f"unseen ones: networks of other kinds learn from these. All hyper-parameters of the baselines and a decay of "
        f"their step size are tuned for each measure, on other networks and the 4,000; curves: those tuned for the "
        f"end. LSTM against the best baseline, means over {config['steps']} steps and at the end: {'. '.join(parts)}."
    )


def _compared(result: Result, name: str, measure: str) -> str:
    """Return the LSTM's loss against the least one of a baseline."""
    return " against ".join(result.told(f"{name}_{measure}_{which}", ".3f") for which in ("lstm", "least"))


def headline(claims: Claims) -> str:
    """Return training loss on unseen digits, and test loss at both sizes, against the best baselines."""

    def of(key: str) -> str:
        return " against ".join(claims.told(f"{key}_{which}", ".3f") for which in ("lstm", "least"))

    return (
        f"LSTM against the best baseline, 1,000 digits: training loss over {claims.config['steps']} steps "
        f"{of('few_train_path')}, at the end {of('few_train_end')}, test loss "
        f"{of('few_test_path')}, {of('few_test_end')}; 4,000: training "
        f"{of('many_train_path')}, {of('many_train_end')}, test {of('many_test_path')}, {of('many_test_end')}"
    )
