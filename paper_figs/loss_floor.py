"""The floor of a loss: vanishing log objectives, their bound, and two remedies."""

from __future__ import annotations

from typing import Any

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
_NAMES = ("log train loss", "log of the excess", "log validation loss")
_STYLE = (0, 2, 1)
_ARMS = (
    ("log train", 0),
    ("log excess", 2),
    ("log validation", 1),
    ("log validation,\nsign steps", 4),
)


def draw(result: Result) -> Figure:
    """Draw |G'| over the horizon and over the step size, and the step sizes that meta-training goes through."""
    arrays = result.arrays
    figure, axes = new_figure(1, 3, height=3.4)
    _slopes(axes[0], arrays, "t_", "horizons")
    for row in (0, 2):
        label = "plain float64" if row == 0 else None
        measured(axes[0], arrays["horizons"], arrays["t_plain"][:, row].mean(axis=-1), 5, label=label)
    axes[0].set(xlabel="horizon $t$", ylabel=r"$\log_{10}|G'|$", title=rf"a  $\eta = {result.config['eta']:g}$")
    _slopes(axes[1], arrays, "e_", "etas")
    axes[1].set(xlabel=r"step size $\eta$", title=f"b  $t = {result.config['steps']}$")
    _paths(axes[2], arrays)
    axes[2].set(title=f"c  meta-training, $t = {result.config['trained_steps']}$")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5)
    return figure


def _slopes(ax: Axes, arrays: dict[str, Any], prefix: str, over: str) -> None:
    x, lines = arrays[f"line_{over}"], arrays[f"line_{prefix}slopes"]
    for row, style in enumerate(_STYLE):
        theory(ax, x, lines[row], style, linewidth=1.0)
        points = arrays[f"{prefix}engine"][:, row]
        spread = points.min(axis=-1), points.max(axis=-1)
        measured(ax, arrays[over], points.mean(axis=-1), style, spread, label=_NAMES[row])
        if row == 0:
            theory(ax, x, arrays[f"line_{prefix}bound"], 3, label="its bound (train)")


def _paths(ax: Axes, arrays: dict[str, Any]) -> None:
    k = np.arange(arrays["path"].shape[1])
    ends = []
    for path, (name, style) in zip(arrays["path"], _ARMS, strict=True):
        ax.plot(k, path, color=COLOURS[style], linestyle=LINES[style], label=name)
        ends.append(path[-1])
    for best in (arrays["best"][1], arrays["best"][3]):
        ax.axhline(best, color="#444444", linewidth=0.7, linestyle=":")
    ax.text(k[-1], arrays["best"][1], "best for the train loss", ha="right", va="bottom", fontsize=7.5)
    ax.text(k[-1], arrays["best"][3], "best for validation", ha="right", va="bottom", fontsize=7.5)
    ax.set(xlabel="meta-step $k$", ylabel=r"step size $\eta_k$", ylim=(-0.02, max(0.75, 1.05 * max(ends))))
    ax.legend(loc="center right", fontsize=7)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, arrays = result.config, result.arrays
    last = 10.0 ** arrays["t_engine"][-1].mean(axis=-1)
    limit = [result.measured(f"log {kind}, limit") for kind in ("train", "excess", "validation")]
    return (
        f"Noisy least squares (d = {config['d']}, n = 2d, sigma = {config['sigma']:g}, {config['tasks']} tasks: mean "
        f"and range; lines: theory given the samples). At t = {arrays['horizons'][-1]} |G'| is {last[0]:.1g} for the "
        f"log train loss, {last[2]:.1g} for the log validation loss and {last[1]:.2g} for the log of the excess; the "
        f"bound is exceeded in {result.measured('bound on log train'):.0f} cases, and plain float64 is off by "
        f"{result.measured('plain float64'):.1f} orders of magnitude. In the limit at t = 400 they are {limit[0]:.2g}, "
        f"{limit[2]:.2g} and {limit[1]:.3g}. From eta = {config['start']:g}, gradient steps on the log excess end "
        f"{result.measured('log excess, gradient'):.1g} from the best step size (relative), sign steps on the log "
        f"validation loss {result.measured('sign steps'):.1g} (absolute); gradient steps on either log loss go "
        f"{result.measured('share of the way'):.0e} of the way."
    )
