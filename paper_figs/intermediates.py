"""State, adjoint and their product along the unroll, against the ranges of float32 and float64."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import STEP, letter, measured, new_figure, theory

title = "What backpropagation carries on its way"
alt = (
    "Two panels of log10 sizes along the unroll: state and adjoint are straight lines in opposite "
    "directions, a step's share is flat."
)


def draw(result: Result) -> Figure:
    """Draw one panel a step size."""
    arrays = result.arrays
    steps = result.config["steps"]
    k = arrays["k"]
    figure, axes = new_figure(1, 2, height=3.7)
    marks = np.linspace(0, len(k) - 1, 11).astype(int)
    steps_shown = np.linspace(0, steps - 1, 11).astype(int)
    for panel, (ax, eta, word) in enumerate(zip(axes, arrays["etas"], result.names("state"), strict=True)):
        theory(ax, k, arrays["state"][panel], 2, label=r"state $w_\tau$, theory")
        theory(ax, k, arrays["adjoint"][panel], 1, label=r"adjoint of $G$ at $w_\tau$, theory")
        for part, style in (("state", 4), ("adjoint", 5)):
            plain = arrays[f"{part}_float64"][panel][marks]
            measured(ax, k[marks], plain, style, label=f"{part}, plain float64", markersize=8)
        for part, style in (("state", 2), ("adjoint", 1)):
            measured(ax, k[marks], arrays[f"engine_{part}"][panel][marks], style, label=f"{part}, engine", markersize=3)
        shares = arrays["share"][panel][steps_shown]
        measured(ax, steps_shown, shares, 0, label=r"share of step $\tau$ in $G'$, engine")
        reach = np.abs(np.concatenate([arrays["state"][panel], arrays["adjoint"][panel]])).max()
        for limit, name in ((38.5, "float32"), (308.3, "float64")):
            if limit < 1.1 * reach:
                for sign in (-1, 1):
                    ax.axhline(sign * limit, color="#777777", linewidth=0.8, linestyle=":")
                ax.text(0.22 * steps, -limit, f"range of {name}", fontsize=7, va="top", color="#555555")
        ax.set(title=rf"$\eta = {eta:g}/L$, {word}", xlabel=STEP)
    axes[0].set_ylabel(r"$\log_{10}$ of the largest entry")
    letter(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Backpropagation of the log objective G through t = {result.config['steps']} steps, L: largest curvature. The "
        f"state runs through {told('contracting_orders', '.0f')} and {told('expanding_orders', '.0f')} orders of "
        f"magnitude, the adjoint through as many the other way; every step adds the same to G', to "
        f"{told('contracting_spread', '.0e')} and {told('expanding_spread', '.0e')}. Plain float64 loses "
        f"{_lost(result.claims, 'float64')} of the adjoints."
    )


def details(result: Result) -> str:
    """Say why plain adjoints are lost."""
    return (
        f"All plain adjoints are lost where the loss they are divided by has left the range of floats: "
        f"{_lost(result.claims, 'float64')} of them in float64 (contracting, expanding), "
        f"{_lost(result.claims, 'float32')} in float32. Dotted: the range of each type."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"the state runs through {claims.told('expanding_orders', '.0f')} orders of magnitude; shares of all "
        f"{claims.config['steps']} steps equal to {claims.told('expanding_spread', '.0e')}; plain float64 loses "
        f"{_lost(claims, 'float64')} of the adjoints (contracting, expanding), float32 {_lost(claims, 'float32')}"
    )


def _lost(claims: Claims, dtype: str) -> str:
    return " and ".join(claims.told(f"{word}_lost_{dtype}", ".0%") for word in ("contracting", "expanding"))
