"""What Adam gains over a grid by meta-gradient and by random search, learning curves, and the way of its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, STEP, letter, measured, new_figure, theory

title = "Adam, tuned by meta-gradient, by a grid and by random search"
alt = (
    "Left: differences to the best step size of a grid in three measures of the loss. Meta-gradient and random search "
    "of equal cost are alike along the run and at the end, below the grid; only the search is below it in the mean "
    "loss. Middle: geometric mean of the loss over the steps, lowest for both at the end. Right: step size and both "
    "1 - beta over the episodes of meta-training."
)
_END, _LOSS, _PATH = "mean log10 loss at the end", "mean loss at the end", "mean log10 loss along the run"
_PLACES = {_PATH: "log_path", _END: "log_end", _LOSS: "end"}  # with their names in keys
_OWN, _SAME = "for the measure", "for the run"


def draw(result: Result) -> Figure:
    """Draw who gains what, learning curves, and the hyper-parameters over meta-training."""
    figure, (left, middle, right) = new_figure(1, 3, height=3.9)
    _gains(left, result)
    _learning(middle, result)
    _tuning(right, result)
    letter([left, middle, right])
    return figure


def _gains(ax: Axes, result: Result) -> None:
    ways: dict[str, tuple[Any, int, str]] = {
        "all": (lambda m: result.series("mean", "all", m)[:, None], 4, "meta-gradient"),
        "search": (lambda m: result.series("search", _OWN, m), 5, "search, for the measure"),
        "same_search": (lambda m: result.series("search", _SAME, m), 2, "search, for the run"),
    }
    for offset, (way, (of, index, label)) in zip((-0.26, 0.0, 0.26), ways.items(), strict=True):
        for place, (measure, short) in enumerate(_PLACES.items()):
            less = of(measure) - result.series("mean", "grid", measure)[:, None]
            across = place + offset + 0.07 + np.linspace(0, 0.06, less.size)
            look = {"marker": MARKERS[index], "color": COLOURS[index], "markeredgewidth": 0, "linestyle": "none"}
            ax.plot(across, less.ravel(), markersize=2.5, alpha=0.7, **look)
            judged = way != "same_search"  # which is drawn beside, and no check is about it
            interval = result.claims.interval(f"{way}_less_grid_{short}") if judged else None
            bars = None if interval is None else np.array(interval)[:, None]
            measured(ax, [place + offset], [less.mean()], index, bars, **({} if place else {"label": label}))
    ax.axhline(0, color=COLOURS[1], linestyle=LINES[1], linewidth=1.2, label="best step size of a grid")
    ax.set(title="less the grid", ylabel="difference in the measure")
    ax.set_xticks(range(len(_PLACES)), ["log10 loss,\nalong run", "log10 loss,\nat end", "loss,\nat end"], fontsize=7)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), fontsize=7)


def _learning(ax: Axes, result: Result) -> None:
    curves = [(result.series("curve", "start"), 0, "as it starts"), (result.series("curve", "grid"), 1, "grid")]
    curves.append((result.arrays["search_curve"].mean(axis=1), 2, "search, for the run"))
    curves.append((result.series("curve", "all"), 4, "meta-gradient"))
    t = result.arrays["times"]
    for at, (logs, index, label) in enumerate(curves):
        shown = slice(at, None, 4)  # side by side, where two rules are alike
        middle, spread = 10 ** logs.mean(axis=0), 10 ** np.stack([logs.min(axis=0), logs.max(axis=0)])
        ax.plot(t, middle, color=COLOURS[index], linewidth=0.8, linestyle=LINES[index])
        measured(ax, t[shown], middle[shown], index, spread[:, shown], label=label)
    ax.set(xlabel=STEP, ylabel="geometric mean of the loss", yscale="log", title="on fresh quadratics")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), fontsize=7)


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
    ax.set(xlabel="episode", ylabel="hyper-parameter", yscale="log", title="meta-training")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), fontsize=7, ncols=2, columnspacing=0.8)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told = result.config, result.told
    return (
        f"Less the grid, in mean log10 loss along the run, which is tuned: meta-gradient "
        f"{told('all_less_grid_log_path', '+.2f')}, random search of equal cost "
        f"{told('search_less_grid_log_path', '+.2f')}; in mean loss at the end {told('all_less_grid_end', '+.3f')} and "
        f"{told('search_less_grid_end', '+.3f')}. Large points: means of {config['seeds']} tunings; bars: (a) 95 % "
        f"intervals, (b) ranges. The step size alone has {told('eta_share', '.0%')} of the gain."
    )


def details(result: Result) -> str:
    """Say how each way tunes and what it costs, with the other values."""
    arrays, config, told = result.arrays, result.config, result.told
    eta, rest1, rest2, _ = np.median(result.series("chosen", "all"), axis=0)
    left = arrays["raw_left"]
    first = int(np.where(left > 0, left, config["raw_episodes"] + 1).min(axis=-1).max())
    lost = int((arrays["raw_lost"][:, 0] > 0).sum())
    from_afar = ""
    if "far" in result.names("mean"):
        from_afar = (
            f" From the step size 0.001, a share of {told('far_below_grid', '.2f')} of the meta-trainings end below "
            f"the grid, the mean log10 loss at the end is {told('far_less_grid_log_end', '+.2f')} from it."
        )
    return (
        f"{config['seeds']} tunings: a meta-training of {config['episodes']} episodes on the logarithm of the loss "
        f"along the run, and {config['searches']} random searches over step size and betas, each of the same cost "
        f"({told('cost', '.0f')} runs of {arrays['times'][-1]} gradients, start and evaluations counted; "
        f"{told('candidates', '.0f')} candidates), on {config['fresh']} fresh quadratics. Small points: tunings and "
        f"searches; bands in (c): the range over tunings. Differences to the grid, in the mean over tunings "
        f"(meta-gradient, search): {_pair(result, 'log_path')} in mean log10 loss along the run, "
        f"{_pair(result, 'log_end')} at the end, {_pair(result, 'end', '+.3f')} in the mean loss. The meta-training is "
        f"better than a search in a share of {told('beaten_log_path', '.2f')} of the searches along the run, "
        f"{told('beaten_log_end', '.2f')} at the end. Chosen for the run, a search is "
        f"{told('all_less_same_search_log_end', '+.2f', lambda x: -x)} from the meta-gradient at the end. Median "
        f"hyper-parameters: eta {eta:.3g}, beta1 {1 - rest1:.3f}, beta2 {1 - rest2:.4f}; the step size tuned alone "
        f"ends at {told('tuned_alone', '.2f')} of the grid's.{from_afar} Tuned without coordinates, with outer step "
        f"sizes {', '.join(f'{x:g}' for x in config['raw'])}, Adam's own numbers leave their range within {first} "
        f"episode{'' if first == 1 else 's'}; with the first, {lost} of {config['seeds']} runs end in NaN within "
        f"{config['raw_episodes']}."
    )


def _pair(result: Result, measure: str, spec: str = "+.2f") -> str:
    return " and ".join(result.told(f"{way}_less_grid_{measure}", spec) for way in ("all", "search"))


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""

    def three(way: str) -> tuple[str, str, str]:
        specs = {"log_path": "+.2f", "log_end": "+.2f", "end": "+.3f"}
        path, end, mean = (claims.told(f"{way}_less_grid_{measure}", spec) for measure, spec in specs.items())
        return path, end, mean

    (path, end, mean), search = three("all"), three("search")
    far = ""
    if "far" in claims.config["tuned"]:
        far = f"; **from the step size 0.001 {claims.told('far_less_grid_log_end', '+.2f')}** from the grid at the end"
    return (
        f"meta-gradient less grid: mean log10 loss {path} along the run, {end} at the end, mean loss {mean}; search of "
        f"equal cost: {search[0]}, {search[1]}, **{search[2]}**; step size alone: "
        f"{claims.told('eta_share', '.0%')} of the gain along the run{far}"
    )
