"""The meta-gradient of a learned optimizer over the unroll length, on three objectives, and what its slope is."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, HORIZON, MARKERS, cut, letter, measured, new_figure, theory

title = "A learned optimizer's meta-gradient: what the logarithm cures, and what not"
alt = (
    "Seven panels. For LSTMs that read the logarithm and sign of the gradient, plain, log and log-excess "
    "meta-gradients rise together with the unroll length on three tasks, at the rate of nearby runs; stop-gradients do "
    "not. Those of the LSTM that ships for digits rise too. For the one that ships for quadratics, on a loss with a "
    "floor, plain and log gradients fall while it converges, and that of the log of the excess does not. Run by run "
    "the slope of the log objective equals that of the plain one, unlike for gradient descent, and the plain one's "
    "equals the Lyapunov number where that is positive."
)
_OBJECTIVES = (("plain", 1), ("log", 2), ("log excess", 4))
_STOPPED = 5  # the style of stop-gradients
_TRAINED = {"regression": "regression", "floor": "with a floor", "digits": "network"}
_WITH_FLOOR = ("regression", "floor")  # where it is known
_CASES = (("regression", "log-sign"), ("floor", "log-sign"), ("digits", "log-sign"), *((t, "raw") for t in _WITH_FLOOR))


def draw(result: Result) -> Figure:
    """Draw gradients over the unroll length, of trained and of shipped LSTMs, and slopes against slopes for all."""
    figure, axes = new_figure(2, 4, height=5.0)
    for ax, (task, name) in zip(axes[0], _TRAINED.items(), strict=False):
        runs = result.config["runs"][task == "digits"]
        _gradients(ax, result, f"{task}_log-sign", runs, 2 if task == "digits" else 3)
        _growth(ax, result, f"{task}_log-sign", runs)
        ax.set_title(name)
    _shipped_digits(axes[0, 3], result)
    _gradients(axes[1, 0], result, "floor_shipped", 0, 3)
    axes[1, 0].axvline(result.config["converging"][1], color="#777777", linestyle=":", linewidth=0.9)
    axes[1, 0].set_title("shipped, floor")
    for ax in (*axes[0], axes[1, 0]):
        ax.set_xlabel(HORIZON)
    for ax in axes[:, 0]:
        ax.set_ylabel(r"$\log_{10}\|$meta-gradient$\|$")
    _against_plain(axes[1, 1], result)
    _against_growth(axes[1, 2], result)
    axes[1, 3].axis("off")
    letter(axes)
    axes[1, 3].legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="center",
        title="(a) to (e): means, 95 %\nintervals over runs, and\nsingle runs; arrow: the\ninterval goes on",
        title_fontsize=8,
    )
    return figure


def _gradients(ax: Axes, result: Result, case: str, first: int, objectives: int) -> None:
    """Draw the runs from `first` on, their means and the intervals of these."""
    log10 = f"{case}_log10"
    shown = [(result.series(log10, "full", name)[:, first:], style, name) for name, style in _OBJECTIVES[:objectives]]
    shown.append((result.series(log10, "stop_gradient", "plain")[:, first:], _STOPPED, "plain,\nstop-gradient"))
    _means(ax, result.arrays["horizons"], shown)


def _means(ax: Axes, t: np.ndarray, shown: list[tuple[np.ndarray, int, str]]) -> None:
    """Draw series (horizons, runs) beside each other: the axis ends at the runs, and cuts intervals that do not."""
    places = [t + (k - (len(shown) - 1) / 2) * t[-1] / 45 for k in range(len(shown))]
    for x, (runs, style, _) in zip(places, shown, strict=True):
        look = {"marker": MARKERS[style], "color": COLOURS[style], "linestyle": "none", "markeredgewidth": 0}
        ax.plot(np.repeat(x, runs.shape[1]), runs.ravel(), markersize=2.2, alpha=0.4, **look)
    low, high = (find([find(runs) for runs, _, _ in shown]) for find in (np.min, np.max))
    margin = 0.06 * (high - low)
    for x, (runs, style, label) in zip(places, shown, strict=True):
        measured(ax, x, runs.mean(axis=-1), style, _interval(runs), label=label)
    ax.set(ylim=(low - margin, high + margin), xlim=(0, 1.08 * t[-1]))
    for x, (runs, _, _) in zip(places, shown, strict=True):
        cut(ax, x, _interval(runs))


def _growth(ax: Axes, result: Result, case: str, first: int) -> None:
    """Draw a line of the slope that the growth of distances between nearby runs predicts."""
    t, arrays = result.arrays["horizons"], result.arrays
    late = result.config["fit_from"] <= t
    growth = np.maximum(arrays[f"{case}_lyapunov"][first:], 0).mean()
    line = result.series(f"{case}_log10", "full", "plain")[late, first:].mean() + growth * (t[late] - t[late].mean())
    theory(ax, t[late], line, 0, label="rate of\nnearby runs", linewidth=1.0)


def _shipped_digits(ax: Axes, result: Result) -> None:
    t, plain = result.arrays["digits_horizons"], result.arrays["digits_shipped_log10"]
    log = plain - result.arrays["digits_shipped_loss"] - np.log10(t)[:, None]
    _means(ax, t, [(plain, 1, "plain"), (log, 2, "log")])
    ax.set_title("shipped, digits")


def _interval(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of the mean over runs by Student's t."""
    half = stats.t.ppf(0.975, x.shape[-1] - 1) * x.std(axis=-1, ddof=1) / np.sqrt(x.shape[-1])
    return x.mean(axis=-1) - half, x.mean(axis=-1) + half


def _against_plain(ax: Axes, result: Result) -> None:
    for name, style in _OBJECTIVES[1:]:
        cases = [f"{task}_{rule}" for task, rule in _CASES if task in _WITH_FLOOR or name == "log"]
        plain, of = (
            np.concatenate([result.series(f"{case}_slopes", "full", one) for case in cases]) for one in ("plain", name)
        )
        measured(ax, plain, of, style, markersize=3)
        for task in _WITH_FLOOR:
            control = [result.series(f"{task}_descent_slopes", "full", one).mean() for one in ("plain", name)]
            ax.plot(*control, marker=MARKERS[style], color=COLOURS[style], markersize=6, linestyle="none")
    ends = np.array(ax.get_xlim())
    theory(ax, ends, ends, 0, linewidth=0.9)
    theory(ax, ends, 0 * ends, 3, linewidth=1.2)
    ax.text(0.85 * ends[1], 0.05 * ends[1], "cured", va="bottom", ha="right", fontsize=7)
    ax.text(0.6 * ends[1], 0.7 * ends[1], "not cured", ha="right", fontsize=7)
    ax.text(0.97, 0.04, "filled: gradient\ndescent", transform=ax.transAxes, ha="right", fontsize=7)
    ax.set(title="slopes, all runs", xlabel="plain (decades a step)", ylabel="slope of log, log excess")


def _against_growth(ax: Axes, result: Result) -> None:
    for rule, style in (("log-sign", 1), ("raw", 6)):
        cases = [f"{task}_{r}" for task, r in _CASES if r == rule]
        x = np.concatenate([result.arrays[f"{case}_lyapunov"] for case in cases])
        y = np.concatenate([result.series(f"{case}_slopes", "full", "plain") for case in cases])
        measured(ax, x, y, style, markersize=3, label=rule)
    ends = np.array([ax.get_xlim()[0], 0.0, ax.get_xlim()[1]])
    theory(ax, ends, np.maximum(ends, 0), 0, linewidth=0.9, label="equal, or 0")
    ax.set(title="and nearby runs", xlabel="Lyapunov (decades a step)", ylabel="slope of plain")
    ax.legend(loc="upper left", fontsize=7, handlelength=1.8)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Slopes are in decades of the meta-gradient a step. Of trained LSTMs that read log and sign of the gradient "
        f"{told('exploding', '.0%')} explode, under the logarithm {told('exploding_log', '.0%')}. The shipped one on a "
        f"floor: {told('floor_shipped_plain', '.3f')} (plain), {told('floor_shipped_log', '.3f')} (log), "
        f"{told('floor_shipped_log_excess', '.3f')} (log of the excess). Log on plain: coefficient "
        f"{told('log_on_plain', '.2f')}; plain on the Lyapunov number {told('lyapunov_rate', '.2f')}."
    )


def details(result: Result) -> str:
    """Say what the panels show, with the other values."""
    config, told, t = result.config, result.told, result.config["digits_horizons"]
    trained = "; ".join(
        f"{name} {told(f'{task}_log_sign_plain', '.3f')}, {told(f'{task}_log_sign_log', '.3f')}"
        for task, name in (("regression", "regression"), ("floor", "floor"), ("digits", "network"))
    )
    return (
        f"LSTMs of {config['hidden']} units, each run with its own. (a) to (c): trained ones that read log and sign of "
        f"the gradient, on regressions, on least squares with a floor, on a network for 8 x 8 digits; points beside "
        f"each other belong to one horizon. Single runs differ by many decades, so that an interval of their mean may "
        f"be longer than the axis, which ends at the runs: arrows mark where it goes on. Decades a step, plain and "
        f"log: {trained}. A run explodes where its slope is above 0.02; of LSTMs that read the gradient itself "
        f"{told('exploding_raw', '.0%')} do. (d) The LSTM that ships for digits, on fresh networks of its kind: from "
        f"t = {t[0]} to {t[-1]} plain gradients grow by {told('digits_shipped_plain', '.1f')} decades, log ones by "
        f"{told('digits_shipped_log', '.1f')}. (e) The LSTM that ships for quadratics, which reads the gradient "
        f"itself, up to the {config['converging'][1]} steps that it was trained for (dotted line). (f), (g) All runs, "
        f"trained or not. On the slope of plain that of the log of the excess has the coefficient "
        f"{told('log_excess_on_plain', '.2f')}, of stop-gradients {told('stop_gradient_on_plain', '.2f')}. Filled: "
        f"gradient descent, {told('descent_plain', '.3f')} (plain) and at most {told('descent_cured', '.0e')} where "
        f"the log cures. (g) The line is the Lyapunov number of nearby runs where that is positive, else 0."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    told, t = claims.told, claims.config["digits_horizons"]
    return (
        f"shipped LSTM, quadratics with a floor: plain, log, log excess 10^{told('floor_shipped_plain', '.3f')}, "
        f"10^{told('floor_shipped_log', '.3f')}, 10^{told('floor_shipped_log_excess', '.3f')} a step; for digits: "
        f"plain grows by {told('digits_shipped_plain', '.1f')} orders, log by {told('digits_shipped_log', '.1f')}, "
        f"T = {t[0]} to {t[-1]}; {told('exploding', '.0%')} of trained log-sign runs explode; coefficients: log on "
        f"plain {told('log_on_plain', '.2f')}, plain on Lyapunov {told('lyapunov_rate', '.2f')}"
    )
