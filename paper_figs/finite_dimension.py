"""Deviations from the proportional limit over the number of inputs, and Monte-Carlo against the averages given X."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import letter, measured, new_figure, theory

title = "How finite dimension approaches the proportional limit"
alt = (
    "Deviation from the limit, the 95 % quantile over X, over the number of inputs, both logarithmic: points of risk "
    "and validation loss fall like one over d on the lines of the first order; the train loss at train-by-train's step "
    "size and gamma = 2 lies far above its line. Below, Monte-Carlo means minus the averages given X, in standard "
    "errors, scatter within their interval."
)
_APART = 1.05
_LOOK = {"train loss": 1, "risk": 2, "validation loss": 4}


def draw(result: Result) -> Figure:
    """Draw a column a gamma: deviations at either step size, and Monte-Carlo below."""
    arrays, quantities = result.arrays, result.names("law", 3)
    figure, axes = new_figure(3, len(arrays["gammas"]), height=6.8, sharex=True, sharey="row")
    for column, gamma in enumerate(arrays["gammas"]):
        for row, chosen in enumerate(result.names("law", 2)):
            ax = axes[row, column]
            found, law = result.series("deviation", chosen)[column], result.series("law", None, chosen)[:, column]
            _deviations(ax, arrays["d"], found, law, quantities)
            ax.set_title(rf"$d/n = {gamma:g}$, {chosen}, $\eta = {arrays['etas'][column, row]:.3g}$")
        _monte_carlo(axes[-1, column], result, column)
        axes[-1, column].set_title(rf"$d/n = {gamma:g}$, Monte-Carlo")
    for ax, what in zip(
        axes[:, 0],
        (
            "deviation from the limit,\n95 % quantile of $X$",
            "deviation from the limit,\n95 % quantile of $X$",
            "mean minus average\ngiven $X$ (standard errors)",
        ),
        strict=True,
    ):
        ax.set_ylabel(what)
    letter(axes)
    figure.supxlabel(f"inputs $d$ (points of one $d$ are drawn {100 * (_APART - 1):.0f} % apart)", fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _deviations(ax: Axes, d: np.ndarray, deviation: np.ndarray, law: np.ndarray, quantities: tuple[str, ...]) -> None:
    """Draw the 95 % quantile over X of |E/limit - 1| with its 95 % interval, and that of the law of first order."""
    for quantity, label in enumerate(quantities):
        mean, spread = law[:, quantity]
        bound = stats.foldnorm(abs(mean) / spread, scale=spread).ppf(0.95)
        theory(ax, d, bound / d, _LOOK[label], label=f"{label}: first order")
    for quantity, label in enumerate(quantities):
        sizes = np.sort(np.abs(deviation[..., quantity]), axis=1)
        count = sizes.shape[1]
        low, high = stats.binom.ppf([0.025, 0.975], count, 0.95).astype(int)
        interval = sizes[:, max(low - 1, 0)], sizes[:, min(high, count - 1)]
        x = d * _APART ** (quantity - 1)
        found = np.quantile(sizes, 0.95, axis=1)
        measured(ax, x, found, _LOOK[label], interval, label=f"{label}: {count} X at each d")
    ax.set(xscale="log", yscale="log")


def _monte_carlo(ax: Axes, result: Result, column: int) -> None:
    """Draw every Monte-Carlo mean, in its standard errors from the average given X, and the 95 % interval."""
    arrays, targets = result.arrays, result.config["targets"]
    errors = ((arrays["mean"] - arrays["expected"]) / arrays["error"])[column]  # d, X, step sizes, quantities
    limit = stats.t.ppf(0.975, targets - 1)
    ax.axhspan(-limit, limit, color="#eeeeee", zorder=0)
    ax.axhline(0, color="black", linewidth=0.7)
    d = arrays["descents"]
    for quantity, label in enumerate(result.names("mean", 4)):
        each = errors[..., quantity].reshape(len(d), -1)
        x = np.broadcast_to(d[:, None] * _APART ** (quantity - 1), each.shape)
        measured(ax, x.ravel(), each.ravel(), _LOOK[label])
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, told = result.arrays, result.told
    return (
        f"Points: 95 % quantiles over {result.config['spectra']} X; lines: the law of first order in 1/d. At d = 1000 "
        f"95 % of X lie within {told('seen_at_1000', '.2f', of=_percent)} % of the limit in risk and validation loss "
        f"(law: {told('largest_at_1000', '.2f', of=_percent)} %). The train loss at d/n = {arrays['gammas'][-1]:g} is "
        f"off by over {told('train_edge', '.0f', of=_percent)} % at d = 200. Monte-Carlo: within "
        f"{told('monte_carlo', '.2g')} standard errors."
    )


def details(result: Result) -> str:
    """Say what is averaged, and how well the law says it."""
    config, told = result.config, result.told
    return (
        f"Averages over noise and w* given X, relative to the limit: sigma = {config['sigma']:g}, "
        f"t = {config['steps']}, step sizes that train-by-train and train-by-validation choose in the limit; 95 % "
        f"intervals of the quantiles. For risk and validation loss the share of X within the law's 95 % quantile is "
        f"farthest from it with {told('quantile', '.3g')}, within its median with {told('median', '.3g')}. The train "
        f"loss is small and comes from the edges of the spectrum: half of the X are farther off than the caption says. "
        f"(e), (f) Plain descent over {config['targets']} targets for each X (grey: 95 % intervals)."
    )


def headline(claims: Claims) -> str:
    """State what was measured in short."""
    return (
        f"d = 1000: 95 % of X within {claims.told('largest_at_1000', '.2f', of=_percent)} % in risk and validation "
        f"loss by the law, within {claims.told('seen_at_1000', '.2f', of=_percent)} % of {claims.config['spectra']} X; "
        f"median train loss {claims.told('train_edge', '.0f', of=_percent)} % off at d = 200; descent within "
        f"{claims.told('monte_carlo', '.2g')} standard errors of its averages"
    )


def _percent(x: float) -> float:
    return 100 * x
