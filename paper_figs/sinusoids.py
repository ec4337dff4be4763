"""Learned starts for sine waves: the error along the steps on new tasks, method by method."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, letter, measured, new_figure

title = "Learned starts for sine waves"
alt = (
    "Two panels of the mean squared error on points that were held back, over the steps on ten points of a new sine "
    "wave, on logarithmic axes. In the first, random weights stay where they are, while starts learned by MAML at two "
    "step sizes, by its first order, by ANIL and by Meta-SGD fall within one step, and further. In the second, "
    "Reptile's start falls within eight steps, and random weights hardly do in thirty-two."
)
_AGAINST = "random weights"
_ENDS = 0.7, 1.4  # of the axis, about the least mean and the largest at the start
_ASIDE = 0.07  # steps, so that intervals do not hide each other
_DIVERGED = 3.0  # times the error at the start
_NARROW = 5.0  # an axis that spans less has labels between the powers of ten


def draw(result: Result) -> Figure:
    """Draw the family of MAML, and that of Reptile."""
    figure, axes = new_figure(1, 2, height=3.6)
    looks = {name: k for k, name in enumerate((_AGAINST, *(n for n in result.names("error") if n != _AGAINST)))}
    for name, look in looks.items():
        _curve(axes[0], result.series("error", name), look, name, aside=_ASIDE * (look - len(looks) / 2))
    names = result.names("reptile")
    for name in names:
        look = looks[_AGAINST] if name == _AGAINST else len(looks)
        _curve(axes[1], result.series("reptile", name), look, name, every=4, aside=0.0)
    for ax, array in zip(axes, ("error", "reptile"), strict=True):
        means = result.arrays[array][..., 0]
        low, top = np.nanmin(means), np.nanmax(means[:, 0])  # what diverges on the way leaves the axis above
        ax.set(yscale="log", ylim=(_ENDS[0] * low, _ENDS[1] * top), xlabel="step on a new task")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:.1g}" if top < _NARROW * low else "")
    axes[0].set(ylabel="mean squared error, query points", title="MAML's family")
    axes[1].set(title="Reptile's family")
    letter(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    more = [pair for pair in zip(*axes[1].get_legend_handles_labels(), strict=True) if pair[1] not in labels]
    handles, labels = [*handles, *(h for h, _ in more)], [*labels, *(name for _, name in more)]
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _curve(ax: Any, curve: np.ndarray, look: int, name: str, *, every: int = 1, aside: float) -> None:
    """Draw means (steps + 1, 3) as points with intervals, joined by a thin line; up to where they diverge."""
    fine = np.isfinite(curve).all(axis=1) & (curve[:, 2] < _DIVERGED * curve[0, 0])
    known = len(curve) if fine.all() else int(np.argmin(fine))
    steps = np.arange(known) + aside
    mean, low, high = curve[:known].T
    ax.plot(steps, mean, color=COLOURS[look % len(COLOURS)], linestyle=LINES[look % len(LINES)], linewidth=0.8)
    some = slice(None, None, every)
    measured(ax, steps[some], mean[some], look % len(COLOURS), (low[some], high[some]), label=name)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"One step on ten points of a new sine wave leaves {told('maml_random', '.2f')} of the error of random weights "
        f"from MAML's start (step size 0.01), eight steps {told('reptile_random', '.2g')} from Reptile's. First-order "
        f"MAML leaves {told('first_order', '.2f')} times the error of MAML. Means, 95 % intervals over tasks."
    )


def details(result: Result) -> str:
    """Say how it was made, with the other values."""
    config, told = result.config, result.told
    return (
        f"{config['iterations']} meta-steps of 25 tasks (MAML and its kin), {config['reptile_iterations']} of one task "
        f"(Reptile, linearly falling outer step); means over {config['starts']} and {config['reptile_starts']} learned "
        f"starts (Meta-SGD: one) and {config['tested']} and {config['reptile_tested']} new tasks. After one step "
        f"MAML at 0.001 has {told('smaller_step', '.2f')} times the error of MAML at 0.01, ANIL {told('anil', '.2f')}, "
        f"Meta-SGD with its own step sizes {told('meta_sgd', '.2f')} times. The error of MAML over that of a run "
        f"written out by hand: {told('by_hand', '.2f')} at 0.01, {told('by_hand_smaller', '.2f')} at 0.001. Starts are "
        f"learned for one step (Reptile: five); Meta-SGD may diverge beyond. Before any step Reptile's start has the "
        f"error {told('reptile_start', '.2f')}."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"share of the error of random weights: {claims.told('maml_random', '.2f')} after 1 step from MAML's start, "
        f"{claims.told('reptile_random', '.2g')} after 8 from Reptile's; first-order MAML over MAML: "
        f"{claims.told('first_order', '.2f')}; MAML over a run by hand: {claims.told('by_hand', '.2f')}"
    )
