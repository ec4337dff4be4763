"""Deviations from the proportional limit over the number of inputs, and Monte-Carlo against the averages given X."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "How finite dimension approaches the proportional limit"
alt = (
    "Deviation from the limit over the number of inputs, both logarithmic: points fall like one over d on the lines of "
    "the first order; the train loss at train-by-train's step size and gamma = 2 lies fifty times above the risk. "
    "Below, Monte-Carlo means minus the averages given X, in standard errors, scatter within their interval."
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
        ("deviation from the limit", "deviation from the limit", "mean minus average\ngiven $X$ (standard errors)"),
        strict=True,
    ):
        ax.set_ylabel(what)
        ax.annotate(
            letter, (0, 1), (-44, 8), xycoords="axes fraction", textcoords="offset points", fontweight="bold", size=11
        )
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _deviations(ax: Axes, d: np.ndarray, deviation: np.ndarray, law: np.ndarray, quantities: tuple[str, ...]) -> None:
    """Draw the median over X of |E/limit - 1| with its 95 % interval, and the first order in 1/d."""
    for quantity, label in enumerate(quantities):
        mean, spread = law[:, quantity]
        median = stats.foldnorm(abs(mean) / spread, scale=spread).median()
        theory(ax, d, median / d, _LOOK[label], label=f"{label}: first order")
    for quantity, label in enumerate(quantities):
        sizes = np.sort(np.abs(deviation[..., quantity]), axis=1)
        count = sizes.shape[1]
        low = int(stats.binom.ppf(0.025, count, 0.5)) - 1
        interval = sizes[:, low], sizes[:, count - 1 - low]
        x = d * 1.05 ** (quantity - 1)
        measured(ax, x, np.median(sizes, axis=1), _LOOK[label], interval, label=f"{label}: median of X")
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
    first = int(np.argmin(np.abs(arrays["d"] - 200)))
    average = 100 * result.series("deviation", "train-by-train", "train loss")[-1, first].mean()
    off, missed = result.measured("train_edge"), result.measured("monte_carlo")
    return (
        f"Averages over noise and w* given X, relative to the limit: sigma = {config['sigma']:g}, "
        f"t = {config['steps']}, step sizes that train-by-train (a) and train-by-validation (b) choose in the limit. "
        f"Points: median over {config['spectra']} X, with 95 % intervals; lines: first order in 1/d. For risk and "
        f"validation loss they agree within a factor of {result.measured('first_order'):.2f} from d = 200 "
        f"on. The train loss at d/n = {arrays['gammas'][-1]:g}, which is small and comes from the edges of the "
        f"spectrum, is off by more than {100 * off:.0f} % at d = 200 for half of the X, and by {average:.0f} % on "
        f"average, which a few X with an eigenvalue beyond the edge decide. (c) Plain descent over "
        f"{config['targets']} targets for each X: at most {missed:.0f} of {arrays['mean'][..., 0].size} means of a "
        f"quantity lie outside of their 95 % interval (grey)."
    )
