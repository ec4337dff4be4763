"""Chebyshev's schedule, learned by gradient as a minimax over eigenvalues, and what the order of its steps costs.

The worst factor of t steps over the eigenvalues [m, M] is least for Chebyshev's schedule. It is learned here from a
straight line: first BFGS on a mean of high powers of the error over a grid of eigenvalues, then a minimax, in which the
worst eigenvalues are found anew in each round and the steps follow the engine's gradients there, one a task, until all
of them are equally bad (Remez's exchange, with meta-gradients as its derivatives). The best round is kept.
In any order the last error is the same. On a diagonal H the engine is asked for the log of the loss and its gradient in
three orders; on a dense H plain float64 takes the steps, where rounding leaks from one eigenvalue to the others. The
bounds on these errors were set after a first look at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis._average_tasks import line
from analysis._minimise import minimised
from analysis.framework.checks import at_least, at_most, between, none_of
from analysis.framework.contract import Table, Verdict
from metagrad.theory.quadratic import Spectrum
from metagrad.theory.quadratic.schedule import d_schedule_objective, schedule_objective
from metagrad.theory.schedules import chebyshev
from metagrad.xp import rng

claim = (
    "Learned by gradient as a minimax over eigenvalues, a schedule ends at Chebyshev's, in float64 and in float32. In "
    "the fractal order (Lebedev and Finogenov 1971; Agarwal, Goel and Zhang 2021) no prefix grows beyond the condition "
    "number; the largest steps first, or last, leave nothing of a dense problem in float64. The engine's scaled states "
    "and gradients are right in every order; plain float32 loses two of three."
)
DTYPES = ("float64", "float32")
_GRID = 40  # eigenvalues of the problems in several orders
_FINE = 20_001  # where the worst eigenvalues are looked for
_ROUNDS = 12
_POWERS = (1, 2, 4)  # of the squared error, in turn; float32 stops at 2


@dataclass(frozen=True)
class Config:
    """The learned case, the sizes (t, condition) at which orders are compared, and rotations of the dense problem."""

    rotations: int
    steps: int = 16
    condition: float = 100.0
    sizes: tuple[tuple[int, float], ...] = ((16, 1e2), (64, 1e3), (128, 1e4))


presets = {"quick": Config(3), "default": Config(20), "paper": Config(200)}
expected_seconds = {"quick": 8.0, "default": 12.0, "paper": 60.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    learned = ("learned_float64", "learned_float32", "line")
    return (*learned, "fractal", "ordered", "scaled_float64", "scaled_float32", "plain", "dense_fractal", "dense_other")


def shards(config: Config) -> list[dict[str, Any]]:
    """A dtype to learn in, or a size at which orders are compared, each."""
    return [{"dtype": dtype} for dtype in DTYPES] + [{"size": k} for k in range(len(config.sizes))]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the learned steps and the worst factors on the way; or ranges and errors by order."""
    if "dtype" in shard:
        return _learned(config, np.dtype(shard["dtype"]))
    steps, condition = config.sizes[shard["size"]]
    stream = rng(context.seed, "chebyshev", steps)
    found = [_of_order(config, steps, condition, order, stream) for order in chebyshev.ORDERS]
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def _learned(config: Config, dtype: Any) -> dict[str, np.ndarray]:
    """Return the best steps (t,), and log10 of the worst factor over the best, less 1: of the line, and each stage."""
    ends = {"smallest": 1.0, "largest": config.condition}
    least = float(chebyshev.chebyshev_factor(config.steps, **ends).to_float())
    etas = line(config.steps, 2 / (1 + config.condition))
    path = [etas]
    for power in _POWERS[: 3 if dtype == np.float64 else 2]:
        etas = _on_powers(config, etas, power, dtype)
        path.append(etas)
    for _ in range(_ROUNDS):
        etas = _exchanged(config, etas, dtype)
        path.append(etas)
    worst = np.array([float(chebyshev.worst_factor(one.astype(dtype), **ends).to_float()) for one in path])
    kept = path[int(np.argmin(worst))]
    trace = np.full(1 + len(_POWERS) + _ROUNDS, np.nan)
    trace[: len(worst)] = worst / least - 1
    return {
        "etas": np.sort(kept)[::-1],
        "worst": np.array(worst.min()),
        "trace": trace,
        "best": chebyshev.chebyshev_schedule(config.steps, **ends, order="large_first"),
        "least": np.array(least),
    }


def _on_powers(config: Config, etas: np.ndarray, power: int, dtype: Any) -> np.ndarray:
    """Return where BFGS ends on the log of the mean of |error|^(2 power) over a grid of eigenvalues."""
    s = _nodes(6 * config.steps + 1, config.condition)
    task = mg.Quadratic(np.diag(s).astype(dtype), np.ones(len(s), dtype))
    rule, loss = mg.Scheduled(mg.GradientDescent()), mg.LogFinal(lambda w: np.mean(w ** (2 * power), axis=-1))

    def objective(phi: np.ndarray) -> tuple[float, np.ndarray]:
        asked = mg.GradientDescent.Phi(phi.astype(dtype))
        found = mg.meta_gradient(task, rule, loss, asked, steps=len(phi))
        return float(found.value.to_float()[0]), found.grad.eta.to_float().astype(float)

    return minimised(objective, etas)[0]


def _exchanged(config: Config, etas: np.ndarray, dtype: Any) -> np.ndarray:
    """Return steps whose errors at the worst eigenvalues are equal to first order, by a gradient for each of these."""
    steps = len(etas)
    s = _worst_nodes(etas, config.condition)
    task = mg.Quadratic(s[:, None, None].astype(dtype), np.sqrt(2 / s)[:, None].astype(dtype))
    phi = mg.GradientDescent.Phi(np.repeat(etas.astype(dtype)[:, None, None], len(s), axis=1))
    rule = mg.Scheduled(mg.GradientDescent())
    found = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=steps, per_task=True)
    logs = found.value.to_float().astype(float)
    slopes = found.grad.eta.to_float().astype(float)[:, :, 0].T * etas  # in the logs of the steps, a row a task
    level = np.hstack([slopes, -np.ones((len(s), 1))])
    move = np.linalg.lstsq(level, -logs, rcond=None)[0][:steps]
    return etas * np.exp(move * min(1.0, 0.3 / np.abs(move).max()))


def _nodes(count: int, condition: float) -> np.ndarray:
    return (1 + condition) / 2 - (condition - 1) / 2 * np.cos(np.linspace(0, np.pi, count))


def _worst_nodes(etas: np.ndarray, condition: float) -> np.ndarray:
    """Return both ends and the eigenvalues between them at which the error is largest."""
    s = _nodes(_FINE, condition)
    error = np.abs(np.prod(1 - s[:, None] * etas, axis=1))
    inner = 1 + np.flatnonzero((error[1:-1] >= error[:-2]) & (error[1:-1] > error[2:]))
    return s[np.concatenate([[0], inner, [len(s) - 1]])]


def _of_order(
    config: Config, steps: int, condition: float, order: Any, stream: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return log10 of the largest prefix and suffix, errors of engine and plain floats, and of dense descent."""
    ends = {"smallest": 1.0, "largest": condition}
    etas = chebyshev.chebyshev_schedule(steps, **ends, order=order)
    s = _nodes(_GRID, condition)
    errors = [[_engine_error(etas, s, np.dtype(dtype), how) for how in ("auto", "none")] for dtype in DTYPES]
    return {
        "prefix": np.array(chebyshev.largest_prefix(etas, **ends).log10),
        "suffix": np.array(chebyshev.largest_suffix(etas, **ends).log10),
        "engine": np.array(errors),
        "dense": np.array([_dense_error(etas, s, stream) for _ in range(config.rotations)]),
    }


def _engine_error(etas: np.ndarray, s: np.ndarray, dtype: Any, scaling: Any) -> float:
    """Return the larger error of the log of the loss, and of its gradient relative to the largest entry."""
    task = mg.Quadratic(np.diag(s.astype(dtype)), np.ones(len(s), dtype))
    phi = mg.GradientDescent.Phi(etas.astype(dtype))
    rule = mg.Scheduled(mg.GradientDescent())
    found = mg.meta_gradient(task, rule, mg.LogFinal(), phi, steps=len(etas), scaling=scaling)
    spectrum = Spectrum.diagonal(s.astype(dtype).astype(float), np.ones(len(s)))
    rounded = etas.astype(dtype).astype(float)
    exact = schedule_objective(spectrum, rounded)
    slope = (d_schedule_objective(spectrum, rounded) / exact).to_float() / len(etas)
    of_value = abs(float(found.value.to_float()[0]) - float(exact.log) / len(etas))
    of_slope = np.max(np.abs(found.grad.eta.to_float() - slope)) / np.max(np.abs(slope))
    return float(np.maximum(of_value, of_slope))


def _dense_error(etas: np.ndarray, s: np.ndarray, stream: np.random.Generator) -> float:
    """Return log10 of the relative error of w_t on a random rotation of the eigenvalues, in plain float64."""
    Q, _ = np.linalg.qr(stream.standard_normal((len(s), len(s))))
    H, w = (Q * s) @ Q.T, Q @ np.ones(len(s))
    for eta in etas:
        w = w - eta * (H @ w)
    exact = np.prod(1 - etas[:, None] * s, axis=0)
    return float(np.log10(np.linalg.norm(Q.T @ w - exact) / np.linalg.norm(exact)))


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return what was learned by dtype, and what the orders do by size."""
    learned, orders = parts[: len(DTYPES)], parts[len(DTYPES) :]
    arrays = {name: np.stack([part[name] for part in learned]) for name in learned[0]}
    arrays |= {name: np.stack([part[name] for part in orders]) for name in orders[0]}
    arrays |= {"t": np.array([t for t, _ in config.sizes]), "condition": np.array([k for _, k in config.sizes])}
    by_order = (None, tuple(chebyshev.ORDERS))
    names: dict[str, Any] = dict.fromkeys(("prefix", "suffix", "dense"), by_order)
    names |= {"engine": (*by_order, DTYPES, ("scaled", "plain")), "etas": (DTYPES,), "trace": (DTYPES,)}
    return Table(arrays, {"prefix": "log10", "suffix": "log10", "dense": "log10"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """The learned schedule is Chebyshev's; fractal order keeps the range; the engine is right in every order."""
    a = table.arrays
    orders = list(chebyshev.ORDERS)
    fractal, others = orders.index("fractal"), [orders.index(o) for o in orders if o != "fractal"]
    range_of = np.maximum(a["prefix"], a["suffix"])
    dense = np.median(a["dense"], axis=-1)
    eps = np.log10(np.finfo(np.float64).eps)
    plain = a["engine"][-1, others, 1, 1]  # the largest size, float32
    said = "engine, all orders and sizes: largest error of log loss and relative error of its gradient"
    growth = 10 ** (a["prefix"][:, fractal] - np.log10(a["condition"]))
    surplus = (dense - (range_of + eps))[:, others]
    return Verdict(
        claim,
        [
            at_most(
                "learned_float64",
                "learned: worst factor over Chebyshev's, less 1",
                a["worst"][0] / a["least"][0] - 1,
                1e-6,
            ),
            at_most(
                "learned_float32",
                "learned in float32: worst factor less Chebyshev's",
                a["worst"][1] - a["least"][1],
                1e-6,
            ),
            at_least("line", "before: worst factor of the line over Chebyshev's, less 1", a["trace"][:, 0], 1.0),
            at_most("fractal", "fractal order: largest prefix over the condition number, all sizes", growth, 1.0),
            at_least("ordered", "largest or smallest first: log10 of the largest range", range_of[-1, others], 60.0),
            at_most("scaled_float64", said, a["engine"][:, :, 0, 0], 1e-10),
            at_most("scaled_float32", f"{said}, float32", a["engine"][:, :, 1, 0], 5e-3),
            none_of("plain", "plain float32, largest size: right to 1 % in an order but the fractal", ~(plain < 0.01)),
            at_most("dense_fractal", "dense, fractal order: log10 error of w_t, all", a["dense"][:, fractal], -10.0),
            between(
                "dense_other", "dense, other orders: log10 error less that of eps times the range", surplus, -2.0, 2.0
            ),
        ],
    )
