"""Chebyshev's schedule: learned, in three orders, and what dense problems keep of it."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import letter, measured, new_figure, theory

title = "Chebyshev's schedule, learned, and the order of its steps"
alt = (
    "Three panels. Learned step sizes in both dtypes lie on Chebyshev's. The worst factor comes to Chebyshev's within "
    "a few rounds of the exchange, to thirteen digits in float64. Over the size of the problem, the error of dense "
    "descent stays near rounding in the fractal order and grows to forty-seven orders of magnitude in the two others."
)
_NAMES = {"large_first": "largest first", "small_first": "smallest first", "fractal": "fractal"}


def draw(result: Result) -> Figure:
    """Draw the steps, the way there, and the errors by order."""
    a = result.arrays
    figure, axes = new_figure(1, 3, height=3.3)
    place = np.arange(1, a["best"].shape[1] + 1)
    theory(axes[0], place, a["best"][0], 3, label="Chebyshev")
    for k, dtype in enumerate(result.names("etas")):
        some = slice(k, None, 2)
        measured(axes[0], place[some], result.series("etas", dtype)[some], k, label=dtype)
        trace = result.series("trace", dtype)
        trace = np.maximum(trace[np.isfinite(trace)], 1e-16)
        measured(axes[1], np.arange(len(trace)), trace, k, label=dtype)
    axes[0].set(yscale="log", xlabel="step, the largest first", ylabel=r"step size $\eta$ (1/curvature)")
    axes[0].set_title(f"$t = {result.config['steps']}$, $L/\\alpha = {result.config['condition']:g}$")
    axes[0].legend(loc="upper right")
    axes[1].set(
        yscale="log", xlabel="stage (0: line)", ylabel="worst factor over Chebyshev's, less 1", title="learning"
    )
    size = np.arange(len(a["t"]))
    eps = np.log10(np.finfo(np.float64).eps)
    for k, order in enumerate(result.names("dense", 1)):
        dense = result.series("dense", order)
        low, high = dense.min(axis=1), dense.max(axis=1)
        theory(axes[2], size, eps + np.maximum(result.series("prefix", order), result.series("suffix", order)), k)
        measured(axes[2], size + 0.06 * (k - 1), np.median(dense, axis=1), k, (low, high), label=_NAMES[order])
    axes[2].set_xticks(size, [f"{t}\n{k:g}" for t, k in zip(a["t"], a["condition"], strict=True)])
    axes[2].set(xlabel=r"horizon $t$ (steps), condition $L/\alpha$", ylabel="error of dense descent (log10)")
    axes[2].set_title("orders, float64")
    axes[2].legend(loc="upper left")
    letter(axes)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"A minimax learned by gradient ends at Chebyshev's schedule, its worst factor to "
        f"{told('learned_float64', '.0e', abs)} in float64. On dense problems the largest or smallest steps first lose "
        f"everything to rounding, as predicted (lines: eps times the range of products); the fractal order keeps it. "
        f"The engine's scaled gradients are right in every order, to {told('scaled_float64', '.0e')}."
    )


def details(result: Result) -> str:
    """Say how it was made."""
    config, told = result.config, result.told
    return (
        f"The line of steps at the start has a worst factor above Chebyshev's by {told('line', '.2g')} times that. "
        f"BFGS on means of powers over a grid of eigenvalues, then rounds of Remez's exchange with the engine's "
        f"gradient at each of the worst eigenvalues. float32: {told('learned_float32', '.0e')} above the least. (c) "
        f"{config['rotations']} random rotations, median and range. Largest prefix in the fractal order: "
        f"{told('fractal', '.2g')} times the condition number. Plain float32 loses the two other orders at the largest "
        f"size; scaled, its error is at most {told('scaled_float32', '.0e')}."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    told = claims.told
    return (
        f"worst factor within {told('learned_float64', '.0e', abs)} of Chebyshev's (float64), "
        f"{told('learned_float32', '.0e')} (float32); range of the other orders 10^{told('ordered', '.0f')}, fractal "
        f"{told('fractal', '.2g')} times the condition number; scaled gradients right to "
        f"{told('scaled_float64', '.0e')} in every order"
    )
