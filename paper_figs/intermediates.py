"""State, adjoint and their product along the unroll, against the ranges of float32 and float64."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "What backpropagation carries on its way"
alt = (
    "Two panels of log10 sizes along the unroll: state and adjoint are straight lines in opposite "
    "directions, a step's share is flat."
)


def draw(result: Result) -> Figure:
    """Draw one panel a step size."""
    arrays = result.arrays
    steps = result.config["steps"]
    k = np.arange(steps + 1)
    figure, axes = new_figure(1, 2, height=3.4)
    marks = np.linspace(0, steps - 1, 11).astype(int)
    for panel, (ax, eta, word) in enumerate(zip(axes, arrays["etas"], result.names("state"), strict=True)):
        theory(ax, k, arrays["state"][panel], 2, label=r"state $\|w_k\|$, theory")
        theory(ax, k, arrays["adjoint"][panel], 1, label=r"adjoint of $G$ at $w_k$, theory")
        measured(ax, marks, arrays["share"][panel][marks], 0, label=r"share of step $k$ in $G'$, engine")
        measured(ax, marks, arrays["state_float64"][panel][marks], 4, label="state, plain float64")
        measured(ax, marks, arrays["adjoint_float64"][panel][marks], 5, label="adjoint, plain float64")
        reach = np.abs(np.concatenate([arrays["state"][panel], arrays["adjoint"][panel]])).max()
        for limit, name in ((38.5, "float32"), (308.3, "float64")):
            if limit < 1.1 * reach:
                for sign in (-1, 1):
                    ax.axhline(sign * limit, color="#777777", linewidth=0.8, linestyle=":")
                ax.text(0.22 * steps, -limit, f"range of {name}", fontsize=7, va="top", color="#555555")
        ax.set(title=rf"$\eta = {eta:g}/L$, {word}", xlabel="step $k$")
    axes[0].set_ylabel(r"$\log_{10}$ of the size (orders of magnitude)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    return (
        f"Backpropagation of the log objective through t = {result.config['steps']} steps. The state runs through "
        f"{result.measured('contracting_orders'):.0f} orders of magnitude where it contracts and "
        f"{result.measured('expanding_orders'):.0f} where it expands, the adjoint through as many the other "
        f"way; what a step "
        f"adds to the meta-gradient is the same for all steps, to {result.measured('expanding_spread'):.0g}. "
        f"Plain adjoints "
        "are lost where the loss they are divided by has left the range."
    )
