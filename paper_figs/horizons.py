"""Predicted and measured horizons of breakdown for each float type."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, measured, new_figure

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
        ax.set(yscale="log", title=label, xlabel=r"step size $\eta$ (units of $1/\lambda$)")
    axes[0].set_ylabel("horizon of breakdown $t$ (steps)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, title="points: measured; lines and bands: predicted"
    )
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    names = result.names("plain_measured")
    gaps, allowed = (
        ", ".join(f"{result.told(f'{what}_{name}', '.0f')} in {name}" for name in names) for what in ("gap", "allowed")
    )
    return (
        f"One mode, w_0 = 1. Above 2/lambda the numbers overflow; largest gaps to the predicted step: {gaps}. Every "
        f"product is rounded, which shifts the step by at most (the last step included): {allowed}. Below, the numbers "
        f"are lost between the horizon of the smallest normal and that of the smallest subnormal number (outside of "
        f"it, widened by what rounding allows and by a step: {result.told('plain_underflow', '.0f')} for F', "
        f"{result.told('log_underflow', '.0f')} for F)."
    )


def headline(claims: Claims) -> str:
    """Return the gaps where it overflows, and how many are outside where it underflows."""
    gaps = ", ".join(f"{claims.told(f'gap_{name}', '.0f')} ({name})" for name in ("float16", "float32", "float64"))
    return (
        f"overflow off by at most {gaps} and {claims.told('gap_bfloat16', '.0f')} steps (bfloat16, where rounding "
        f"allows {claims.told('allowed_bfloat16', '.0f')}); underflow outside of the widened interval in "
        f"{claims.told('plain_underflow', '.0f')} (F') and {claims.told('log_underflow', '.0f')} (F) cases"
    )
