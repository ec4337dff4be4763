"""Explosion and vanishing of the meta-gradient of a learned optimizer: does the log objective cure them as well?

The coordinate-wise LSTM, untrained and briefly trained, reading gradients as they are ("raw") or their logarithm and
sign ("log-sign"), on regressions without a floor, least squares with one, and a small network on 8 x 8 digits. Every
run has an LSTM and a task of its own, so intervals are over independent runs. The fully trained LSTMs that ship with
the project are one on many tasks: for quadratics (raw), and for 784-20-10 networks on digits (log-sign).
Three statements are known beforehand.
An LSTM moves a coordinate by at most u = scale (||w_out||_1 + |b_out|) a step, so losses grow as a power of T at most
(f_up below), and |G'| = |F'|/(T f) >= |F'|/(T f_up): what explodes exponentially does so under the logarithm too.
dw_T/dphi grows like the distance of two nearby runs, at the largest Lyapunov exponent lambda where that is above zero,
and like a power of T where it is not. And while f falls to a floor, 1/(T f) does not: the log objective then vanishes
like the plain one. How one slope goes with another is judged over all runs, whatever became of them.
Gradient descent is the control: there the logarithm is known to cure both, but for a floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from analysis._learned_cases import descent, learned, shipped_digits, shipped_quadratics
from analysis._learned_lines import coefficient, per_step
from analysis._learned_runs import KINDS
from analysis.framework.checks import at_least, at_most, between, mean_interval, none_of, reported, share_interval
from analysis.framework.contract import Check, Names, Table, Verdict

claim = (
    "The log fix carries over to learned optimizers in part: while the LSTM that ships for quadratics converges to a "
    "floor, the plain meta-gradient vanishes, and that of the log too, but that of the log of the excess does not; "
    "LSTMs that read log|g| and sgn g make the optimizee chaotic, a quarter of them at least, and then plain, log and "
    "log-excess gradients explode alike, at the rate at which nearby runs part; the gradients of the one that ships "
    "for digits more than double over the horizons it was trained for, under the logarithm as well (open in Wang et "
    "al. 2021)"
)
CASES = (  # the longest first
    ("digits", "log-sign"),
    *((task, rule) for task in ("regression", "floor") for rule in ("raw", "log-sign")),
)
BESIDE = (("digits", "shipped"), ("floor", "shipped"), ("regression", "descent"), ("floor", "descent"))
OBJECTIVES = ("plain", "log", "log excess")
WITH_FLOOR = ("regression", "floor")  # where it is known; that of a network's loss is not
LIMIT = 0.02  # orders of magnitude a step: a factor of 10 in 50 steps
OFTEN, RARE = 1 / 4, 1 / 3  # shares of runs: at least, of those that read log and sign; at most, of the others
ALIKE = (2 / 3, 3 / 2)  # the coefficient of a slope on another that goes with it; 0 where it does not


@dataclass(frozen=True)
class Config:
    """Runs, units of the LSTM, horizons (slopes from `fit_from` on), episodes of training, and sizes of the tasks."""

    runs: tuple[int, int]  # untrained, and as many trained: on least squares, on digits
    shipped: tuple[int, int]  # runs of the LSTM that ships for quadratics, for digits
    hidden: int
    horizons: tuple[int, ...]
    digits_horizons: tuple[int, ...]  # of the shipped LSTM for digits
    episodes: tuple[int, int]  # least squares, digits
    units: int  # of the small network
    images: int
    fit_from: int = 40
    converging: tuple[int, int] = (10, 100)  # the shipped LSTM's slopes are over these: it was trained for 100 steps
    d: int = 10
    batch: int = 32
    training_horizon: int = 60
    window: int = 20


_LONG = (5, 10, 20, 40, 80, 100, 160, 240, 320)
_DIGITS = (5, 10, 20, 40, 80)
# Quick: of 8 shipped runs on digits the mean growth was too uncertain at one seed in ten or so.
presets = {
    "quick": Config((8, 3), (8, 16), 6, (10, 40, 100), (5, 40), (10, 6), 3, 100, training_horizon=40),
    "default": Config((12, 6), (12, 12), 10, _LONG, _DIGITS, (80, 30), 5, 500),
    "paper": Config((32, 12), (32, 32), 20, (*_LONG, 640, 1000), (*_DIGITS, 100), (300, 100), 20, 1000),
}
expected_seconds = {"quick": 24.0, "default": 200.0, "paper": 3500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    control = ("descent_plain", "descent_floor_plain", "descent_floor_log", "descent_cured")
    engine = ("scaled_lost", "engines_apart", "silent", "float64_lost", "float32_lost")
    rates = ("bound", "lyapunov_rate", "lyapunov_apart")
    rates += ("log_on_plain", "log_excess_on_plain", "mean_log_on_plain", "stop_gradient_on_plain")
    shares = ("exploding", "exploding_log", "exploding_log_excess", "exploding_raw", "exploding_stop_gradient")
    digits = ("digits_shipped_plain", "digits_shipped_log")
    floor = ("floor_shipped_plain", "floor_shipped_log", "floor_shipped_log_apart", "floor_shipped_log_excess")
    return (*control, *engine, *rates, *shares, *digits, *floor, *(key for key, *_ in _measured()))


def _measured() -> list[tuple[str, str, str, str]]:
    """Return the slopes that are reported of trained runs: key, task, what the LSTM reads, objective."""
    found = []
    for task, rule in CASES:
        for name in OBJECTIVES if task in WITH_FLOOR else OBJECTIVES[:2]:
            if rule == "log-sign":
                found.append((word(f"{task}_{rule}_{name}"), task, rule, name))
    return found


def word(name: str) -> str:
    """Return a name as part of a key."""
    return name.replace("-", "_").replace(" ", "_")


def shards(config: Config) -> list[dict[str, Any]]:
    """One task and rule each: what the LSTM reads, the shipped one, or gradient descent."""
    return [{"task": task, "rule": rule} for task, rule in (*CASES, *BESIDE)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return log10 of the gradient norms, and what explains them."""
    task, rule, seed = shard["task"], shard["rule"], context.seed
    if rule == "descent":
        return descent(config, task, seed)
    if rule == "shipped":
        return shipped_digits(config, seed) if task == "digits" else shipped_quadratics(config, seed)
    return learned(config, task, rule, seed)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by case, and the slopes of log10 |gradient| a step (kinds, objectives, runs)."""
    arrays: dict[str, np.ndarray] = {
        "horizons": np.asarray(config.horizons),
        "digits_horizons": np.asarray(config.digits_horizons),
    }
    for shard, part in zip(shards(config), parts, strict=True):
        case = f"{shard['task']}_{shard['rule']}"
        arrays |= {f"{case}_{name}": array for name, array in part.items() if name != "mean_log"}
        if case != "digits_shipped":
            arrays |= _slopes(config, case, part)
    per_step = {name: "orders of magnitude per step" for name in arrays if name.endswith(("slopes", "lyapunov"))}
    return Table(arrays, per_step, _names(arrays))


def _slopes(config: Config, case: str, part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the slopes of a case: over the late horizons, or while a shipped LSTM converges."""
    T = np.asarray(config.horizons)
    first, last = config.converging if case.endswith("shipped") else (config.fit_from, config.horizons[-1])
    of = {"slopes": "log10", "mean_log_slopes": "mean_log"}
    return {f"{case}_{name}": per_step(T, part[size], first, last) for name, size in of.items() if size in part}


def _names(arrays: dict[str, np.ndarray]) -> dict[str, Names]:
    """Return the names of what the arrays of a case are about, by how they end."""
    engines = ("scaled, float64", "plain, float64", "plain, float32")
    found: dict[str, Names] = {}
    for name, array in arrays.items():
        if name.endswith(("_log10", "_slopes")) and array.ndim > 2:
            found[name] = (KINDS[: len(array)], OBJECTIVES)
        elif name.endswith("_lost"):
            found[name] = (engines,)
        elif name.endswith("_status"):
            found[name] = (engines[1:],)
    return found


def verdict(config: Config, table: Table) -> Verdict:
    """What theory says beforehand, and what the claim says; slopes of single cases are reported."""
    arrays = table.arrays
    checks = _control_checks(config, arrays) + _engine_checks(arrays) + _rate_checks(config, arrays)
    checks += _share_checks(config, arrays) + _digits_checks(arrays) + _shipped_checks(config, arrays)
    for key, task, rule, name in _measured():
        runs = config.runs[task == "digits"]
        of = arrays[f"{task}_{rule}_slopes"][0, OBJECTIVES.index(name), runs:]
        checks.append(_mean(key, f"{task}, {rule}, trained: mean slope, {name}", of))
    return Verdict(claim, checks)


def _mean(key: str, what: str, of: np.ndarray) -> Check:
    return reported(key, what, of.mean(), mean_interval(of))


def _control_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return what is known of gradient descent: beyond 2/L |F'| ~ T (3/2)^(2T) once the first mode outgrows the
    others, and no faster, and |G'| is bounded; with a floor the log objective vanishes like the plain one, by 1/T
    beside it, and the log of the excess does not."""
    up, down = (arrays[f"{task}_descent_slopes"][0] for task in WITH_FLOOR)
    T = np.asarray(config.horizons, dtype=float)[:, None]
    late = config.fit_from, config.horizons[-1]
    exact, power = (float(per_step(T[:, 0], of, *late)[0]) for of in (np.log10(T) + 2 * T * np.log10(1.5), np.log10(T)))
    cured = np.abs([up[1], down[2]])
    return [
        between("descent_plain", "descent at 2.5/L: slope, plain, all runs", up[0], 0.9 * exact, 1.001 * exact),
        at_most("descent_floor_plain", "descent with a floor: largest slope, plain", down[0], -LIMIT),
        at_most(
            "descent_floor_log",
            "descent with a floor: slope of log apart from that of plain / T, largest",
            np.abs(down[1] - down[0] + power),
            LIMIT / 4,
        ),
        at_most("descent_cured", "descent where the log cures: largest slope", cured, LIMIT / 4),
    ]


def _engine_checks(arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return whether the engine keeps every gradient, and says so where plain numbers lose one."""
    lost, status = (_all(arrays, name) for name in ("lost", "status"))
    kept = np.isfinite(_all(arrays, "log10")[:, 0])
    error, count = np.concatenate([_all(arrays, f"{name}_error") for name in ("plain", "log")]), lost.shape[1]
    return [
        none_of("scaled_lost", "gradients that the engine with exponents loses", kept),
        at_most("engines_apart", "log10 |gradient|: engines apart, and log from plain / (T f), largest", error, 1e-7),
        none_of("silent", "plain engines: gradients lost with status OK", ~lost[1:] | (status != 0)),
        reported("float64_lost", f"plain float64: runs whose gradient is lost, of {count}", lost[1].sum()),
        reported("float32_lost", f"plain float32: runs whose gradient is lost, of {count}", lost[2].sum()),
    ]


def _rate_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the bound, and how slopes go with Lyapunov numbers and with each other, over all runs."""
    T = np.asarray(config.horizons, dtype=float)
    late = config.fit_from, config.horizons[-1]
    power = float(per_step(T, np.log10(T)[:, None], *late)[0])
    log10, loss, bound = (_all(arrays, name) for name in ("log10", "loss", "bound"))
    apart = log10[0, 1] - (log10[0, 0] - np.log10(T)[:, None] - bound)  # log10 of f_up/f
    plain, growth = _all(arrays, "slopes")[0, 0], np.maximum(_all(arrays, "lyapunov"), 0)
    known = _all(arrays, "slopes", tuple(case for case in CASES if case[0] in WITH_FLOOR))[0]
    pairs = {
        "log": (plain, _all(arrays, "slopes")[0, 1]),
        "log excess": (known[0], known[2]),
        "mean log": (plain, _all(arrays, "mean_log_slopes")),
    }
    count = f"all {plain.size} runs"
    found = [
        none_of("bound", "losses above f_up, or log gradients below |F'|/(T f_up)", (loss <= bound) & (apart >= -1e-9)),
        _alike("lyapunov_rate", f"slope, plain, on max(0, Lyapunov number): coefficient over {count}", growth, plain),
        between(
            "lyapunov_apart",
            f"slope, plain, less max(0, Lyapunov number): mean of {count}",
            (plain - growth).mean(),
            -2 * power,
            2 * power,
            mean_interval(plain - growth),
            said=f"no more than T^2: {2 * power:.3g} on either side",
        ),
    ]
    for name, (x, y) in pairs.items():
        what = f"slope, {name}, on that of plain: coefficient over all {x.size} runs"
        found.append(_alike(f"{word(name)}_on_plain", what, x, y))
    value, interval = coefficient(plain, _all(arrays, "slopes")[1, 0])
    what = f"slope, plain with stop-gradients, on that of plain: coefficient over {count}"
    return [*found, between("stop_gradient_on_plain", what, value, -1 / 3, 1 / 3, interval)]


def _alike(key: str, what: str, x: np.ndarray, y: np.ndarray) -> Check:
    value, interval = coefficient(x, y)
    return between(key, what, value, *ALIKE, interval)


def _share_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how many of the trained runs explode, with Clopper and Pearson's intervals."""
    found = []
    for name in OBJECTIVES:
        tasks = [task for task, rule in CASES if rule == "log-sign" and (name != "log excess" or task in WITH_FLOOR)]
        of = [arrays[f"{task}_log-sign_slopes"][0, :, config.runs[task == "digits"] :] for task in tasks]
        x = np.concatenate(of, axis=-1)[OBJECTIVES.index(name)]
        key = "exploding" + f"_{word(name)}" * (name != "plain")
        what = f"share of {x.size} trained log-sign runs with a slope above {LIMIT}, {name}"
        share, interval = _share(x)
        found.append(at_least(key, what, share, OFTEN, interval))
    raw = _all(arrays, "slopes", tuple(case for case in CASES if case[1] == "raw"))[0, 0]
    stopped = np.abs(_all(arrays, "slopes")[1, 0])
    what = f"share of {raw.size} raw runs with a slope above {LIMIT}, plain"
    (share, interval), (beyond, wide) = _share(raw), _share(stopped)
    return [
        *found,
        at_most("exploding_raw", what, share, RARE, interval),
        reported(
            "exploding_stop_gradient",
            f"share of {stopped.size} runs, all, with a slope of more than {LIMIT} in size, stop-gradients",
            beyond,
            wide,
        ),
    ]


def _share(x: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the share of slopes above LIMIT, and its interval; NaN where a slope is none."""
    if np.isnan(x).any():
        return np.nan, (np.nan, np.nan)
    return float((x > LIMIT).mean()), _interval(int((x > LIMIT).sum()), x.size)


@cache
def _interval(count: int, size: int) -> tuple[float, float]:
    return share_interval(np.arange(size) < count)


def _digits_checks(arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return how the gradient of the LSTM that ships for digits grows from the first to the last horizon."""
    T, plain = arrays["digits_horizons"].astype(float), arrays["digits_shipped_log10"]
    log = plain - arrays["digits_shipped_loss"] - np.log10(T)[:, None]
    found = []
    for name, of in (("plain", plain), ("log", log)):
        growth = of[-1] - of[0]
        what = f"digits, shipped: orders that |gradient|, {name}, grows by, T = {T[0]:.0f} to {T[-1]:.0f}"
        what += f": mean of {growth.size} runs"
        found.append(at_least(f"digits_shipped_{name}", what, growth.mean(), np.log10(2), mean_interval(growth)))
    return found


def _shipped_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the slopes of the LSTM that ships for quadratics while it converges to a floor."""
    plain, log, excess = arrays["floor_shipped_slopes"][0]
    T = np.asarray(config.horizons, dtype=float)
    apart = log - plain + per_step(T, np.log10(T)[:, None], *config.converging)[0]
    of, half = f"mean of {plain.size} tasks", LIMIT / 2
    known = f"slope of log apart from that of plain / T, {of}"
    return [
        at_most(
            "floor_shipped_plain", f"floor, shipped: slope, plain, {of}", plain.mean(), -half, mean_interval(plain)
        ),
        at_most("floor_shipped_log", f"floor, shipped: slope, log, {of}", log.mean(), -half, mean_interval(log)),
        between("floor_shipped_log_apart", f"floor, shipped: {known}", apart.mean(), -half, half, mean_interval(apart)),
        between(
            "floor_shipped_log_excess",
            f"floor, shipped: slope, log excess, {of}",
            excess.mean(),
            -half,
            LIMIT,
            mean_interval(excess),
        ),
    ]


def _all(arrays: dict[str, np.ndarray], name: str, cases: tuple[tuple[str, str], ...] = CASES) -> np.ndarray:
    return np.concatenate([arrays[f"{task}_{rule}_{name}"] for task, rule in cases], axis=-1)
