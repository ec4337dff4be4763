"""With noise the best schedule needs weight decay: tuned with it and without it, at the limit, finite d and real data.

Least squares in the limit d/n -> gamma, w_0 = 0, T steps. The best polynomial of the theory is descent on the loss
with weight decay delta = gamma sigma^2/E||w*||^2. The engine tunes steps and decay from a straight line, by BFGS on its
gradient of the log of the excess over the Bayes risk, and steps alone likewise. Up to a noise that theory has for each
T, steps alone reach the same risk; beyond it their best zeros are complex, and they stall. Gaussian samples of finite
size take both schedules of the limit. On real data (diabetes, with products of inputs) constant step, schedule, and
schedule with decay are tuned on validation samples. That the last two differ by at most a tenth there was set after a
first look, which had them apart by some per cent, either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis._average_tasks import line, tuned
from analysis._decayed_samples import RUNS, gaussian_risks, real_errors
from analysis.framework.checks import agrees, at_least, at_most, between, mean_interval, none_of
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import schedules
from metagrad.theory.schedules import AverageCase, descent, proportional, regimes
from metagrad.xp import rng

claim = (
    "With noise the best t steps of descent are steps on the loss with weight decay: tuned by gradient, the two "
    "reach the least risk that any polynomial of degree t - 1 has, which falls to the Bayes risk at a predicted rate "
    "(derived). Steps alone reach it up to a predicted noise, and beyond it stall above it. Gaussian samples agree; on "
    "diabetes with 64 inputs decay changes the test error of a tuned schedule by less than a tenth."
)
_EXTRA = 12  # nodes beyond T: the Bayes risk of the rule of N nodes is off by rho^2N
_SPREADS = ((1.1, 0.9), (3.0, 0.4))  # starts of steps alone, which may end in local minima


@dataclass(frozen=True)
class Config:
    """The case and its horizons, the cases about the boundary, finite sizes, and real data."""

    steps: tuple[int, ...]
    edges: tuple[tuple[float, int], ...]
    dimensions: tuple[int, ...]
    matrices: int
    targets: int
    blocks: int
    splits: int
    gamma: float = 0.5
    sigma: float = 1.0
    factors: tuple[float, ...] = (0.5, 2.0)
    finite_steps: int = 4
    real: str = "products"
    real_samples: int = 64
    real_steps: int = 5


presets = {
    "quick": Config((2, 4, 6), ((0.5, 2), (2.0, 3)), (100, 200), 8, 16, blocks=4, splits=4),
    "default": Config(
        (2, 4, 6, 8, 12, 16),
        ((0.5, 2), (0.5, 4), (1.0, 3), (1.0, 4), (2.0, 3), (2.0, 5)),
        (100, 300, 1000),
        16,
        32,
        8,
        8,
    ),
    "paper": Config(
        (2, 4, 6, 8, 10, 12, 14, 16),
        tuple((gamma, steps) for gamma in (0.25, 0.5, 1.0, 2.0, 4.0) for steps in (2, 3, 4, 5, 6)),
        (100, 300, 1000),
        64,
        64,
        32,
        12,
    ),
}
expected_seconds = {"quick": 15.0, "default": 150.0, "paper": 1500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    limit = ("least", "four_steps", "rate", "alone", "stalls", "theory_alone")
    return (*limit, "below", "above", *(f"finite_{d}" for d in config.dimensions), "finite_gain", "real_decay")


def shards(config: Config) -> list[dict[str, Any]]:
    """A horizon, a case at the boundary, a finite size, or a block of splits each."""
    found: list[dict[str, Any]] = [{"kind": "limit", "steps": steps} for steps in config.steps]
    found += [
        {"kind": "edge", "gamma": gamma, "steps": steps, "factor": factor}
        for gamma, steps in config.edges
        for factor in config.factors
    ]
    found += [{"kind": "finite", "d": d} for d in config.dimensions]
    return found + [{"kind": "real", "block": block} for block in range(config.blocks)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the risks of one shard."""
    if shard["kind"] == "limit":
        return _in_the_limit(config.gamma, config.sigma, shard["steps"])
    if shard["kind"] == "edge":
        noise = shard["factor"] * regimes.boundary_noise(shard["gamma"], shard["steps"])
        found = _in_the_limit(shard["gamma"], float(np.sqrt(noise)), shard["steps"], decayed=False)
        return found | {"noise": np.array(noise)}
    if shard["kind"] == "finite":
        return _finite(config, shard["d"], rng(context.seed, "schedule_and_decay", "finite", shard["d"]))
    stream = rng(context.seed, "schedule_and_decay", "real", shard["block"])
    return {"errors": real_errors(config.real, config.real_samples, config.splits, config.real_steps, stream)}


def _in_the_limit(gamma: float, sigma: float, steps: int, *, decayed: bool = True) -> dict[str, np.ndarray]:
    """Return risk and excess of what the engine tunes, with decay where asked for and without, and of the theory."""
    problem = AverageCase.limit(gamma, steps + _EXTRA, sigma=sigma)
    middle = 1 / (1 + gamma)
    alone = [tuned(problem, line(steps, middle, ends), None)[0] for ends in _SPREADS]
    etas = min(alone, key=lambda one: float(schedules.excess_risk(problem, one).log))
    found = {
        "alone": schedules.risk(problem, etas).to_float(),
        "alone_theory": schedules.risk(problem, descent.best_without_decay(problem, steps)).to_float(),
        "best": proportional.best_risk(steps, gamma=gamma, sigma=sigma),
    }
    if decayed:
        with_decay, decay = tuned(problem, line(steps, middle), 0.1)
        found |= {
            "risk": schedules.risk(problem, with_decay, decay=decay).to_float(),
            "log_excess": schedules.excess_risk(problem, with_decay, decay=decay).log,
            "decay": np.array(decay),
        }
    return {name: np.asarray(value) for name, value in found.items()}


def _finite(config: Config, d: int, stream: np.random.Generator) -> dict[str, np.ndarray]:
    """Return mean risks (X, 2) on Gaussian samples: of the limit's schedule with decay, and of its steps alone."""
    about = {"gamma": config.gamma, "sigma": config.sigma}
    etas = proportional.best_schedule(config.finite_steps, **about)
    alone = descent.best_without_decay(_problem(config), config.finite_steps)
    one = [gaussian_risks(d, etas, config.targets, stream, **about, alone=alone) for _ in range(config.matrices)]
    return {"risks": np.stack(one)}


def _problem(config: Config) -> AverageCase:
    return AverageCase.limit(config.gamma, config.finite_steps, sigma=config.sigma)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the limit by horizon, the cases at the boundary, the risks by d, the test errors, and theory's lines."""
    kinds = [shard["kind"] for shard in shards(config)]
    of = {kind: [part for part, own in zip(parts, kinds, strict=True) if own == kind] for kind in dict.fromkeys(kinds)}
    arrays = {f"limit_{name}": np.stack([part[name] for part in of["limit"]]) for name in of["limit"][0]}
    shape = len(config.edges), len(config.factors)
    arrays |= {f"edge_{name}": np.stack([p[name] for p in of["edge"]]).reshape(shape) for name in of["edge"][0]}
    arrays |= {"finite": np.stack([part["risks"] for part in of["finite"]])}
    arrays |= {"errors": np.stack([part["errors"] for part in of["real"]])}
    arrays |= {"steps": np.asarray(config.steps), "dimensions": np.asarray(config.dimensions)}
    arrays |= {
        "edge_gamma": np.array([g for g, _ in config.edges]),
        "edge_steps": np.array([t for _, t in config.edges]),
    }
    about = {"gamma": config.gamma, "sigma": config.sigma}
    arrays["bayes"] = np.asarray(proportional.bayes_risk(**about))
    arrays["log_rate"] = np.asarray(proportional.log_rate(**about))
    arrays["finite_theory"] = np.array(
        [
            proportional.best_risk(config.finite_steps, **about),
            schedules.risk(
                _problem(config), descent.best_without_decay(_problem(config), config.finite_steps)
            ).to_float(),
        ]
    )
    arrays["lines_gamma"] = np.geomspace(0.1, 10.0, 61)
    arrays["lines_steps"] = np.array([2, 3, 4, 6, 8, 16])
    arrays["lines"] = np.array(
        [[regimes.boundary_noise(float(g), int(t)) for g in arrays["lines_gamma"]] for t in arrays["lines_steps"]]
    )
    kinds_of = ("steps and decay", "steps")
    names = {"finite": (None, None, kinds_of), "finite_theory": (kinds_of,), "errors": (None, RUNS)}
    return Table(arrays, {"errors": "variances of the target", "lines": "variance of the noise"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Steps and decay reach the least risk at the rate; steps alone up to the boundary; samples and real data agree."""
    a = table.arrays
    return Verdict(claim, [*_limit_checks(config, a), *_edge_checks(a), *_finite_checks(config, a), _real_check(a)])


def _limit_checks(config: Config, a: dict[str, np.ndarray]) -> list[Check]:
    risk, alone, best = a["limit_risk"], a["limit_alone"], a["limit_best"]
    four = config.steps.index(4)
    fitted = np.polyfit(a["steps"], a["limit_log_excess"], 1)[0]
    apart = np.abs(alone - a["limit_alone_theory"])
    return [
        at_most("least", "steps and decay: risk less the least of any polynomial, largest", np.abs(risk - best), 1e-8),
        at_most("four_steps", "steps and decay: risk at t = 4, off 17/41 by", abs(risk[four] - 17 / 41), 1e-8),
        between(
            "rate", "slope of the log of the excess over t, in 2 log rho", fitted / (2 * a["log_rate"]), 0.95, 1.05
        ),
        between("alone", "steps alone: risk at t = 4", alone[four], 0.429985, 0.429995, said="0.42999"),
        at_least("stalls", "steps alone: risk above that with decay, least over t", alone - risk, 0.005),
        at_most("theory_alone", "steps alone: risk less the best that theory finds, largest", apart, 1e-8),
    ]


def _edge_checks(a: dict[str, np.ndarray]) -> list[Check]:
    gap = (a["edge_alone"] - a["edge_best"]) / a["edge_best"]
    expected = (a["edge_alone_theory"] - a["edge_best"]) / a["edge_best"]
    above = (gap[:, 1] > 0.9 * expected[:, 1]) & (gap[:, 1] < 1.1 * expected[:, 1]) & (expected[:, 1] > 1e-4)
    return [
        at_most("below", "half the noise of the boundary, steps alone: relative risk above the least", gap[:, 0], 1e-8),
        none_of("above", "twice that noise: not above the least risk by what theory finds, to 10 %", above),
    ]


def _finite_checks(config: Config, a: dict[str, np.ndarray]) -> list[Check]:
    found, checks = a["finite"], []
    for k, d in enumerate(config.dimensions):
        mine = found[k, :, 0]
        interval = mean_interval(mine)
        what = f"Gaussian samples, d = {d}: mean risk of the limit's steps with decay"
        slack = 2 / d  # the limit is right to first order in 1/d
        checks.append(agrees(f"finite_{d}", what, mine.mean(), float(a["finite_theory"][0]), interval, slack))
    gain = found[..., 1] - found[..., 0]
    what = "Gaussian samples: mean risk of steps alone above that with decay, least over d"
    return [*checks, at_least("finite_gain", what, gain.mean(axis=1), 0.0, mean_interval(gain, axis=1))]


def _real_check(a: dict[str, np.ndarray]) -> Check:
    alone, decayed = a["errors"][:, 1], a["errors"][:, 2]
    change = decayed / alone - 1
    what = "diabetes, 64 inputs: relative change of the test error by decay, mean over blocks of splits"
    return between("real_decay", what, change.mean(), -0.1, 0.1, mean_interval(change))
