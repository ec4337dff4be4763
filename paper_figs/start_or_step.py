"""A train-validation split side by side: what it does to a learned start, and to a learned step size."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import SAMPLES, letter, measured, new_figure, theory

title = "A split costs a learned start, and pays for a step size under noise"
alt = (
    "Three panels. For a learned start the error with a split over that without lies above one at every number of "
    "samples and noise, twofold with half held out. For a step size the ratio of the risks lies below one with much "
    "noise and above one with little. With tied tasks the curve without a split falls below the one with it for few "
    "tasks, and stays at a floor for many, where the one with the split goes on falling."
)


def draw(result: Result) -> Figure:
    """Draw the ratios for a start and for a step size on one scale, and the excess over the number of tasks."""
    figure, axes = new_figure(1, 3, height=3.6)
    arrays, d = result.arrays, result.config["d"]
    x, at = arrays["exact_n"] / d, arrays["samples"] / d
    axes[1].sharey(axes[0])
    for i, sigma in enumerate(arrays["sigmas"]):
        exact = arrays["exact_start"][i]
        name = rf"$\sigma = {sigma:g}$"
        theory(axes[0], x, exact[:, 2] / exact[:, 1], 2 * i, label=f"half held out, {name}")
        theory(axes[0], x, np.minimum(exact[:, 3], exact[:, 4]) / exact[:, 1], 2 * i + 1, label=f"best split, {name}")
        for way, style in ((0, 2 * i), (1, 2 * i + 1)):
            mean, low, high = arrays["start_ratio"][:, i, :, way]
            measured(axes[0], at * (1 + 0.02 * (style - 2)), mean, style, (low, high))
        risks, (mean, low, high) = arrays["exact_step"][i], arrays["step_ratio"][:, i]
        theory(axes[1], x, risks[:, 3] / risks[:, 2], 2 * i)
        measured(axes[1], at, mean, 2 * i, (low, high))
    for ax, name in zip(axes, ("learned start", "learned step size"), strict=False):
        ax.axhline(1, color="#777777", linewidth=0.9, linestyle=":")
        ax.set(xscale="log", yscale="log", xlabel=SAMPLES, title=name)
        ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        ax.set_xlim(0.9 * x[0], 1.12 * x[-1])
        ax.minorticks_off()
    axes[0].set(ylabel="error or risk, with a split over without", ylim=(0.5, 3.8))
    axes[0].set_yticks([0.5, 0.7, 1, 1.5, 2, 3], ["0.5", "0.7", "1", "1.5", "2", "3"])
    for text, y in (("the split costs", 3.35), ("the split pays", 0.55)):
        axes[0].text(0.03, y, text, transform=axes[0].get_yaxis_transform(), fontsize=7.5, color="#555555")
    _tied(axes[2], result)
    letter(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _tied(ax: Axes, result: Result) -> None:
    """Draw the excess over the number of tasks, without and with the split."""
    arrays = result.arrays
    for way, (name, style) in enumerate((("without", 6), ("with split", 4))):
        theory(ax, arrays["exact_tasks"], arrays["exact_tied"][way], style)
        mean, low, high = arrays["tied"][:, :, way].T
        measured(ax, [tasks for tasks, _ in result.config["tied_tasks"]], mean, style, (low, high))
        ax.annotate(
            name,
            (arrays["exact_tasks"][-12], arrays["exact_tied"][way, -12]),
            xytext=(8, 5) if way == 0 else (-8, -8),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    ax.axvline(float(arrays["crossing"][0]), color="#777777", linewidth=0.9, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel="number of tasks", ylabel="excess test loss", title="start, tied tasks")


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Half held out costs a learned start at least {told('start_half', '.2f')} times the squared error, "
        f"the best split {told('start_exact', '.2f')}. Tuned on held-out samples, a step size has at most "
        f"{told('step_noise', '.2f')} of the risk under noise, and {told('step_clear', '.2f')} or more with little. "
        f"Tied tasks: the split pays beyond {float(result.arrays['crossing'][0]):.0f} tasks. Lines: exact."
    )


def details(result: Result) -> str:
    """Say which tasks, how they were learned, and how near the points are."""
    config, told = result.config, result.told
    return (
        f"Linear tasks, d = {config['d']} Gaussian inputs, |w|^2 = 1 in the mean, k = {config['steps']} steps. (a) The "
        f"inner step size is the best without a split; best split: the better of half held out, at its own best step "
        f"size, and all held out, without adaptation; {config['sets']} sets of {config['tasks']} tasks. All held out "
        f"measures {told('start_best', '.2f')} or more in the mean over n. (b) Tested with all n samples of fresh "
        f"tasks. (c) Two kinds of tasks, of input variances 0.5 and 1 and mean weights -1/2 and 1/2 along a direction; "
        f"n = {config['tied_samples']}, sigma = {config['tied_sigma']:g}, tests adapt to half. Points: learned by the "
        f"engine's meta-gradients, with 95 % intervals; some are moved aside."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    told = claims.told
    return (
        f"a learned start: half held out has {told('start_half', '.2f')} times the error or more, the best split "
        f"{told('start_exact', '.2f')} times; a step size: {told('step_noise', '.2f')} of the risk or less under noise "
        f"and n <= d, {told('step_clear', '.2f')} or more with little noise"
    )
