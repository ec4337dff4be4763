"""The least worst case of two and three steps: what an adversary leads to, certified, beside schedules of theory."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import HORIZON, IN_CURVATURES, cut, letter, measured, new_figure, theory

title = "The least worst case, found by an adversary"
alt = (
    "Two panels. On the left the certified worst case over the minimax: the best constant step rises from 1 to 1.12 at "
    "five steps, silver lies above it at one and three steps, the two learned points lie at 1, and some random starts "
    "end above. On the right the three learned steps lie on the minimax steps, the middle one the longest."
)


def draw(result: Result) -> Figure:
    """Draw the values and the three steps."""
    figure, axes = new_figure(1, 2, height=3.2)
    _values(axes[0], result)
    _steps(axes[1], result)
    letter(axes)
    return figure


def _values(ax: Axes, result: Result) -> None:
    a, names = result.arrays, result.names("schedule")
    least = dict(zip(a["horizons"], a["minimax"], strict=True))
    over = a["certified"] / [least[n] for n in a["steps"]]
    theory(ax, a["horizons"], np.ones(len(least)), 0, label="minimax")
    theory(ax, a["horizons"], a["constant"] / a["minimax"], 1, label="best constant step")
    silver = a["silver"] / [least[n] for n in a["silver_horizons"]]
    ax.plot(a["silver_horizons"], silver, "x", color="#777777", markersize=7, label="silver")
    plain = np.array([name.endswith("plain") for name in names])
    beside = a["steps"][~plain] + 0.15
    ax.plot(beside, over[~plain], ".", color="#777777", markersize=4, label="learned, random starts")
    measured(ax, a["steps"][plain], over[plain], 2, label="learned")
    ax.set(ylim=(0.985, 1.17), xlabel=HORIZON, ylabel="worst case over the minimax", xticks=a["horizons"])
    beyond = cut(ax, beside, (over[~plain], over[~plain]))
    ax.set_title("certified" + ("; arrow: far above" if beyond else ""))
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.99))


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
    config, told, least = result.config, result.told, result.arrays["minimax"]
    return (
        f"Gradient descent on convex f, L = 1, |x_0 - x*| <= 1: the minimax of f(x_t) - f* is {least[1]:.6f} at t = 2 "
        f"and {least[2]:.6f} at t = 3. The adversary: {config['tried']} functions of one variable a round, f'' 0 or 1; "
        f"the worst ascend. The schedule: linear programs, with slopes at kinks from "
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
