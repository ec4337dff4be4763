"""Learning curves of Adam as it starts, searched and tuned, and the way of its hyper-parameters."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, measured, new_figure, theory

title = "Adam, tuned by meta-gradient"
alt = (
    "Left: geometric mean of the loss over the steps for Adam as it starts, with the best step size of a grid, with "
    "the step size tuned, and with all hyper-parameters tuned, which is lowest. Right: the step size and both 1 - beta "
    "over the episodes of meta-training; the step size tuned alone ends near the dotted line, that of the grid."
)
_LABELS = {"start": "as it starts", "grid": "best step size of a grid", "eta": "step size tuned", "all": "all tuned"}
_LOG, _LOSS, _PATH = "mean log10 loss at the end", "mean loss at the end", "mean log10 loss along the run"


def draw(result: Result) -> Figure:
    """Draw learning curves on the left, the hyper-parameters over meta-training on the right."""
    figure, (left, right) = new_figure(1, 2, height=3.6)
    _learning(left, result)
    _tuning(right, result)
    return figure


def _learning(ax: Axes, result: Result) -> None:
    arrays = result.arrays
    for index, (rule, label) in zip((0, 1, 2, 4), _LABELS.items(), strict=True):
        shown = slice(index % 4, None, 4)  # side by side, where two rules are alike
        curve, ends = result.series("geometric", rule), result.series("geometric_interval", None, rule)
        theory(ax, arrays["times"], curve, index, linewidth=1.2)
        measured(ax, arrays["times"][shown], curve[shown], index, ends[:, shown], label=label)
    ax.set(xlabel="step $t$", ylabel="geometric mean of the loss", yscale="log", title="on fresh quadratics")
    ax.legend(loc="lower left")


def _tuning(ax: Axes, result: Result) -> None:
    shown = {"eta": r"$\eta$", "1 - beta1": r"$1-\beta_1$", "1 - beta2": r"$1-\beta_2$"}
    curves = [(result.series("path_all", name), label) for name, label in shown.items()]
    curves.append((result.series("path_eta", "eta"), r"$\eta$, tuned alone"))
    for (path, name), index in zip(curves, (4, 5, 0, 2), strict=True):
        episodes = np.arange(path.shape[1])
        theory(ax, episodes, np.median(path, axis=0), index, label=name)
        ax.fill_between(episodes, path.min(axis=0), path.max(axis=0), color=COLOURS[index], alpha=0.15, linewidth=0)
    best = float(np.median(result.series("grid_eta", _PATH)))  # for what is tuned: the loss along the run
    ax.axhline(best, color=COLOURS[1], linestyle=LINES[3], linewidth=1.6, label=r"$\eta$ of the grid")
    ax.set(xlabel="episode of meta-training", ylabel="hyper-parameter", yscale="log", title="while they are tuned")
    ax.legend(loc="center right", ncols=2, bbox_to_anchor=(1.0, 0.42))


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    arrays, config = result.arrays, result.config
    ends = "; ".join(
        f"{label}: {10 ** result.series('mean', rule, _LOG).mean():.2g}, "
        f"{result.series('mean', rule, _LOSS).mean():.3g}, {result.series('median', rule)[-1]:.2g}"
        for rule, label in _LABELS.items()
    )
    eta, rest1, rest2, _ = np.median(result.series("chosen", "all"), axis=0)
    log_gain, gain = (result.series("gain", "all", "grid", measure) for measure in (_LOG, _LOSS))
    left = arrays["raw_left"]
    first = int(np.where(left > 0, left, config["raw_episodes"] + 1).min(axis=-1).max())
    lost = int((arrays["raw_lost"][:, 0] > 0).sum())
    from_afar = _from_afar(result) if "far" in result.names("mean") else ""
    return (
        f"{config['seeds']} meta-trainings of {config['episodes']} episodes on the mean logarithm of the loss "
        f"along the run, from the step size {config['eta']:g}, each with {config['fresh']} other quadratics; "
        f"the grid's step size is chosen on others again. Intervals and bands span all meta-trainings. After "
        f"{arrays['times'][-1]} steps (geometric mean, mean and median of the "
        f"loss): {ends}. All tuned less the grid, 95 % intervals over tasks of all meta-trainings: mean log10 loss "
        f"{log_gain[:, 0].min():.2f} to {log_gain[:, 1].max():.2f}, mean loss "
        f"{gain[:, 0].min():.3f} to {gain[:, 1].max():.3f}. Median hyper-parameters: eta {eta:.3g}, "
        f"beta1 {1 - rest1:.3f}, beta2 {1 - rest2:.4f}; tuned alone, the step size ends at "
        f"{np.median(result.series('path_eta', 'eta')[:, -1]):.3g}, the grid's for the same objective (dotted) is "
        f"{np.median(result.series('grid_eta', _PATH)):.3g}."
        f"{from_afar} Tuned without coordinates, with outer step sizes {', '.join(f'{x:g}' for x in config['raw'])}, "
        f"Adam's own numbers leave their range within {first} episode{'' if first == 1 else 's'}; with the first, "
        f"{lost} of {config['seeds']} runs end in NaN within {config['raw_episodes']}."
    )


def _from_afar(result: Result) -> str:
    """Say what becomes of the meta-trainings that start at the small step size."""
    gain = result.series("gain", "far", "grid", _LOG)
    return (
        f" From the step size 0.001, {int((gain[:, 1] < 0).sum())} of {result.config['seeds']} meta-trainings end "
        f"below the grid in mean log10 loss ({gain[:, 0].min():.2f} to {gain[:, 1].max():.2f})."
    )
