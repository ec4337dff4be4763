"""The floor of a loss: vanishing log objectives, their bound, and two remedies."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, HORIZON, LINES, META_STEP, letter, measured, new_figure, theory

title = "Where the log objective vanishes: the floor of the loss"
alt = (
    "Four panels. The size of the log train loss's slope falls exponentially with the horizon under its bound, as "
    "does that of the log validation loss; the log of the excess stays near 0.2. In meta-training only the log of "
    "the excess, and sign steps on the validation loss, leave the start and end at the best step sizes. Over the "
    "number of weights samples tend to the limit."
)
_KINDS = {"train": ("log train loss", 0), "excess": ("log of the excess", 2), "validation": ("log validation loss", 1)}
_ARMS = {
    "train, gradient": ("log train", 0),
    "excess, gradient": ("log excess", 2),
    "validation, gradient": ("log validation", 1),
    "validation, sign": ("log validation,\nsign steps", 4),
}


def draw(result: Result) -> Figure:
    """Draw |G'| over horizon and step size, the paths of meta-training, and samples against the limit."""
    arrays = result.arrays
    figure, axes = new_figure(2, 2, height=5.6)
    _slopes(axes[0, 0], result, "t_", "horizons")
    for kind, label in (("train", "plain float64"), ("validation", None)):
        measured(axes[0, 0], arrays["horizons"], result.series("t_plain", kind).mean(axis=-1), 5, label=label)
    axes[0, 0].set(xlabel=HORIZON, ylabel=r"$\log_{10}|G'(\eta)|$", title=rf"$\eta = {result.config['eta']:g}$")
    _slopes(axes[0, 1], result, "e_", "etas")
    axes[0, 1].set(xlabel=r"step size $\eta$", title=f"$t = {result.config['steps']}$")
    _paths(axes[1, 0], result)
    axes[1, 0].set(title=f"meta-training, $t = {result.config['trained_steps']}$")
    _tends(axes[1, 1], result)
    axes[1, 1].set(title=rf"samples, $t = {result.config['limit_steps']}$, $\eta = {result.config['eta']:g}$")
    letter(axes)
    handles, labels = axes[0, 0].get_legend_handles_labels()
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
    for arm, text in (
        ("excess, gradient", "best: train loss"),
        ("validation, sign", "best: validation loss"),
    ):
        best = result.series("best", arm)
        ax.axhline(best, color="#444444", linewidth=0.7, linestyle=":")
        ax.text(k[-1], best + 0.008, text, ha="right", va="bottom", fontsize=7.5)
    ax.set(xlabel=META_STEP, ylabel=r"step size $\eta_k$", ylim=(-0.02, max(0.75, 1.05 * max(ends))))
    ax.legend(loc="center right", fontsize=7)


def _tends(ax: Axes, result: Result) -> None:
    """Draw the means over samples of log10 |G'| over its limit, with 95 % intervals, over d."""
    dims = np.array(result.config["dims"])
    for kind, (_, style) in _KINDS.items():
        gaps = result.series("gaps", kind)
        mean, half = gaps.mean(axis=1), 1.96 * gaps.std(axis=1, ddof=1) / np.sqrt(gaps.shape[1])
        measured(ax, dims * 1.05 ** (style - 1), mean, style, (mean - half, mean + half))
    ax.axhline(0, color="black", linewidth=0.7, linestyle=":")
    ax.set(xscale="log", xlabel="weights $d$ (points set apart)", ylabel=r"mean $\log_{10}$ of $|G'|$ over limit")
    ax.set_xticks(dims, labels=[f"{d}" for d in dims])
    ax.minorticks_off()


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told = result.config, result.told
    return (
        f"G' of the log loss vanishes where the loss has a floor: at t = {config['horizons'][-1]} |G'| is "
        f"{told('last_train', '.1g')} (log train loss T), {told('last_validation', '.1g')} (log validation loss), "
        f"{told('last_excess', '.2g')} (log of the excess, T - T_inf). Sign steps bring {told('sign_share', '.0%')} of "
        f"{config['groups']} groups to the minimum of the validation loss, the best fixed outer step size "
        f"{told('fixed_share', '.0%')}."
    )


def details(result: Result) -> str:
    """Say what is drawn, with the other values."""
    config, told = result.config, result.told
    return (
        f"Noisy least squares (d = {config['d']}, n = 2d, sigma = {config['sigma']:g}, {config['tasks']} tasks: mean "
        f"and range; lines: theory given the samples). T_inf is the least train loss. (a), (b) The bound is exceeded "
        f"in {told('bound', '.0f')} cases, and plain float64 is off by {told('plain_float64', '.1f')} orders of "
        f"magnitude. In the limit of many weights at t = 400 the three are {told('limit_train', '.2g')}, "
        f"{told('limit_validation', '.2g')} and {told('limit_excess', '.3g')}. (c) sigma = "
        f"{config['trained_sigma']:g}: from eta = {config['start']:g}, gradient steps on the log excess end "
        f"{told('excess_steps', '.1g')} from the best step size (relative), sign steps on the log validation loss "
        f"{told('sign_steps', '.1g')} (absolute) from the minimum downhill; gradient steps on either log loss go "
        f"{told('gradient_steps', '.0e')} of the way. Tossed signs bring {told('tossed_share', '.1%')} of the groups "
        f"to the minimum; plain float32 has {told('signs_plain', '.0%')} of the signs right, scaled "
        f"{told('signs_scaled', '.0%')}. (d) Means of {config['limit_tasks']} samples with 95 % intervals; "
        f"extrapolated in 1/d they are off the limit by {told('tends_train', '.2f')} (train), "
        f"{told('tends_validation', '.2f')} (validation) and {told('tends_excess', '.3f')} (excess) orders of "
        f"magnitude."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"|G'| at t = {claims.config['horizons'][-1]}: {claims.told('last_train', '.0e')} (train), "
        f"{claims.told('last_validation', '.0e')} (validation), {claims.told('last_excess', '.2f')} (excess); bound "
        f"exceeded {claims.told('bound', '.0f')} times; sign steps bring {claims.told('sign_share', '.0%')} of "
        f"{claims.config['groups']} groups to the minimum, one fixed outer step size "
        f"{claims.told('fixed_share', '.0%')}, tossed signs {claims.told('tossed_share', '.1%')}; right signs in "
        f"float32: plain {claims.told('signs_plain', '.0%')}, scaled {claims.told('signs_scaled', '.0%')}"
    )
