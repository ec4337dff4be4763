"""Greedy step sizes against the best ones on the noisy quadratic model."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "Short-horizon bias on the noisy quadratic model"
alt = (
    "Four panels: the last loss over the horizon, greedy far above optimal; the schedules, greedy falling first; the "
    "loss along one horizon, greedy ahead at first and overtaken; the last loss over how many steps are looked ahead, "
    "falling from greedy towards optimal."
)
_LABELS = {
    "greedy": "greedy",
    "optimal": r"optimal, $\eta \leq 2/\max h$",
    "unlimited": "optimal, no limit",
}
_POINTS = 12


def draw(result: Result) -> Figure:
    """Draw last losses over horizons, the schedules and losses of one horizon, and last losses over looks ahead."""
    arrays = result.arrays
    figure, axes = new_figure(2, 2, height=5.2)
    for index, name in enumerate(_LABELS):
        _last(axes[0, 0], result, index, name)
        etas = result.series("shown_etas", name)
        theory(axes[0, 1], np.arange(1, len(etas) + 1), etas, index)
        _along(axes[1, 0], result, index, name)
    _looks(axes[1, 1], result)
    shown = arrays["shown_etas"].shape[1]
    axes[0, 0].set(xlabel="horizon $T$", ylabel=r"last loss $F_T$", xscale="log", yscale="log")
    axes[0, 1].set(xlabel=f"step $k$ of $T = {shown}$", ylabel=r"step size $\eta_k$", yscale="log")
    axes[1, 0].set(xlabel=f"steps of $T = {shown}$", ylabel="loss $F_k$", yscale="log")
    axes[1, 1].set(xlabel="steps looked ahead", ylabel=f"last loss $F_{{{shown}}}$", xscale="log", yscale="log")
    _plain_logs(axes[0, 0])
    _plain_logs(axes[1, 1])
    for ax, letter in zip(axes.flat, "abcd", strict=True):
        ax.set_title(letter, fontweight="bold")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _plain_logs(ax: Axes) -> None:
    """Label both logarithmic axes with plain numbers."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")


def _last(ax: Axes, result: Result, index: int, name: str) -> None:
    horizons = result.arrays["horizons"]
    theory(ax, horizons, result.series("losses", name), index, label=_LABELS[name])
    mean, spread = result.series("runs", name), 1.96 * result.series("runs_error", name)
    measured(ax, horizons, mean, index, (mean - spread, mean + spread))


def _along(ax: Axes, result: Result, index: int, name: str) -> None:
    """Draw the loss along the horizon; the runs at a few steps, which differ between the schedules."""
    losses, mean = result.series("shown_losses", name), result.series("shown_runs", name)
    spread = 1.96 * result.series("shown_runs_error", name)
    steps = np.arange(len(losses))
    theory(ax, steps, losses, index)
    some = np.unique(np.linspace(2 * index, len(losses) - 1, _POINTS).round().astype(int))
    measured(ax, steps[some], mean[some], index, ((mean - spread)[some], (mean + spread)[some]))


def _looks(ax: Axes, result: Result) -> None:
    looks = result.arrays["looks"]
    theory(ax, looks, result.arrays["look_losses"], 4, marker=".")
    for name in ("greedy", "optimal"):
        last = result.series("shown_losses", name)[-1]
        ax.axhline(last, color="#444444", linewidth=0.8, linestyle=":")
        ax.text(looks[0], last, name, fontsize=7, va="bottom", color="#444444")


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config
    return (
        f"Noisy quadratic model with curvatures {config['curvatures'][0]:g} and {config['curvatures'][1]:g}. (a) The "
        f"greedy schedule ends {result.told('bias_10')} times above the best one at T = 10, {result.told('bias_100')} "
        f"times at T = 100, with steps up to 2/max h; against the best schedule without that limit, "
        f"{result.told('unlimited_10')} and {result.told('unlimited_100')} times. That one lets the sharp direction "
        f"blow up, here to a loss of {result.series('shown_losses', 'unlimited').max():.1g}, and ends lower still. "
        f"(b) Greedy steps fall too early: half way they are {result.told('early', '.2f')} of the best. (c) Greedy "
        f"leads at first: after a tenth of the steps its loss is {result.told('leads', '.2g')} of the best's. (d) "
        f"Looking further ahead closes the gap: at half the horizon the last loss is {result.told('half', '.4f')} "
        f"times the best. Lines: exact expectations; points: {config['runs']} runs with 95 % intervals, all within "
        f"{result.told('runs', '.2g')} standard errors."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"factor {claims.told('bias_10')} at T = 10, {claims.told('bias_100')} at T = 100 with steps up to 2/max h, "
        f"{claims.told('unlimited_10')} and {claims.told('unlimited_100')} without that limit; looking half of "
        f"{claims.config['shown']} steps ahead {claims.told('half', '.4f')}; one dimension alone "
        f"{claims.told('alone', '.3g', of=lambda x: 1 + x)}; runs within {claims.told('runs', '.2g')} standard errors"
    )
