"""Three learned starts: where they end, how they leave the joint minimum, and the expansions behind them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, letter, measured, new_figure, theory

title = "Three learned starts: MAML, first-order MAML and Reptile"
alt = (
    "Five panels. In the plane of starts three curves leave one point, the minimum of the mean loss, and turn away "
    "from each other; the ends of outer loops lie on them. The distances from that point grow in proportion to the "
    "inner step size and grow with the inner steps, MAML's fastest and Reptile's slowest. The errors of the expansions "
    "fall like the square of the inner step size. The measured coefficients lie on three curves "
    "in the number of minibatches."
)
_TOLD = (("slope", ".2f"), ("ends", ".0e"))
_NAMES = {"maml": "MAML", "fomaml": "FOMAML", "reptile": "Reptile"}


def draw(result: Result) -> Figure:
    """Draw ends, ways, errors and coefficients."""
    figure, grid = new_figure(2, 3, height=5.2)
    axes = grid.ravel()[[0, 1, 3, 4, 2, 5]]
    axes[5].axis("off")
    for i, name in enumerate(_NAMES):
        _ends(axes[0], axes[1], result, name, i)
        _expansion(axes[2], axes[3], result, name, i)
        _more(axes[4], result, name, i)
    joint = result.arrays["joint"]
    axes[0].plot(*joint, marker="*", color="#555555", markersize=9, linestyle="none", zorder=4)
    axes[0].annotate("joint minimum", joint, xytext=(6, 6), textcoords="offset points", fontsize=7.5)
    axes[0].set(xlabel="start, coordinate 1", ylabel="start, coordinate 2", title="three fixed points")
    axes[0].margins(0.12)
    axes[0].locator_params(nbins=5)
    axes[1].set(xscale="log", yscale="log", title="three speeds")
    axes[1].set(xlabel=r"inner step size $\alpha$ (units of $1/L$)", ylabel="way from joint minimum")
    axes[2].set(xscale="log", yscale="log", xlabel=r"inner step size $\alpha$", title=r"$\alpha^2$ is left")
    axes[2].set_ylabel("error, relative to $A$")
    lengths = result.arrays["lengths"]
    axes[3].set(xlabel="minibatches $k$", ylabel=r"coefficient of $-\alpha B$", title="coefficients")
    axes[3].set_xticks(lengths)
    more = result.config["more"]
    axes[4].set(xscale="log", yscale="log", xlabel="inner steps $k$", title="with more steps")
    axes[4].set_xticks(more, [str(k) for k in more])
    axes[4].minorticks_off()
    letter(grid)
    axes[5].legend(*axes[1].get_legend_handles_labels(), loc="center", title="lines: theory\npoints: engine")
    return figure


def _ends(plane: Axes, ways: Axes, result: Result, name: str, style: int) -> None:
    """Draw the fixed points along the step size, and the ends of the runs."""
    arrays = result.arrays
    line, ends = result.series("line", name), result.series("paths", name)[:, -1]
    theory(plane, line[:, 0], line[:, 1], style)
    measured(plane, ends[:, 0], ends[:, 1], style)
    far, way = (np.linalg.norm(points - arrays["joint"], axis=-1) for points in (line, ends))
    theory(
        ways,
        arrays["line_alphas"],
        far,
        style,
        label=_NAMES[name],
    )
    measured(ways, arrays["alphas"], way, style)


def _more(ax: Axes, result: Result, name: str, style: int) -> None:
    """Draw the way from the joint minimum over the inner steps."""
    joint, k = result.arrays["joint"], result.config["more"]
    ends = result.series("more", name)[:, -1]
    theory(ax, k, np.linalg.norm(result.series("closed_more", name) - joint, axis=-1), style)
    measured(ax, k, np.linalg.norm(ends - joint, axis=-1), style)


def _expansion(errors: Axes, coefficients: Axes, result: Result, name: str, style: int) -> None:
    """Draw the error over the step size at the middle k, beside a line of slope 2, and the measured coefficients."""
    small, lengths = result.arrays["small"], result.arrays["lengths"]
    middle = len(lengths) // 2
    logs = np.log(result.series("errors", name)[:, middle])
    mean = logs.mean(axis=0)
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(axis=0, ddof=1) / np.sqrt(len(logs))
    theory(errors, small, np.exp(mean[0]) * (small / small[0]) ** 2, style)
    measured(errors, small, np.exp(mean), style, (np.exp(mean - half), np.exp(mean + half)))
    k = np.linspace(lengths[0], lengths[-1], 50)
    formula = {"maml": 2 * (k - 1), "fomaml": k - 1, "reptile": k * (k - 1) / 2}[name]
    theory(coefficients, k, formula, style)
    rates = result.series("rates", name)
    measured(coefficients, lengths, rates.mean(axis=0), style)
    said, at = {"maml": "2(k-1)", "fomaml": "k-1", "reptile": "k(k-1)/2"}[name], formula[25]
    place, align = {"maml": ((-4, 3), "right"), "fomaml": ((5, -9), "left"), "reptile": ((2, -14), "left")}[name]
    coefficients.annotate(
        f"${said}$",
        (k[25], at),
        xytext=place,
        textcoords="offset points",
        ha=align,
        fontsize=8,
        color=COLOURS[style],
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
        zorder=5,
    )


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    off = max(float(result.told(f"ends_{name}", ".2g")) for name in _NAMES)
    slopes = ", ".join(result.told(f"slope_{name}", ".3f") for name in _NAMES)
    return (
        f"Outer loops of MAML, FOMAML and Reptile end at their own fixed points, within {off:.1g} of the size of the "
        f"minima. Small steps lead from the joint minimum along one direction. What the expansions A - c alpha B leave "
        f"falls like alpha to the power {slopes}; c is measured on a small network with minibatches."
    )


def details(result: Result) -> str:
    """Say which tasks, and how exact."""
    config, told = result.config, result.told
    middle = config["lengths"][len(config["lengths"]) // 2]
    return (
        f"(a to c) {config['tasks']} linear regressions with {config['samples']} samples of 2 inputs, whose variances "
        f"are as 0.15 to 1, k = {config['steps']} steps in (a, b), alpha = {config['of_more']:g}/L in (c); the least "
        f"distance of two ends at the largest step size is {told('apart', '.2g')} of the size of the minima. (d) "
        f"k = {middle}; geometric means over "
        f"{config['losses']} random losses with 95 % intervals; lines of slope 2 through the first point. (e) The "
        f"largest relative error of a coefficient is {told('rate_maml', '.1g')}, "
        f"{told('rate_fomaml', '.1g')} and {told('rate_reptile', '.1g')}."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    slopes, off = (", ".join(claims.told(f"{key}_{name}", form) for name in _NAMES) for key, form in _TOLD)
    return (
        f"the ends are at least {claims.told('apart', '.2g')} of the size of the minima apart, and within {off} of "
        f"their closed forms (MAML, FOMAML, Reptile); the error of the expansions has the exponents {slopes}"
    )
