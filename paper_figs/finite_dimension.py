"""Deviations from the proportional limit over the number of inputs, and Monte-Carlo against the averages given X."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "How finite dimension approaches the proportional limit"
alt = (
    "Deviation from the limit, the 95 % quantile over X, over the number of inputs, both logarithmic: points of risk "
    "and validation loss fall like one over d on the lines of the first order; the train loss at train-by-train's step "
    "size and gamma = 2 lies far above its line. Below, Monte-Carlo means minus the averages given X, in standard "
    "errors, scatter within their interval."
)
_LOOK = {"train loss": 1, "risk": 2, "validation loss": 4}


def draw(result: Result) -> Figure:
    """Draw a column a gamma: deviations at either step size, and Monte-Carlo below."""
    arrays, quantities = result.arrays, result.names("law", 3)
    figure, axes = new_figure(3, len(arrays["gammas"]), height=6.8, sharey="row")
    for column, gamma in enumerate(arrays["gammas"]):
        for row, chosen in enumerate(result.names("law", 2)):
            ax = axes[row, column]
            found, law = result.series("deviation", chosen)[column], result.series("law", None, chosen)[:, column]
            _deviations(ax, arrays["d"], found, law, quantities)
            ax.set_title(rf"$d/n = {gamma:g}$, {chosen}: $\eta = {arrays['etas'][column, row]:.3g}$")
        _monte_carlo(axes[-1, column], result, column)
        axes[-1, column].set_title(rf"$d/n = {gamma:g}$, Monte-Carlo")
        axes[-1, column].set_xlabel("inputs $d$")
    for ax, letter, what in zip(
        axes[:, 0],
        "abc",
        (
            "deviation from the limit,\n95 % quantile of $X$",
            "deviation from the limit,\n95 % quantile of $X$",
            "mean minus average\ngiven $X$ (standard errors)",
        ),
        strict=True,
    ):
        ax.set_ylabel(what)
        ax.annotate(
            letter, (0, 1), (-44, 8), xycoords="axes fraction", textcoords="offset points", fontweight="bold", size=11
        )
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
        x = d * 1.05 ** (quantity - 1)
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
    places = np.arange(len(arrays["descents"]))
    for quantity, label in enumerate(result.names("mean", 4)):
        each = errors[..., quantity].reshape(len(places), -1)
        spread = np.linspace(-0.08, 0.08, each.shape[1]) + 0.26 * (quantity - 1)
        measured(ax, (places[:, None] + spread).ravel(), each.ravel(), _LOOK[label])
    ax.set_xticks(places, [str(d) for d in arrays["descents"]])
    ax.set_xlim(-0.5, len(places) - 0.5)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, config = result.arrays, result.config
    return (
        f"Averages over noise and w* given X, relative to the limit: sigma = {config['sigma']:g}, "
        f"t = {config['steps']}, step sizes that train-by-train (a) and train-by-validation (b) choose in the limit. "
        f"Points: 95 % quantile over {config['spectra']} X, with 95 % intervals; lines: that of the law of first order "
        f"in 1/d. For risk and validation loss the share of X within the law's 95 % quantile is farthest from it with "
        f"{result.told('quantile', '.3g')}, within its median with {result.told('median', '.3g')}; at d = 1000, 95 % "
        f"of X are to lie within {result.told('largest_at_1000', '.2f', of=_percent)} % of the limit, and lie within "
        f"{result.told('seen_at_1000', '.2f', of=_percent)} %. The train loss at d/n = {arrays['gammas'][-1]:g}, which "
        f"is small and comes from the edges of the spectrum, is off by more than "
        f"{result.told('train_edge', '.0f', of=_percent)} % at d = 200 for half of the X. (c) Plain descent over "
        f"{config['targets']} targets for each X: means lie within {result.told('monte_carlo', '.2g')} standard errors "
        f"of the averages given X (grey: 95 % intervals)."
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
