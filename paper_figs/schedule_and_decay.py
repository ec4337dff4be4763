"""Tuned steps with and without weight decay: the excess over the Bayes risk, the boundary, samples, real data."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, HORIZON, MARKERS, SAMPLES, letter, measured, new_figure, theory

title = "With noise the best schedule needs weight decay"
alt = (
    "Four panels. The excess over the Bayes risk falls along a straight line with weight decay, and stays above a "
    "hundredth without. In the plane of n/d and noise there is a boundary for each number of steps; points below them "
    "are filled, points above open. On Gaussian samples the mean risk with decay is below that of steps alone, each "
    "on its limit. On diabetes data three tuned schedules have the same test error."
)


def draw(result: Result) -> Figure:
    """Draw the four panels."""
    figure, axes = new_figure(2, 2, height=5.6)
    _excess(axes[0, 0], result)
    _boundary(axes[0, 1], result)
    _finite(axes[1, 0], result)
    _real(axes[1, 1], result)
    letter(axes)
    return figure


def _excess(ax: Axes, result: Result) -> None:
    a, config = result.arrays, result.config
    t = np.linspace(a["steps"][0], a["steps"][-1], 100)
    rate, bayes = float(a["log_rate"]), float(a["bayes"])
    start = np.log(1 - np.exp(2 * rate)) - np.log(config["gamma"]) / 2
    exact = np.exp((2 * t + 1) * rate + start) / -np.expm1((2 * t + 2) * rate)
    theory(ax, t, exact, 0)
    measured(ax, a["steps"], np.exp(a["limit_log_excess"]), 0, label="steps and decay")
    theory(ax, a["steps"], a["limit_alone_theory"] - bayes, 1)
    measured(ax, a["steps"], a["limit_alone"] - bayes, 1, label="steps alone")
    ax.set(yscale="log", xlabel=HORIZON, ylabel="risk above the Bayes risk")
    ax.set_title(rf"$n/d = {1 / config['gamma']:g}$, $\sigma = {config['sigma']:g}$")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="lower left")


def _boundary(ax: Axes, result: Result) -> None:
    a = result.arrays
    for k, steps in enumerate(a["lines_steps"]):
        theory(ax, 1 / a["lines_gamma"], a["lines"][k], k, label=f"$t = {steps}$")
    reached = (a["edge_alone"] - a["edge_best"]) / a["edge_best"] < 1e-6
    for (i, j), noise in np.ndenumerate(a["edge_noise"]):
        k = list(a["lines_steps"]).index(a["edge_steps"][i]) if a["edge_steps"][i] in a["lines_steps"] else 6
        face = COLOURS[k] if reached[i, j] else "white"
        look = {"color": COLOURS[k], "marker": MARKERS[k], "markerfacecolor": face, "linestyle": "none"}
        ax.plot(1 / a["edge_gamma"][i], noise, **look, zorder=3)
    ax.set(xscale="log", yscale="log", xlabel=SAMPLES, ylabel=r"variance of the noise $\sigma^2$")
    ax.set_title("filled: steps alone suffice")
    ax.legend(ncols=2, fontsize=7, loc="lower center")


def _finite(ax: Axes, result: Result) -> None:
    d = result.arrays["dimensions"]
    for k, name in enumerate(result.names("finite_theory")):
        limit = float(result.series("finite_theory", name))
        theory(ax, [d[0] / 1.3, d[-1] * 1.3], [limit, limit], k)
        each = result.series("finite", name)
        middle, half = each.mean(axis=1), _half(each)
        measured(ax, d * 1.03 ** (2 * k - 1), middle, k, (middle - half, middle + half), label=name)
    ax.set(xscale="log", xlabel="inputs $d$", ylabel=r"risk $\|w_t - w^*\|^2$")
    ax.set_xticks(d, [f"{x:g}" for x in d])
    ax.minorticks_off()
    ax.set_title(f"Gaussian samples, $t = {result.config['finite_steps']}$")
    ax.legend(loc="upper right")


def _real(ax: Axes, result: Result) -> None:
    names = result.names("errors", 1)
    for k, name in enumerate(names):
        each = result.series("errors", name)
        middle, half = each.mean(), _half(each[None])[0]
        measured(ax, [k], [middle], k, ([middle - half], [middle + half]))
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(0, None), ylabel="test error (variances of the target)")
    ax.set_xticks(range(len(names)), [name.replace(" and ", "\nand ") for name in names])
    ax.set_title(f"diabetes, 64 inputs, $t = {result.config['real_steps']}$")


def _half(each: np.ndarray) -> np.ndarray:
    """Return half of the 95 % interval of the mean over the last axis."""
    from scipy import stats

    n = each.shape[-1]
    return np.asarray(stats.t.ppf(0.975, n - 1) * each.std(axis=-1, ddof=1) / np.sqrt(n))


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Steps and decay tuned by gradient (points) reach the least risk of any polynomial to "
        f"{told('least', '.0e')}, and fall to the Bayes risk at {told('rate', '.3f')} times the predicted rate (line). "
        f"Steps alone stall: {told('alone', '.5f')} at t = 4, not 17/41. They suffice below the lines of (b). On "
        f"diabetes decay changes the test error by {told('real_decay', '.1f', _percent)} %."
    )


def details(result: Result) -> str:
    """Say how it was made."""
    config, told = result.config, result.told
    return (
        f"Descent from a straight line by BFGS on the engine's gradient of the log excess. (b) Tuned at "
        f"{', '.join(f'{x:g}' for x in config['factors'])} times the noise of the boundary: below it steps alone reach "
        f"the least risk to {told('below', '.0e', abs)}. (c) Mean and 95 % interval over {config['matrices']} matrices "
        f"with {config['targets']} targets each; lines: the limit. Decay gains {told('finite_gain', '.4f')} or more. "
        f"(d) Tuned on the validation loss of {config['splits']} splits a block, {config['real_samples']} samples to "
        f"train on; {config['blocks']} blocks, tested on the half that is kept apart."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"steps and decay: 17/41 to {claims.told('four_steps', '.0e')} at t = 4, rate {claims.told('rate', '.3f')} "
        f"times the predicted one; steps alone {claims.told('alone', '.5f')}; Gaussian samples gain "
        f"{claims.told('finite_gain', '.4f')} by decay, diabetes {claims.told('real_decay', '.1f', _percent)} %"
    )


def _percent(x: float) -> float:
    return 100 * x
