"""The landscape of step size and momentum, how steep the log objective is, and where training ends."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, HORIZON, LINES, MARKERS, letter, measured, new_figure, theory

title = "Momentum: a steep edge, and a better pair beside it"
alt = (
    "Three panels. The log objective over momentum and step size, darkest in a valley where the two lines of double "
    "roots cross; one training path goes into the valley, the other is thrown away from the crossing. The slope at "
    "the crossing grows in proportion to the horizon, that without momentum is flat, and so are quantiles where all "
    "roots are complex. Orders of magnitude above the best pair: learned pairs lie lowest."
)
_PAIRS = (COLOURS[0], COLOURS[5], COLOURS[1], COLOURS[3])  # of the pairs; those of the two paths are the same
_ENDS = ("best step\nsize alone", "Polyak's\npair", "learned\nfrom plain", "learned from\nPolyak's")


def draw(result: Result) -> Figure:
    """Draw the landscape with its double roots and two paths, the slopes over the horizon, and what pairs lose."""
    figure, whole = new_figure(height=4.8)
    whole.remove()
    grid = figure.add_gridspec(2, 2, width_ratios=(1.45, 1))
    axes = [figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1])]
    _landscape(figure, axes[0], result)
    _slopes(axes[1], result)
    _lost(axes[2], result)
    letter(axes)
    return figure


def _landscape(figure: Figure, ax: Axes, result: Result) -> None:
    arrays, steps = result.arrays, result.config["steps"]
    mu, eta, G = arrays["grid_mu"], arrays["grid_eta"], arrays["G"]
    levels = np.linspace(-0.45, 0.15, 13)
    shown = ax.contourf(mu, eta, G, levels=levels, cmap="Greys_r", extend="both", alpha=0.5)
    label = rf"log objective $G$ at $t = {steps}$ (white: larger)"
    figure.colorbar(shown, ax=ax, label=label, location="bottom", shrink=0.9, ticks=levels[::2], pad=0.02)
    root = np.sqrt(mu)
    theory(ax, mu, (1 - root) ** 2 / 0.01, 4, label=r"double root of $\alpha$")
    theory(ax, mu, (1 + root) ** 2, 2, label="double root of $L$")
    at = arrays["polyak"]
    for k, name in enumerate(result.names("paths")):
        path = result.series("paths", name)
        label = ("path from plain descent", "path from Polyak's pair")[k]
        colour = (COLOURS[1], COLOURS[3])[k]
        outline = [patheffects.withStroke(linewidth=2.6, foreground="black")]
        look = {"linewidth": 1.2, "marker": MARKERS[k], "markersize": 2.2, "path_effects": outline}
        ax.plot(path[:, 1], path[:, 0], color=colour, label=label, **look)
        ax.plot(path[-1, 1], path[-1, 0], marker=MARKERS[k], color=colour, markeredgecolor="black", markersize=6)
    ax.plot(at[1], at[0], marker="X", color="white", markeredgecolor="black", markersize=7, linestyle="none")
    best = arrays["best_pair"][:, 0]
    star = {"color": "white", "markeredgecolor": "black", "markersize": 10, "linestyle": "none"}
    ax.plot(best[1], best[0], marker="*", label="the best pair", **star)
    ax.annotate("Polyak's", (at[1], at[0]), (0.3, 3.75), fontsize=8, arrowprops={"arrowstyle": "-", "lw": 0.6})
    ax.set(
        xlim=(0, 0.99), ylim=(eta[0], eta[-1]), xlabel=r"momentum $\beta$", ylabel=r"step size $\eta$ (units of $1/L$)"
    )
    ax.set_title("step size and momentum, one task")
    ax.grid(visible=False)
    ax.legend(fontsize=6.5, loc="lower left", frameon=True, framealpha=0.9)


def _slopes(ax: Axes, result: Result) -> None:
    arrays = result.arrays
    t = arrays["horizons"]
    line = np.geomspace(t[0], t[-1], 50)
    theory(ax, line, abs(arrays["limit"][1]) * line, 5, label="Polyak's pair, limit for large $t$")
    ax.plot(
        t,
        np.abs(arrays["at_polyak"][:, 1]),
        color=COLOURS[5],
        marker=MARKERS[5],
        linestyle="none",
        markersize=3.5,
        label="Polyak's pair, theory",
    )
    measured(ax, t, np.abs(arrays["at_polyak_engine"][:, 1]), 5, markersize=8, label="Polyak's pair, engine")
    for quantile, index in (("quantile", 2), ("median", 4)):
        middle, low, high = result.series("complex", quantile).T
        name = {"quantile": "99 % quantile", "median": "median"}[quantile]
        measured(ax, t, middle, index, (low, high), label=f"complex roots, {name}")
    ax.plot(t, arrays["plain"], color=COLOURS[0], linestyle=LINES[3], label=r"no momentum, largest $|G'(\eta)|$")
    ax.set(xscale="log", yscale="log", xlabel=HORIZON, ylabel=r"slope $|\partial G/\partial\beta|$")
    ax.set_ylim(top=ax.get_ylim()[1] * 2000)
    ax.set_title("slope in the momentum")
    ax.legend(fontsize=6.5, loc="upper left")


def _lost(ax: Axes, result: Result) -> None:
    names = result.names("lost")
    largest = 0.0
    for k, name in enumerate(names):
        lost = np.sort(result.series("lost", name))
        spread = np.linspace(-0.3, 0.3, len(lost))
        ax.plot(k + spread, np.maximum(lost, 0.11), color=_PAIRS[k], marker=MARKERS[k], markersize=2, linestyle="none")
        ax.hlines(np.median(lost), k - 0.35, k + 0.35, color="black", linewidth=1.4)
        largest = max(largest, float(lost[-1]))
    ax.set(yscale="log", ylim=(0.1, largest * 2), ylabel="orders of magnitude\nabove the best pair")
    ax.set_xticks(range(len(names)), _ENDS, fontsize=7)
    ax.set_title("loss of each pair, all tasks")
    ax.grid(visible=False, axis="x")


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Where roots meet, the slope of the log objective grows like t (power {told('growth', '.2f')}). From plain "
        f"descent, training beats Polyak's pair on {told('learned_share', '.0%')} of the tasks, the best pair lying "
        f"{told('best_gap', '.1f')} orders below it; from Polyak's pair {told('thrown', '.0%')} end above where they "
        "began."
    )


def details(result: Result) -> str:
    """Say what is drawn."""
    config, told = result.config, result.told
    return (
        f"Heavy ball on {config['tasks']} quadratics of condition number 100 (d = 20), t = {config['steps']} in (a) "
        f"and (c); outer steps of {config['scales'][0]:g} (step size) and {config['scales'][1]:g} (momentum) "
        f"over sqrt(k). (b): at random pairs at which all roots are complex the 99 % quantile changes by a factor of "
        f"{told('complex_flat', '.2g')} from t = {config['horizons'][1]} to {config['horizons'][-1]}, with no bound: "
        f"at poles of two eigenvalues f(w_2)/f(w_0) is 10^{told('pole', '.0f')}. Bars in (c): medians. The learned "
        f"pair is {told('learned_lost', '.1f')} orders above the best one and {told('learned_gain', '.1f')} below the "
        f"best step size alone, in the median. The engine agrees with theory to {told('engine', '.1g')}."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"slope at Polyak's pair grows like t^{claims.told('growth', '.2f')}, at {claims.told('growth_limit', '.3f')} "
        f"of its limit; learned pairs better than Polyak's on {claims.told('learned_share', '.0%')} of the tasks, "
        f"{claims.told('learned_lost', '.1f')} orders above the best; {claims.told('thrown', '.0%')} of the trainings "
        f"from Polyak's pair thrown out; engine off by at most {claims.told('engine', '.1e')}"
    )
