"""The phase diagram of train-by-train and train-by-validation, with its exact boundary."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs.framework import maps
from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, SAMPLES, letter, measured, new_figure

title = "Where train-by-validation wins"
alt = (
    "The plane of samples per input and noise, shaded by the logarithm of the ratio of the two risks, with the line "
    "where they are equal: on the left, learning from half of the samples, validation wins below n/d of about two "
    "sigma squared; on the right, learning from all samples in the end, it wins in all but a corner of little noise. "
    "Below, the ratio of both risks at finite size over the limit's: sampled tasks scatter about 1 within their "
    "intervals, averages over the targets lie on it."
)
_LABEL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}  # in grey both ends are dark
_TITLES = {"half": "learns from its training half", "all": "learns from all samples in the end"}


def draw(result: Result) -> Figure:
    """Draw the two planes side by side, on one scale, and below them the sizes at finite d over those of the limit."""
    arrays, steps = result.arrays, result.config["steps"]
    figure, (axes, below) = new_figure(2, 2, height=5.6, sharey="row", height_ratios=(2.4, 1))
    for panel, (ax, way) in enumerate(zip(axes, result.names("limit", 1), strict=True)):
        tbt, tbv = _risks(result, panel, steps[1])
        # orange where train-by-train has the larger risk
        shade = maps.two_sided(ax, arrays["ratios"], arrays["sigmas"], np.log10(tbt / tbv).T)
        for index, t in enumerate(steps):
            _boundary(ax, result, panel, t, index)
        _points(ax, result, (way, str(steps[1])))
        ax.set(xscale="log", yscale="log", xlabel=SAMPLES, title=_TITLES[way])
        ax.set_xlim(arrays["ratios"][[0, -1]])
        ax.set_ylim(arrays["sigmas"][[0, -1]])
        ax.grid(False)
        _sizes(below[panel], result, way)
    for where, what in (((0.05, 0.94), "validation wins"), ((0.95, 0.06), "train wins")):
        side = {"ha": "left", "va": "top"} if where[0] < 0.5 else {"ha": "right", "va": "bottom"}
        axes[0].text(*where, what, transform=axes[0].transAxes, fontsize=8, bbox=_LABEL, **side)
    below[0].set_ylabel("ratio of risks over\nthe limit's")
    for ax, name in zip(below, "ab", strict=True):
        ax.set_title(f"at the points of ({name})")
    letter([*axes, *below])
    axes[0].set_ylabel(r"noise $\sigma$ (units of $\|w^*\|$)")
    bar = figure.colorbar(shade, ax=axes, extend="both", pad=0.01, aspect=30)
    bar.set_label(f"$\\log_{{10}}$ (risk by train / risk by validation), $t = {steps[1]}$")
    handles = [*axes[0].get_legend_handles_labels()[0], maps.hatched("train wins by over 2 %")]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    below[0].legend(loc="upper left", ncols=2, columnspacing=1.0, handlelength=1.0, handletextpad=0.4, fontsize=7)
    return figure


def _risks(result: Result, panel: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps of both risks at a horizon, by train and by validation."""
    name = f"map_{panel}_{t}"
    return result.series(name, "train"), result.series(name, "validation")


def _boundary(ax: Axes, result: Result, panel: int, t: int, index: int) -> None:
    """Draw the noise above which validation wins."""
    arrays = result.arrays
    tbt, tbv = _risks(result, panel, t)
    boundary = maps.above(arrays["sigmas"], np.log10(tbt / tbv).T)
    look = {"color": COLOURS[0], "linestyle": LINES[(1, 0, 3)[index]], "linewidth": 1.8 if index == 1 else 1.0}
    ax.plot(arrays["ratios"], boundary, label=f"boundary, $t = {t}$", **look)
    if index == 1 and panel == 0:
        ax.plot(*arrays["crossing"].T[::-1], "D", color=COLOURS[1], markersize=3.5, label="exact crossings")


def _points(ax: Axes, result: Result, which: tuple[str, str]) -> None:
    """Mark the sampled tasks: which way won, or that the 95 % interval does not tell."""
    middle, half = result.series("sample", *which), 1.96 * result.series("sample_error", *which)
    kinds = (
        (middle - half > 0, "o", "sampled: validation wins"),
        (middle + half < 0, "s", "sampled: train wins"),
        (np.abs(middle) <= half, "x", "sampled: undecided"),
    )
    for some, marker, label in kinds:
        face = {"markerfacecolor": "white"} if marker != "x" else {}
        ax.plot(*result.arrays["checked"][some].T, marker, color=COLOURS[0], markersize=5.5, label=label, **face)


def _sizes(ax: Axes, result: Result, way: str) -> None:
    """Draw the ratio of risks over the limit's, at all points and horizons, on sampled tasks and on averages."""
    d, limit = result.config["d"], result.series("limit", way)
    found = (
        (result.series("sample", way), result.series("sample_error", way), 0, f"sampled tasks, $d = {d}$"),
        (result.series("average", way)[1], result.series("average_error", way)[1], 1, f"averages, $d = {2 * d}$"),
    )
    for log_ratio, error, style, label in found:
        off, half = (log_ratio - limit).ravel(), 1.96 * error.ravel()
        interval = np.exp(off - half), np.exp(off + half)
        measured(ax, np.exp(limit).ravel(), np.exp(off), style, interval, label=label, markersize=3)
    ax.axhline(1, color="black", linewidth=0.7)
    ax.set(xscale="log", xlabel="risk by train / risk by validation, limit", ylim=(0.65, 1.6))


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Each way with its own best step size; t = {result.config['steps'][1]}. Validation wins up to n/d = 2 sigma^2 "
        f"(within {told('boundary', '.1f', of=_percent)} % at sigma = 5), and in a band around n = d from sigma = "
        f"{told('least_noise', '.2f')}; (b) on {told('all_samples', '.0f', of=_percent)} % of the plane above sigma = "
        f"0.7. (c), (d): finite sizes, 95 % intervals."
    )


def details(result: Result) -> str:
    """Say how the points were made, and how far from the limit they are."""
    config, told = result.config, result.told
    d, horizons = config["d"], " and ".join(str(t) for t in config["steps"])
    return (
        f"Shade and lines: risks in the limit of many inputs; a line is the noise above which validation wins. Points: "
        f"tasks of d = {d}, tuned on {config['tasks']} and compared on {config['tests']}, decided by 95 % "
        f"intervals that hold the tuning. Below: the ratio of both risks over the limit's at the points, both ways and "
        f"t = {horizons}: on these tasks {told('sample_low', '.2f')} to {told('sample_high', '.2f')} (10 to 90 % of "
        f"the points), from what averages say, beyond 0.02 in the logarithm, at most {told('samples', '.2f')} of half "
        f"a simultaneous 99.9 % interval, which is {told('width', '.2f')} (median); averaged over the targets given X, "
        f"at d = {2 * d}, {told('size_low', '.3f')} to {told('size_high', '.3f')}, the farthest off "
        f"{told('sizes', '.3f')}, and as the median over points {told('falls', '.2f')} times as far from 1 as at "
        f"d = {d}."
    )


def headline(claims: Claims) -> str:
    """State what was measured in short."""
    d, told = claims.config["d"], claims.told
    return (
        f"boundary within {told('boundary', '.1f', of=_percent)} % of 2 sigma^2 at sigma = 5; band from sigma = "
        f"{told('least_noise', '.2f')}; risk ratio over the limit's, 10 to 90 % of points: "
        f"{told('size_low', '.3f')} to {told('size_high', '.3f')} averaged over targets (d = {2 * d}), "
        f"{told('sample_low', '.2f')} to {told('sample_high', '.2f')} on sampled tasks (d = {d})"
    )


def _percent(x: float) -> float:
    return 100 * x
