"""Predicted and measured horizons of breakdown for each float type."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, IN_CURVATURES, LINES, letter, measured, new_figure

title = "The horizon at which backpropagation leaves the range of its dtype"
alt = (
    "Horizon of breakdown over the step size for four float types: points on or within predicted lines, "
    "falling away from step size two."
)


def draw(result: Result) -> Figure:
    """Draw predicted intervals as bands and measured horizons as points, for F' and for G."""
    arrays = result.arrays
    etas = arrays["etas"]
    figure, axes = new_figure(1, 2, height=3.5, sharey=True)
    names = {"plain": r"meta-gradient $F'$ of the plain objective", "log": r"$F$ inside of the log objective"}
    for ax, (objective, label) in zip(axes, names.items(), strict=True):
        for index, dtype in enumerate(result.names(f"{objective}_measured")):
            lowest, highest, latest, found = (
                arrays[f"{objective}_{part}"][index] for part in ("lowest", "highest", "latest", "measured")
            )
            for side in (etas < 1, (etas > 1) & (etas < 2), etas > 2):
                ax.fill_between(etas[side], lowest[side], highest[side], color=COLOURS[index], alpha=0.25, linewidth=0)
                ax.plot(etas[side], latest[side], color=COLOURS[index], linestyle=LINES[index])
            measured(ax, etas, np.where(found > 0, found, np.nan), index, label=dtype)
        ax.axvline(2, color="black", linewidth=0.7, linestyle=":")
        ax.set(yscale="log", title=label, xlabel=IN_CURVATURES)
    axes[0].set_ylabel("horizon of breakdown $t$ (steps)")
    letter(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, title="points: measured; lines and bands: predicted"
    )
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    gaps = ", ".join(f"{result.told(f'gap_{name}', '.0f')} ({name})" for name in result.names("plain_measured"))
    return (
        f"One mode of curvature L, w_0 = 1. Above 2/L numbers overflow within {gaps} steps of the predicted one. "
        f"Below, they are lost between the horizons of the smallest normal and of the smallest subnormal number "
        f"(band): {result.told('plain_underflow', '.0f')} points of F', {result.told('log_underflow', '.0f')} of F lie "
        f"outside of it, widened for rounding."
    )


def details(result: Result) -> str:
    """Say how far rounding can shift the horizon."""
    allowed = ", ".join(f"{result.told(f'allowed_{name}', '.0f')} in {name}" for name in result.names("plain_measured"))
    return (
        f"F is f(w_t), F' its derivative by the step size; the log objective takes the logarithm of F. Every product "
        f"is rounded, which shifts the step at which numbers overflow by at most (the last step included): {allowed}. "
        f"The interval below 2/L is widened by what rounding allows and by a step."
    )


def headline(claims: Claims) -> str:
    """Return the gaps where it overflows, and how many are outside where it underflows."""
    gaps = ", ".join(f"{claims.told(f'gap_{name}', '.0f')} ({name})" for name in ("float16", "float32", "float64"))
    return (
        f"overflow off by at most {gaps} and {claims.told('gap_bfloat16', '.0f')} steps (bfloat16, where rounding "
        f"allows {claims.told('allowed_bfloat16', '.0f')}); underflow outside of the widened interval in "
        f"{claims.told('plain_underflow', '.0f')} (F') and {claims.told('log_underflow', '.0f')} (F) cases"
    )
