"""The meta-gradient of a learned optimizer over the unroll length, on three objectives, and what its slope is."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, MARKERS, measured, new_figure, theory

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
_TRAINED = {"regression": "a  regression", "floor": "b  with a floor", "digits": "c  network"}
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
    axes[1, 0].set_title("e  shipped, floor")
    for ax in (*axes[0], axes[1, 0]):
        ax.set_xlabel("unroll length $T$")
    for ax in axes[:, 0]:
        ax.set_ylabel(r"$\log_{10}\|$meta-gradient$\|$")
    _against_plain(axes[1, 1], result)
    _against_growth(axes[1, 2], result)
    axes[1, 3].axis("off")
    axes[1, 3].legend(
        *axes[0, 0].get_legend_handles_labels(), loc="center", title="a-e: means, 95 %\nintervals over runs"
    )
    return figure


def _gradients(ax: Axes, result: Result, case: str, first: int, objectives: int) -> None:
    """Draw means over the runs from `first` on, and their intervals."""
    T = result.arrays["horizons"]
    for place, (name, style) in zip((-1, 0, 1), _OBJECTIVES[:objectives], strict=False):
        x = result.series(f"{case}_log10", "full", name)[:, first:]
        measured(ax, T + place * T[-1] / 50, x.mean(axis=-1), style, _interval(x), label=name)  # beside each other
    x = result.series(f"{case}_log10", "stop_gradient", "plain")[:, first:]
    measured(ax, T, x.mean(axis=-1), _STOPPED, _interval(x), label="plain,\nstop-gradient")


def _growth(ax: Axes, result: Result, case: str, first: int) -> None:
    """Draw a line of the slope that the growth of distances between nearby runs predicts."""
    T, arrays = result.arrays["horizons"], result.arrays
    late = result.config["fit_from"] <= T
    growth = np.maximum(arrays[f"{case}_lyapunov"][first:], 0).mean()
    line = result.series(f"{case}_log10", "full", "plain")[late, first:].mean() + growth * (T[late] - T[late].mean())
    theory(ax, T[late], line, 0, label="rate of\nnearby runs", linewidth=1.0)


def _shipped_digits(ax: Axes, result: Result) -> None:
    T, plain = result.arrays["digits_horizons"], result.arrays["digits_shipped_log10"]
    log = plain - result.arrays["digits_shipped_loss"] - np.log10(T)[:, None]
    for place, x, style in ((-1, plain, 1), (1, log, 2)):
        measured(ax, T + place * T[-1] / 50, x.mean(axis=-1), style, _interval(x))
    ax.set_title("d  shipped, digits")


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
    ax.set(title="f  slopes, all runs", xlabel="plain (per step)", ylabel="log, log excess")


def _against_growth(ax: Axes, result: Result) -> None:
    for rule, style in (("log-sign", 1), ("raw", 6)):
        cases = [f"{task}_{r}" for task, r in _CASES if r == rule]
        x = np.concatenate([result.arrays[f"{case}_lyapunov"] for case in cases])
        y = np.concatenate([result.series(f"{case}_slopes", "full", "plain") for case in cases])
        measured(ax, x, y, style, markersize=3, label=rule)
    ends = np.array([ax.get_xlim()[0], 0.0, ax.get_xlim()[1]])
    theory(ax, ends, np.maximum(ends, 0), 0, linewidth=0.9, label=r"$\max(0, \lambda)$")
    ax.set(title="g  and nearby runs", xlabel=r"Lyapunov number $\lambda$", ylabel="slope of plain")
    ax.legend(loc="upper left", fontsize=7, handlelength=1.8)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told, T = result.config, result.told, result.config["digits_horizons"]
    trained = "; ".join(
        f"{name} {told(f'{task}_log_sign_plain', '.3f')}, {told(f'{task}_log_sign_log', '.3f')}"
        for task, name in (("regression", "regression"), ("floor", "floor"), ("digits", "network"))
    )
    return (
        f"LSTMs of {config['hidden']} units, each run with its own. a-c: trained ones that read log and sign of the "
        f"gradient, on regressions, on least squares with a floor, on a network for 8 x 8 digits. Orders of magnitude "
        f"per step, plain and log: {trained}. Of all of these {told('exploding', '.0%')} explode (slopes above 0.02), "
        f"under the logarithm {told('exploding_log', '.0%')}; of LSTMs that read the gradient itself "
        f"{told('exploding_raw', '.0%')}. d: the LSTM that ships for digits, on fresh networks of its kind: from T = "
        f"{T[0]} to {T[-1]} plain gradients grow by {told('digits_shipped_plain', '.1f')} orders of magnitude, log "
        f"ones by {told('digits_shipped_log', '.1f')}. e: the LSTM that ships for quadratics, which reads the "
        f"gradient itself, up to the {config['converging'][1]} steps that it was trained for (dotted line): "
        f"{told('floor_shipped_plain', '.3f')} (plain), {told('floor_shipped_log', '.3f')} (log), "
        f"{told('floor_shipped_log_excess', '.3f')} (log of the excess). f, g: all runs, trained or not. On the slope "
        f"of plain that of the log has the coefficient {told('log_on_plain', '.2f')}, that of the log of the excess "
        f"{told('log_excess_on_plain', '.2f')}, of stop-gradients {told('stop_gradient_on_plain', '.2f')}; plain's "
        f"on the Lyapunov number, where positive, {told('lyapunov_rate', '.2f')}. Filled: gradient descent, "
        f"{told('descent_plain', '.3f')} (plain) and at most {told('descent_cured', '.0e')} where the log cures."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    told, T = claims.told, claims.config["digits_horizons"]
    return (
        f"shipped LSTM, quadratics with a floor: plain, log, log excess 10^{told('floor_shipped_plain', '.3f')}, "
        f"10^{told('floor_shipped_log', '.3f')}, 10^{told('floor_shipped_log_excess', '.3f')} a step; for digits: "
        f"plain grows by {told('digits_shipped_plain', '.1f')} orders, log by {told('digits_shipped_log', '.1f')}, "
        f"T = {T[0]} to {T[-1]}; {told('exploding', '.0%')} of trained log-sign runs explode; coefficients: log on "
        f"plain {told('log_on_plain', '.2f')}, plain on Lyapunov {told('lyapunov_rate', '.2f')}"
    )
