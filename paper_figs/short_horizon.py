"""Greedy step sizes against the best ones on the noisy quadratic model."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import HORIZON, STEP, letter, measured, new_figure, theory

title = "Short-horizon bias on the noisy quadratic model"
alt = (
    "Four panels: the last loss over the horizon, greedy far above optimal; the schedules, greedy falling first; the "
    "loss along one horizon, greedy ahead at first and overtaken; the last loss over how many steps are looked ahead, "
    "falling from greedy to the optimal one at half of the horizon, while a few steps close little of the gap."
)
_LABELS = {
    "greedy": "greedy",
    "optimal": r"optimal, $\eta \leq 2/L$",
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
    axes[0, 0].set(xlabel=HORIZON, ylabel=r"last loss $F_t$", title="last loss", xscale="log", yscale="log")
    axes[0, 1].set(xlabel=f"{STEP} of $t = {shown}$", ylabel=r"step size $\eta_\tau$", title="schedules", yscale="log")
    axes[1, 0].set(xlabel=f"{STEP} of $t = {shown}$", ylabel=r"loss $F_\tau$", title="along the way", yscale="log")
    axes[1, 1].set(xlabel="steps looked ahead", ylabel=f"last loss $F_{{{shown}}}$", xscale="log", yscale="log")
    axes[1, 1].set_title("looking further ahead")
    _plain_logs(axes[0, 0])
    _plain_logs(axes[1, 1])
    letter(axes)
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
    told, looks = result.told, result.arrays["looks"]
    best = result.series("shown_losses", "optimal")[-1]
    some = len(looks) // 2
    return (
        f"Greedy steps end {told('bias_10')} times above the best schedule up to 2/L at t = 10, {told('bias_100')} "
        f"times at t = 100 (L: largest curvature). Looking {looks[some]:g} steps ahead "
        f"still ends at {result.arrays['look_losses'][some] / best:.2g} times the best loss, half of the horizon at "
        f"{told('half', '.4f')} times. Lines: exact expectations; points: runs, 95 % intervals."
    )


def details(result: Result) -> str:
    """Say what the model is, with the other values."""
    config, told = result.config, result.told
    return (
        f"Noisy quadratic model with curvatures h of {config['curvatures'][0]:g} and {config['curvatures'][1]:g}. (a) "
        f"Against the best schedule without a limit greedy ends {told('unlimited_10')} and {told('unlimited_100')} "
        f"times above. That one lets the sharp direction blow up, here to a loss of "
        f"{result.series('shown_losses', 'unlimited').max():.1g}, and ends lower still. (c) Greedy leads at first: "
        f"after a tenth of the steps its loss is {told('leads', '.2g')} of the best's. (d) A schedule that looks some "
        f"steps ahead, and moves on by one, closes the gap as they come near half of the horizon; the lines across are "
        f"greedy and the best schedule up to 2/L. {config['runs']} runs, all within {told('runs', '.2g')} standard "
        f"errors."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"factor {claims.told('bias_10')} at T = 10, {claims.told('bias_100')} at T = 100 with steps up to 2/max h, "
        f"{claims.told('unlimited_10')} and {claims.told('unlimited_100')} without that limit; looking half of "
        f"{claims.config['shown']} steps ahead {claims.told('half', '.4f')}; one dimension alone "
        f"{claims.told('alone', '.3g', of=lambda x: 1 + x)}; runs within {claims.told('runs', '.2g')} standard errors"
    )
