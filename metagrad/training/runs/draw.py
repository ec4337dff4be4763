"""Learning curves of one or several runs, with intervals over seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metagrad import checks
from metagrad.errors import bad_value
from metagrad.training.drawing import axes_of, finish, is_logarithmic, look
from metagrad.training.runs.gather import Group, gather, spread, twice
from metagrad.training.runs.read import WHATS, read_runs

What = Literal["evaluation", "best", "objective", "gradient"]
Scale = Literal["auto", "log", "linear"]
_SCALES = ["auto", "log", "linear"]
_MOST_POINTS = 200  # of a curve with a number an episode; longer ones are drawn by means of several episodes
_MARGIN = 0.06
_LONGEST_LABEL = 64  # letters of a line of the legend
_LABELS = {
    "evaluation": "{} of the evaluation tasks",
    "best": "best {} of the evaluation tasks so far",
    "objective": "meta-objective in training: {}",
    "gradient": "log10 of the norm of the meta-gradient",
}
_UNNAMED = {
    "evaluation": "evaluation",
    "best": "evaluation",
    "objective": "mean over tasks and windows",
    "gradient": "",
}
Curve = tuple[np.ndarray, np.ndarray]


def plot_runs(
    runs: str | Path | Sequence[str | Path], *, what: What = "evaluation", scale: Scale = "auto", ax: Any = None
) -> Any:
    """Draw learning curves over the episodes; return the axes, of matplotlib.

    `runs`: folders that `metagrad meta-train` wrote, or files of metrics, one or several; also of runs that are under
    way. Those whose configs differ in the seed alone are one line: the mean over seeds, with its 95 % interval
    (Student's t) as bars, and each seed as a thin line. On a logarithmic scale mean and interval are those of the
    logarithms. Where one seed has inf or NaN there is no mean, and the legend counts them.
    `what`: "evaluation", "best" (the least evaluation so far), "objective" (of training, the mean over windows) or
    "gradient" (log10 of the norm, the mean over windows). `scale`: "log", "linear", or "auto": logarithmic where all is
    above 0 and spans more than a decade. `ax`: where to draw; None makes a figure.

    ValueError where there is no such run, where nothing was measured yet, where the runs measured different things, and
    where one run is there twice.
    """
    where = "plot_runs"
    checks.choice(where, "what", what, WHATS)
    checks.choice(where, "scale", scale, _SCALES)
    axes, found = axes_of(where, ax), read_runs(where, runs)
    named = sorted({run.measured(what) for run in found} - {""})
    if len(named) > 1 and what != "gradient":
        remedy = "Plot them apart."
        bad_value(where, "runs", f"runs that measured {' and '.join(named)}", "runs of one measure", remedy)
    groups = gather(found)
    for group in groups:
        if pair := twice(group):
            both = " and ".join(str(run.path.parent) for run in pair)
            came = f"{both}, of the same settings and the same seed {pair[0].seed}"
            bad_value(where, "runs", came, "each run once", "Two of one seed would make the interval too small.")
    each = (
        max(1, *(len(run.curve(what)[0]) // _MOST_POINTS for run in found)) if what in ("objective", "gradient") else 1
    )
    curves = [[_thinned(run.curve(what), each) for run in group.runs] for group in groups]
    for group, those in zip(groups, curves, strict=True):
        for run, (x, _) in zip(group.runs, those, strict=True):
            if not len(x):
                bad_value(where, "runs", f"{run.path}, where there is no {what} yet", "at least one", "Let it run on.")
    numbers = [y for those in curves for _, y in those]
    if scale == "log" and any((y <= 0).any() for y in numbers):
        bad_value(where, "scale", "'log'", "'linear' or 'auto', since some numbers are not above 0")
    logarithmic = scale == "log" or (scale == "auto" and is_logarithmic(numbers))
    for k, (group, those) in enumerate(zip(groups, curves, strict=True)):
        _draw(axes, group, those, logarithmic, (k, len(groups)))
    axis = "episodes done" if each == 1 else f"episodes done (means of {each} episodes)"
    finish(axes, axis, _LABELS[what].format(named[0] if named else _UNNAMED[what]), logarithmic=logarithmic)
    _limit(axes, numbers, logarithmic)
    return axes


def _thinned(curve: Curve, each: int) -> Curve:
    """Return the means of so many episodes each; what is left at the end is a mean of fewer."""
    x, y = curve
    if each == 1 or not len(x):
        return x, y
    firsts = np.arange(0, len(x), each)
    counts = np.diff([*firsts, len(x)])
    with np.errstate(invalid="ignore", over="ignore"):
        return x[firsts + counts - 1], np.add.reduceat(y, firsts) / counts


def _draw(axes: Any, group: Group, curves: list[Curve], logarithmic: bool, place: tuple[int, int]) -> None:
    lost = sum(int(np.count_nonzero(~np.isfinite(y))) for _, y in curves)
    label = f"{group.label}; {lost} not finite" if lost else group.label
    label += ", mean and 95 % interval" if len(curves) > 1 else ""
    label = textwrap.fill(label, _LONGEST_LABEL)
    if len(curves) == 1:
        x, y = curves[0]
        axes.plot(x, np.where(np.isfinite(y), y, np.nan), **look(place[0], len(x), place[1]), label=label)
        return
    found = spread(curves, logarithmic=logarithmic)
    style = look(place[0], len(found.episodes), place[1])
    for x, y in curves:
        axes.plot(
            x, np.where(np.isfinite(y), y, np.nan), color=style["color"], ls=style["linestyle"], lw=0.6, alpha=0.5
        )
    arms = np.abs(np.stack([found.low, found.high]) - found.mean)
    bars = {"errorevery": style["markevery"], "capsize": 2.5, "elinewidth": 1.0}
    axes.errorbar(found.episodes, found.mean, arms, **bars, **style, label=label)


def _limit(axes: Any, numbers: list[np.ndarray], logarithmic: bool) -> None:
    """Show all runs; the interval of a few seeds may be far wider, and would press them flat."""
    seen = np.concatenate(numbers)
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return
    seen = np.log10(seen) if logarithmic else seen
    low, high = float(seen.min()), float(seen.max())
    room = _MARGIN * (high - low) or 0.5 * (0.1 if logarithmic else abs(low) or 1.0)
    ends = low - room, high + room
    axes.set_ylim(*(10.0**x for x in ends) if logarithmic else ends)
