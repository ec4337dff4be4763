"""The best schedules without noise: steps found by gradient, their risk, and how far they are from the closed form."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import HORIZON, LINES, letter, measured, new_figure, theory

title = "The best schedules, found by gradient"
alt = (
    "Three panels. Step sizes found by gradient lie on the closed form for three sample sizes. The risk falls with the "
    "horizon along the formula, geometrically except at as many samples as inputs; a constant step is far above. The "
    "relative errors of the steps stay below one in a hundred million."
)


def draw(result: Result) -> Figure:
    """Draw the steps, the risk, and the errors."""
    a = result.arrays
    figure, axes = new_figure(1, 3, height=3.2)
    longest = int(a["steps"][-1])
    place = np.arange(1, longest + 1)
    for k, gamma in enumerate(a["gammas"]):
        label = f"$n/d = {1 / gamma:g}$"
        theory(axes[0], place, a["theory"][k], k)
        measured(axes[0], place, a["etas"][k, -1], k, label=label)
        theory(axes[1], a["steps"], a["best"][k], k)
        measured(axes[1], a["steps"], a["risk"][k], k)
        axes[1].plot(a["steps"], a["constant"][k], color="#999999", linestyle=LINES[6], linewidth=1.2, zorder=1)
        worst = np.maximum(a["errors"][k].max(axis=1), 1e-17)
        measured(axes[2], a["steps"] + 0.15 * (k - 1), worst, k)
    axes[0].set(yscale="log", xlabel="step, the largest first", ylabel=r"step size $\eta$ (1/curvature)")
    axes[0].set_title(f"$t = {longest}$")
    axes[1].set(yscale="log", xlabel=HORIZON, ylabel=r"risk $\|w_t - w^*\|^2$", title="grey, dotted: constant step")
    axes[2].axhline(1e-8, color="#444444", linewidth=0.7)
    axes[2].set(yscale="log", xlabel=HORIZON, ylabel="largest relative error of a step", title="all starts")
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    letter(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Steps found by gradient from one straight line (points) on the closed form (lines): to {told('line', '.0e')} "
        f"from the line, {told('starts', '.0e')} from random slopes, {told('samples', '.0e')} on spectra of samples. A "
        f"constant step leaves at least {told('gain', '.2g')} times what can be learned, at the longest horizon."
    )


def details(result: Result) -> str:
    """Say how it was made."""
    config, told = result.config, result.told
    return (
        f"Least squares in the limit of many inputs without noise: the loss of a quadratic on quadrature nodes, BFGS "
        f"on the logs of the steps with the engine's gradient of the log loss, {told('asked', '.0f')} gradients at "
        f"most. Starts: a line from 1.1 to 0.9 times 1/(1 + d/n), {config['starts']} with ends drawn from 0.7 to 1.3. "
        f"Samples: {config['samples']} of d = {config['d']}, t = {config['sample_steps']}."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"steps within {claims.told('line', '.0e')} of the closed form from a straight line, "
        f"{claims.told('starts', '.0e')} from random slopes, up to t = {claims.config['steps'][-1]}; a constant step "
        f"leaves at least {claims.told('gain', '.2g')} times as much of what can be learned"
    )
