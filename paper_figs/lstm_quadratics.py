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
_LABELS = {"LSTM": "LSTM, trained"}  # the baselines have their own names


def draw(result: Result) -> Figure:
    """Draw the mean loss on the left, the median on the right; means end where a run has left the range of floats."""
    arrays, trained_steps = result.arrays, result.config["trained_steps"]
    figure, axes = new_figure(1, 2, height=3.5, sharex=True)
    steps = np.arange(arrays["mean"].shape[1])
    for ax, key, spread in ((axes[0], "mean", "interval"), (axes[1], "median", "median_interval")):
        for index, name in enumerate(result.names(key)):
            curve, at, ends = arrays[key][index], arrays["times"], result.series(spread, None, name)
            theory(ax, steps, curve, index, linewidth=2.2 if index == 0 else 1.2)
            drawn = np.isfinite(ends).all(axis=0) & (curve[at] < 3 * curve[0])
            measured(ax, at[drawn], curve[at][drawn], index, ends[:, drawn], label=_LABELS.get(name, name))
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
    low, high = result.series("interval", None, "LSTM")[:, at]
    baselines = result.names("hindsight")
    ends = "; ".join(_end(result, name, t) for name in baselines)
    best = baselines[int(np.argmin(arrays["hindsight"]))]
    nearest = result.series("hindsight_interval", None, best)
    medians = {name: result.series("median", name)[t] for name in result.names("median")}
    middle = min(baselines, key=lambda name: medians[name])
    return (
        f"{int(arrays['tasks'])} fresh random least-squares problems of 10 coordinates, 95 % intervals over tasks; the "
        f"LSTM was meta-trained for {t} steps (dotted line), the baselines' step sizes are the best of a grid of 25 on "
        f"other tasks. Mean loss at t = {t}: LSTM {result.series('mean', 'LSTM')[t]:.3g} ({low:.3g} to {high:.3g}); "
        f"{ends}. With step sizes chosen on these very tasks the best baseline is {best}, "
        f"{result.series('hindsight', best):.3g} ({nearest[0]:.3g} to {nearest[1]:.3g}). Medians at t = {t}: LSTM "
        f"{medians['LSTM']:.2g}, {middle} {medians[middle]:.2g}."
    )


def _end(result: Result, name: str, t: int) -> str:
    """Say where a baseline is after t steps, and how many of its runs are lost by the end."""
    lost = int(result.series("lost", name))
    end = f"{name} {result.series('mean', name)[t]:.3g} (step size {result.series('eta', name):.3g})"
    return end + (f", {lost} lost by the end" if lost else "")
