"""The floor of a loss: vanishing log objectives, their bound, and two remedies."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, measured, new_figure, theory

title = "Where the log objective vanishes: the floor of the loss"
alt = (
    "Three panels. The size of the log train loss's slope falls exponentially with the horizon under its bound, as "
    "does that of the log validation loss; the log of the excess stays near 0.2. In meta-training only the log of "
    "the excess, and sign steps on the validation loss, leave the start and end at the best step sizes."
)
_KINDS = {"train": ("log train loss", 0), "excess": ("log of the excess", 2), "validation": ("log validation loss", 1)}
_ARMS = {
    "train, gradient": ("log train", 0),
    "excess, gradient": ("log excess", 2),
    "validation, gradient": ("log validation", 1),
    "validation, sign": ("log validation,\nsign steps", 4),
}


def draw(result: Result) -> Figure:
    """Draw |G'| over the horizon and over the step size, and the step sizes that meta-training goes through."""
    arrays = result.arrays
    figure, axes = new_figure(1, 3, height=3.4)
    _slopes(axes[0], result, "t_", "horizons")
    for kind, label in (("train", "plain float64"), ("validation", None)):
        measured(axes[0], arrays["horizons"], result.series("t_plain", kind).mean(axis=-1), 5, label=label)
    axes[0].set(xlabel="horizon $t$", ylabel=r"$\log_{10}|G'|$", title=rf"a  $\eta = {result.config['eta']:g}$")
    _slopes(axes[1], result, "e_", "etas")
    axes[1].set(xlabel=r"step size $\eta$", title=f"b  $t = {result.config['steps']}$")
    _paths(axes[2], result)
    axes[2].set(title=f"c  meta-training, $t = {result.config['trained_steps']}$")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5)
    return figure


def _slopes(ax: Axes, result: Result, prefix: str, over: str) -> None:
    arrays = result.arrays
    x = arrays[f"line_{over}"]
    for kind, (label, style) in _KINDS.items():
        theory(ax, x, result.series(f"line_{prefix}slopes", kind), style, linewidth=1.0)
        points = result.series(f"{prefix}engine", kind)
        spread = points.min(axis=-1), points.max(axis=-1)
        measured(ax, arrays[over], points.mean(axis=-1), style, spread, label=label)
        if kind == "train":
            theory(ax, x, arrays[f"line_{prefix}bound"], 3, label="its bound (train)")


def _paths(ax: Axes, result: Result) -> None:
    k = np.arange(result.arrays["path"].shape[1])
    ends = []
    for arm, (name, style) in _ARMS.items():
        path = result.series("path", arm)
        ax.plot(k, path, color=COLOURS[style], linestyle=LINES[style], label=name)
        ends.append(path[-1])
    for arm, text in (("excess, gradient", "best for the train loss"), ("validation, sign", "best for validation")):
        best = result.series("best", arm)
        ax.axhline(best, color="#444444", linewidth=0.7, linestyle=":")
        ax.text(k[-1], best, text, ha="right", va="bottom", fontsize=7.5)
    ax.set(xlabel="meta-step $k$", ylabel=r"step size $\eta_k$", ylim=(-0.02, max(0.75, 1.05 * max(ends))))
    ax.legend(loc="center right", fontsize=7)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, arrays = result.config, result.arrays
    last = {kind: 10.0 ** result.series("t_engine", kind)[-1].mean() for kind in _KINDS}
    return (
        f"Noisy least squares (d = {config['d']}, n = 2d, sigma = {config['sigma']:g}, {config['tasks']} tasks: mean "
        f"and range; lines: theory given the samples). At t = {arrays['horizons'][-1]} |G'| is {last['train']:.1g} for "
        f"the log train loss, {last['validation']:.1g} for the log validation loss and {last['excess']:.2g} for the "
        f"log of the excess; the bound is exceeded in {result.measured('bound'):.0f} cases, and plain float64 is off "
        f"by {result.measured('plain_float64'):.1f} orders of magnitude. In the limit at t = 400 they are "
        f"{result.measured('limit_train'):.2g}, {result.measured('limit_validation'):.2g} and "
        f"{result.measured('limit_excess'):.3g}. From eta = {config['start']:g}, gradient steps on the log excess end "
        f"{result.measured('excess_steps'):.1g} from the best step size (relative), sign steps on the log validation "
        f"loss {result.measured('sign_steps'):.1g} (absolute); gradient steps on either log loss go "
        f"{result.measured('gradient_steps'):.0e} of the way."
    )
