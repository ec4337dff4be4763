"""Learning curves of the trained LSTM and of the tuned baselines on fresh quadratics."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "A learned optimizer on fresh quadratics"
alt = (
    "Mean and median loss over the steps, for the trained LSTM and six tuned baselines, with intervals; a dotted line "
    "marks the horizon of training."
)
_LEAST = 1e-12  # a median below is rounding of numbers near 1
_NAMES = ("LSTM, trained", "SGD", "momentum", "Nesterov", "RMSprop", "Adagrad", "Adam")


def draw(result: Result) -> Figure:
    """Draw the mean loss on the left, the median on the right; means end where a run has left the range of floats."""
    arrays, trained_steps = result.arrays, result.config["trained_steps"]
    figure, axes = new_figure(1, 2, height=3.5, sharex=True)
    steps = np.arange(arrays["mean"].shape[1])
    for ax, key, spread in ((axes[0], "mean", "interval"), (axes[1], "median", "median_interval")):
        for index, name in enumerate(_NAMES):
            curve, at = arrays[key][index], arrays["times"]
            theory(ax, steps, curve, index, linewidth=2.2 if index == 0 else 1.2)
            drawn = np.isfinite(arrays[spread][:, index]).all(axis=0) & (curve[at] < 3 * curve[0])
            measured(ax, at[drawn], curve[at][drawn], index, arrays[spread][:, index, drawn], label=name)
        ax.axvline(trained_steps, color="#777777", linestyle=":", linewidth=0.9)
        ax.set(xlabel="step $t$", yscale="log", ylabel=f"{key} loss")
        ax.set_ylim(arrays[key][np.isfinite(arrays[key]) & (arrays[key] > 0)].min() / 2, 3 * arrays[key][0, 0])
    axes[1].set_ylim(bottom=max(axes[1].get_ylim()[0], _LEAST))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, t = result.arrays, result.config["trained_steps"]
    at = int(np.flatnonzero(arrays["times"] == t)[0])
    low, high = arrays["interval"][:, 0, at]
    ends = "; ".join(
        f"{name} {mean:.3g} (step size {eta:.3g})" + (f", {lost} lost by the end" if lost else "")
        for name, mean, eta, lost in zip(
            _NAMES[1:], arrays["mean"][1:, t], arrays["eta"][1:], arrays["lost"][1:].tolist(), strict=True
        )
    )
    best = int(np.argmin(arrays["hindsight"]))
    nearest = arrays["hindsight_interval"][:, best]
    middle = 1 + int(np.argmin(arrays["median"][1:, t]))
    return (
        f"{int(arrays['tasks'])} fresh random least-squares problems of 10 coordinates, 95 % intervals over tasks; the "
        f"LSTM was meta-trained for {t} steps (dotted line), the baselines' step sizes are the best of a grid of 25 on "
        f"other tasks. Mean loss at t = {t}: LSTM {arrays['mean'][0, t]:.3g} ({low:.3g} to {high:.3g}); {ends}. With "
        f"step sizes chosen on these very tasks the best baseline is {_NAMES[1 + best]}, "
        f"{arrays['hindsight'][best]:.3g} ({nearest[0]:.3g} to {nearest[1]:.3g}). "
        f"Medians at t = {t}: LSTM {arrays['median'][0, t]:.2g}, "
        f"{_NAMES[middle]} {arrays['median'][middle, t]:.2g}."
    )
