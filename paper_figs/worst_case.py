"""The least worst case of two and three steps: what an adversary leads to, certified, beside schedules of theory."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import HORIZON, IN_CURVATURES, letter, measured, new_figure, theory

title = "The least worst case, found by an adversary"
alt = (
    "Two panels. On the left the certified worst case falls with the number of steps for the best constant step and, "
    "below it, for the minimax schedules; two learned points lie on the minimax, and silver at three steps above both. "
    "On the right the three learned steps lie on the minimax steps, the middle one the longest."
)


def draw(result: Result) -> Figure:
    """Draw the values and the three steps."""
    figure, axes = new_figure(1, 2, height=3.2)
    _values(axes[0], result)
    _steps(axes[1], result)
    letter(axes)
    return figure


def _values(ax: Axes, result: Result) -> None:
    a = result.arrays
    theory(ax, a["horizons"], a["constant"], 1, label="best constant step")
    theory(ax, a["horizons"], a["minimax"], 0, label="minimax")
    ax.plot(a["silver_horizons"], a["silver"], "x", color="#777777", markersize=7, label="silver")
    plain = [k for k, name in enumerate(result.names("schedule")) if name.endswith("plain")]
    measured(ax, a["steps"][plain], a["certified"][plain], 2, label="learned")
    ax.set(yscale="log", xlabel=HORIZON, ylabel=r"worst case of $f(x_t) - f^*$", xticks=a["horizons"])
    ticks = [0.03, 0.05, 0.1]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_title("certified")
    ax.legend()


def _steps(ax: Axes, result: Result) -> None:
    a = result.arrays
    place = np.arange(1, 4)
    theory(ax, place, a["minimax_3"], 0)
    k = result.names("schedule").index("n = 3, plain")
    ax.plot(place, a["start"][k], ".", color="#999999", label="start")
    measured(ax, place, a["schedule"][k], 2, label="learned")
    ax.set(xlabel=r"step $\tau$", ylabel=IN_CURVATURES, xticks=place, title="$t = 3$", ylim=(1.0, 2.6))
    ax.legend()


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Learned on one-dimensional tasks (triangles), certified for all smooth convex functions: "
        f"{told('value_2', '.3%')} and {told('value_3', '.3%')} above the minimax at t = 2 and 3, "
        f"{told('gain_2', '.3f')} and {told('gain_3', '.3f')} times the best constant step, {told('silver_3', '.3f')} "
        f"times silver. Of random starts at t = 3, {told('share_3', '.0%')} end there."
    )


def details(result: Result) -> str:
    """Say how it was made."""
    config, told = result.config, result.told
    return (
        f"Gradient descent on convex f, L = 1, |x_0 - x*| <= 1. The adversary: {config['tried']} functions of one "
        f"variable with f'' in 0, 1 a round, the worst ascend. The schedule: linear programs with slopes at kinks from "
        f"sampled gradients. Random starts: {config['random'][0]} and {config['random'][1]}, steps uniform from 1 to "
        f"2.5; at t = 3 {told('other_3', '.0%')} end at another optimum, and {told('fooled_3', '.0%')} where functions "
        f"of one variable miss the worst case."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"certified worst cases {claims.told('value_2', '.3%')} (t = 2) and {claims.told('value_3', '.3%')} (t = 3) "
        f"above the minimax, {claims.told('gain_2', '.3f')} and {claims.told('gain_3', '.3f')} times those of the best "
        f"constant step; {claims.told('share_3', '.0%')} of random starts end there at t = 3"
    )
