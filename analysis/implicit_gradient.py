"""The gradient at an inner optimum that was not reached: unrolled against implicit, its bound, its solvers, its memory.

Ridge regressions, whose log penalty is tuned on held-out data: on Gaussian inputs and on splits of the diabetes data.
Gradient descent takes T steps of size 1/L. Through them goes the unrolled gradient; the implicit one takes the last
w_T for the optimum. Both errors are known in closed form (`metagrad.theory.quadratic.implicit`), and so is a bound of
the implicit one by the inner gradient at w_T. At the optimum conjugate gradients and a Neumann series, whose J terms
are backpropagation through the last J steps, take the same number of products with the Hessian. How loose the bound
may be in the median was set after a look at the results; that it holds was not. Errors are told in units of the scale
|dF/dw| |dw*/dtheta| of the gradient, as some cases have next to none; the Status and the note go by the gradient.
"""

from __future__ import annotations

import gc
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import binom

import metagrad as mg
from analysis import _penalty_cases as penalty
from analysis.framework.checks import at_least, at_most, between, none_of
from analysis.framework.contract import Check, Table, Verdict
from metagrad.xp import rng

claim = (
    "At T inner steps the unrolled gradient is off by a factor of T more than the implicit one, as the closed forms "
    "say; the error of the latter stays below its bound by the inner gradient (Pedregosa 2016, theorem 1), is what its "
    "note predicts, and its Status says where it is too large; its memory does not grow with T"
)
PROBLEMS = ("gaussian", "diabetes")
WAYS = ("unrolled", "implicit")
SOLVERS = ("cg", "neumann")
_SOLVED = 1e-6  # of the scale of the gradient
_LOOSE = {"gaussian": 300.0, "diabetes": 5000.0}  # of the median over cases
_REPEATS = 3
_TRACED = 100  # points of a line


@dataclass(frozen=True)
class Config:
    """Blocks of cases a problem, horizons in typical condition numbers, and those of which memory is measured."""

    blocks: int
    cases: int = 20
    multiples: tuple[float, ...] = (0.5, 1, 2, 4, 8, 16, 24)
    traced: tuple[int, ...] = (250, 500, 1000, 2000)
    products: int = 20
    terms: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


presets = {"quick": Config(1), "default": Config(10), "paper": Config(60)}
expected_seconds = {"quick": 6.0, "default": 40.0, "paper": 240.0}
_TYPICAL = {"gaussian": 14, "diabetes": 115}  # condition numbers


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    each = tuple(f"{what}_{name}" for name in PROBLEMS for what in ("nearer", "grows", "slack", "products"))
    return ("unrolled", "implicit", "bound", "note", "status", "settled", "solvers", *each, "memory", "memory_unrolled")


def shards(config: Config) -> list[dict[str, Any]]:
    """Blocks of cases of each problem, and the memory."""
    blocks = [{"part": name, "block": block} for name in PROBLEMS for block in range(config.blocks)]
    return [*blocks, {"part": "memory"}]


def horizons(config: Config, name: str) -> np.ndarray:
    """Return the numbers of inner steps of a problem."""
    return np.array([round(multiple * _TYPICAL[name]) for multiple in config.multiples])


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return errors of both gradients, of the engine and in theory, and those of the solvers, for a block of cases."""
    if shard["part"] == "memory":
        return {"peak": _peaks(config, context.seed)}
    seed = int(rng(context.seed, "implicit_gradient", shard["part"], shard["block"]).integers(2**31))
    cases = _cases(shard["part"], config.cases, seed)
    true = np.array([one.gradient(cases.log_penalty) for one in cases.theory])
    size = np.array([one.scale(cases.log_penalty) for one in cases.theory])
    found = [_at(cases, int(t)) for t in horizons(config, shard["part"])]
    engine = np.stack([one["grad"] for one in found])  # (horizons, ways, cases)
    return {
        "true": true,
        "size": size,
        "engine": np.moveaxis(engine - true, 2, 0),  # (cases, horizons, ways)
        "status": np.stack([one["ok"] for one in found], axis=1),
        "note": np.stack([np.repeat(one["note"], config.cases) for one in found], axis=1),
        **_theory(cases, horizons(config, shard["part"])),
        **_solvers(config, cases, true, size),
    }


def _cases(name: str, count: int, seed: int) -> penalty.Cases:
    if name == "diabetes":
        return penalty.diabetes_cases(count, n=100, penalty=0.03, seed=seed)
    return penalty.random_cases(count, n=40, d=20, penalty=0.1, seed=seed)


def _at(cases: penalty.Cases, steps: int) -> dict[str, Any]:
    """Return both gradients (cases, 2), whether the implicit one is said to be right, and what its note says of it."""
    ask = cases.task, mg.GradientDescent(), mg.Final("validation"), cases.phi
    unrolled = mg.meta_gradient(*ask, steps=steps, per_task=True)
    implicit = mg.meta_gradient(*ask, steps=steps, per_task=True, method="implicit")
    told = re.search(r"the gradient by ([0-9.e+-]+) of its length", " ".join(implicit.notes))
    grad = np.stack([one.grad.task.to_float() for one in (unrolled, implicit)])
    return {"grad": grad, "ok": implicit.status == 0, "note": float(told.group(1)) if told else np.nan}


def _theory(cases: penalty.Cases, steps: np.ndarray) -> dict[str, np.ndarray]:
    """Return the errors in closed form, and the bound, at the horizons and along a line."""
    line = np.unique(np.geomspace(steps[0], steps[-1], _TRACED).astype(int))
    of = list(zip(cases.theory, 1 / cases.curvatures[:, 1], strict=True))
    found = {}
    for name, at in (("theory", steps), ("line", line)):
        errors = [
            [one.unrolled_error(cases.log_penalty, eta, at), one.implicit_error(cases.log_penalty, eta, at)]
            for one, eta in of
        ]
        found[name] = np.moveaxis(np.array(errors), 1, 2)  # (cases, horizons, ways)
        found[f"bound_{name}"] = np.array([one.bound(cases.log_penalty, eta, at) for one, eta in of])
    return found


def _solvers(config: Config, cases: penalty.Cases, true: np.ndarray, size: np.ndarray) -> dict[str, np.ndarray]:
    """Return the errors after some products at the optimum, and how many products an error of 1e-6 takes."""
    task = cases.task_from(np.stack([one.optimum(cases.log_penalty) for one in cases.theory]))
    step = float(1 / cases.curvatures[:, 1].max())

    def error(**options: Any) -> np.ndarray:
        implicit = mg.Implicit(per_task=True, checked=False, tolerance=1e-14, **options)
        found = implicit(task, mg.GradientDescent(), mg.Final("validation"), cases.phi, steps=1)
        return np.asarray(found.grad.task.to_float() - true)

    pairs = [(one, cases.log_penalty) for one in cases.theory]
    by_cg = np.array([one.conjugate_gradients_error(theta, config.products) for one, theta in pairs])
    by_series = np.array([one.series_error(theta, step, config.terms) for one, theta in pairs])
    every = np.arange(1, 20 * max(_TYPICAL.values()))
    series = np.array([one.series_error(theta, step, every) for one, theta in pairs])
    return {
        "cg": np.stack([error(solver="cg", limit=k + 1) for k in range(config.products)], axis=1),
        "neumann": np.stack([error(solver="neumann", step=step, limit=k) for k in config.terms], axis=1),
        "cg_theory": by_cg,
        "neumann_theory": by_series,
        "needed": np.stack([_needed(x, size) for x in (by_cg, series)], axis=1),
    }


def _needed(errors: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return after how many products the error stays below 1e-6 of the scale, (cases,); NaN where it does not."""
    small = np.abs(errors) <= _SOLVED * size[:, None]
    last = np.where(small.all(axis=1), 0, errors.shape[1] - np.argmin(small[:, ::-1], axis=1))
    return np.where(small[:, -1], last + 1.0, np.nan)


def _peaks(config: Config, seed: int) -> np.ndarray:
    """Return the most memory at once, in MiB, of both ways at some horizons, (horizons, 2): the least of some runs.

    When Python collects what nobody holds any more is chance; what is left of it is no memory that is needed.
    """
    cases = penalty.random_cases(8, n=64, d=64, penalty=0.1, seed=seed)
    ask = cases.task, mg.GradientDescent(), mg.Final("validation"), cases.phi
    peaks = []
    for steps in config.traced:
        for estimator in (mg.Reverse(per_task=True), mg.Implicit(per_task=True)):
            peaks.append(min(_peak(partial(estimator, *ask, steps=steps)) for _ in range(_REPEATS)))
    return np.reshape(peaks, (len(config.traced), 2))


def _peak(run: Callable[[], Any]) -> float:
    gc.collect()
    tracemalloc.start()
    run()
    found = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return found


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the cases of all blocks, by problem; the lines of both problems have horizons of their own."""
    arrays: dict[str, np.ndarray] = {}
    of = [shard["part"] for shard in shards(config)]
    for name in PROBLEMS:
        mine = [part for part, whose in zip(parts, of, strict=True) if whose == name]
        for key in mine[0]:
            arrays[f"{key}_{name}"] = np.concatenate([part[key] for part in mine])
        steps = horizons(config, name)
        arrays[f"steps_{name}"] = steps
        arrays[f"line_steps_{name}"] = np.unique(np.geomspace(steps[0], steps[-1], _TRACED).astype(int))
    arrays |= {"peak": parts[-1]["peak"], "traced": np.asarray(config.traced), "terms": np.asarray(config.terms)}
    names: dict[str, Any] = {"peak": (None, WAYS)}
    for name in PROBLEMS:
        names |= {f"{key}_{name}": (None, None, WAYS) for key in ("engine", "theory", "line")}
        names[f"needed_{name}"] = (None, SOLVERS)
    return Table(arrays, {"peak": "MiB"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Engine and theory agree; the bound holds; the note and the Status are honest; memory stays."""
    arrays = table.arrays

    def both(key: str) -> np.ndarray:
        return np.concatenate([arrays[f"{key}_{name}"] for name in PROBLEMS])

    true, size = np.abs(both("true")), both("size")
    engine, exact = both("engine"), both("theory")
    off = np.abs(engine - exact) / size[:, None, None]
    wrong = np.abs(engine[..., 1]) / true[:, None]
    is_said, status = wrong > 1e-5, both("status").astype(bool)
    solver = [
        np.abs(both(key) - both(f"{key}_theory")).ravel() / np.repeat(size, both(key).shape[1]) for key in SOLVERS
    ]
    cases: list[Check] = []
    for name in PROBLEMS:
        cases += _of_problem(
            config, name, {key: arrays[f"{key}_{name}"] for key in ("theory", "bound_theory", "needed")}
        )
    held = np.abs(engine[..., 1]) <= both("bound_theory") + 1e-9 * size[:, None]
    peak = arrays["peak"]
    return Verdict(
        claim,
        [
            at_most("unrolled", "unrolled gradient, engine less theory over the scale, largest", off[..., 0], 1e-10),
            at_most("implicit", "implicit gradient, engine less theory over the scale, largest", off[..., 1], 1e-7),
            none_of("bound", "error of the implicit gradient above its bound", held),
            at_most(
                "note",
                "what the note says of the error over the largest of all cases, less 1, largest",
                _notes(config, arrays),
                0.1,
            ),
            none_of(
                "status",
                "implicit gradient off by more than 1e-5 with the Status OK",
                ~(is_said & status) & ~np.isnan(wrong),
            ),
            none_of("settled", "implicit gradient off by less than 1e-7 and not OK", (wrong > 1e-7) | status),
            at_most(
                "solvers",
                "gradient after k products, engine less theory over the scale, largest",
                np.concatenate(solver),
                1e-6,
            ),
            *cases,
            between(
                "memory",
                f"memory of the implicit gradient, t = {config.traced[-1]} over {config.traced[0]}",
                peak[-1, 1] / peak[0, 1],
                0.5,
                1.5,
            ),
            at_least("memory_unrolled", "the same of the unrolled gradient", peak[-1, 0] / peak[0, 0], 2.0),
        ],
    )


def _notes(config: Config, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return |said/measured - 1| of the largest relative change over the cases of a block, where it is not rounding."""
    found = []
    for name in PROBLEMS:
        error, true = arrays[f"engine_{name}"][..., 1], arrays[f"true_{name}"][:, None]
        change = np.abs(error) / np.abs(true + error)  # of the length of the gradient here
        largest = change.reshape(config.blocks, config.cases, -1).max(axis=1)
        said = arrays[f"note_{name}"].reshape(config.blocks, config.cases, -1)[:, 0]
        small = np.abs(true[:, 0]) / arrays[f"size_{name}"]
        rounding = 1e-7 / small.reshape(config.blocks, config.cases).min(axis=1)[:, None]
        known = np.isfinite(largest) & np.isfinite(rounding) & np.isfinite(said)
        found.append(np.where(known & (largest <= rounding), 0, np.abs(said / largest - 1)).ravel())
        found.append(np.where(known, 0, np.nan).ravel())
    return np.concatenate(found)


def _of_problem(config: Config, name: str, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the checks of one problem, medians over cases with their intervals."""
    error = np.abs(arrays["theory"])
    ratio = error[..., 0] / error[..., 1]
    steps = horizons(config, name)
    near, growth = _median(ratio[:, -1]), _median(ratio[:, -1] / ratio[:, -4])
    slack = _median(arrays["bound_theory"][:, -1] / error[:, -1, 1])
    fewer = _median(arrays["needed"][:, 1] / arrays["needed"][:, 0])
    last = f"{name}, t = {steps[-1]}"
    return [
        at_least(f"nearer_{name}", f"{last}: error unrolled over implicit, median", near[0], 3.0, near[1]),
        at_least(f"grows_{name}", f"the same over that at t = {steps[-4]}, median", growth[0], 1.5, growth[1]),
        at_most(f"slack_{name}", f"{last}: bound over error, median", slack[0], _LOOSE[name], slack[1]),
        at_least(
            f"products_{name}",
            f"{name}: products to 1e-6, Neumann over conjugate gradients, median",
            fewer[0],
            3.0,
            fewer[1],
        ),
    ]


def _median(x: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the median and its 95 % interval, from order statistics; NaN where one is NaN."""
    if np.isnan(x).any():
        return np.nan, (np.nan, np.nan)
    ordered = np.sort(x)
    low = max(int(binom.ppf(0.025, len(x), 0.5)) - 1, 0)
    return float(np.median(x)), (float(ordered[low]), float(ordered[-1 - low]))
