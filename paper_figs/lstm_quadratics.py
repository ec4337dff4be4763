"""Learning curves of the trained LSTM and of the tuned baselines on fresh quadratics."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "A learned optimizer on fresh quadratics"
alt = (
    "Mean loss and mean logarithm of the loss over the steps, for the trained LSTM and six tuned baselines, with "
    "intervals; a dotted line marks the horizon of training."
)
_NAMES = ("LSTM, trained", "SGD", "momentum", "Nesterov", "RMSprop", "Adagrad", "Adam")


def draw(result: Result) -> Figure:
    """Draw the mean loss on the left, the mean of its logarithm on the right."""
    arrays, trained_steps = result.arrays, result.config["trained_steps"]
    figure, axes = new_figure(1, 2, height=3.5, sharex=True)
    steps = np.arange(arrays["mean"].shape[1])
    for ax, key, spread in ((axes[0], "mean", "interval"), (axes[1], "log_mean", "log_interval")):
        for index, name in enumerate(_NAMES):
            curve, at = arrays[key][index], arrays["times"]
            theory(ax, steps, curve, index, linewidth=2.2 if index == 0 else 1.2)
            measured(ax, at, curve[at], index, arrays[spread][:, index], label=name)
        ax.axvline(trained_steps, color="#777777", linestyle=":", linewidth=0.9)
        ax.set_xlabel("step $t$")
    axes[0].set_yscale("log")
    axes[0].set_ylabel("mean loss")
    axes[1].set_ylabel(r"mean of $\log_{10}$ loss")
    start = arrays["mean"][0, 0]
    axes[0].set_ylim(arrays["mean"].min() / 2, 3 * start)
    low, top = np.nanmin(arrays["log_mean"]), arrays["log_mean"][0, 0]
    axes[1].set_ylim(low - 0.3, top + 0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, t = result.arrays, result.config["trained_steps"]
    ends = "; ".join(
        f"{name} {mean:.3g}" + ("" if np.isnan(eta) else f" (step size {eta:.3g})")
        for name, mean, eta in zip(_NAMES, arrays["mean"][:, t], arrays["eta"], strict=True)
    )
    return (
        f"{int(arrays['tasks'])} fresh random least-squares problems of 10 coordinates, 95 % intervals over tasks; the "
        f"LSTM was meta-trained for {t} steps (dotted line), the baselines' step sizes are the best of a grid of 25 on "
        f"other tasks. Mean loss at t = {t}: {ends}. In the mean of the logarithm, which the hardest tasks do not "
        f"decide, the LSTM has {arrays['log_mean'][0, t]:.2f}, the best baseline {arrays['log_mean'][1:, t].min():.2f}."
    )
