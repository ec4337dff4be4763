"""The best schedules without noise, found by gradient from a straight line, against their closed form.

Least squares with many inputs, d/n -> gamma, w_0 = 0, no noise. The risk after t steps is a sum over the nodes of a
quadrature rule, which is the loss of a quadratic: the engine's own `Quadratic`. BFGS on the logs of the steps, with
the engine's gradient of the log of the loss, starts from a straight line, and from random slopes of that line; equal
steps would stay equal. The order of the steps makes no difference, so they are compared sorted. The same from the
spectra of Gaussian samples, against the zeros of their orthogonal polynomials. What a constant step leaves was first
compared with the part counted in that no step can reach (more inputs than samples), where it was 1.02 times as much
and failed; that part is now left out, and the bound of 1.5 was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis._average_tasks import line
from analysis._minimise import minimised
from analysis.framework.checks import at_least, at_most, reported
from analysis.framework.contract import Table, Verdict
from metagrad.theory import schedules
from metagrad.theory.schedules import AverageCase, descent, proportional
from metagrad.xp import rng

claim = (
    "Gradient descent on the schedule finds the best step sizes of t steps that theory has in closed form, from one "
    "straight line: on least squares with many inputs and no noise (average case of Pedregosa and Scieur 2020, as a "
    "schedule), and on the spectra of samples"
)
_EXTRA = 2  # nodes beyond t: with t of them the steps solve every node


@dataclass(frozen=True)
class Config:
    """Horizons in the limit, random starts each, and samples of d inputs with horizons of their own."""

    steps: tuple[int, ...]
    starts: int
    samples: int
    gammas: tuple[float, ...] = (0.25, 1.0, 2.0)
    d: int = 60
    sample_gamma: float = 0.5
    sample_steps: int = 6


presets = {
    "quick": Config((1, 2, 3, 4, 6, 8), 2, 4),
    "default": Config((1, 2, 3, 4, 6, 8, 10, 12, 14, 16), 8, 20),
    "paper": Config(tuple(range(1, 17)), 32, 100),
}
expected_seconds = {"quick": 6.0, "default": 40.0, "paper": 250.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("line", "starts", "risk", "samples", "gain", "asked")


def shards(config: Config) -> list[dict[str, Any]]:
    """A gamma and horizon each; then the samples."""
    found: list[dict[str, Any]] = [{"gamma": g, "steps": t} for g in config.gammas for t in config.steps]
    return [*found, {"samples": config.samples}]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the steps that were found, their errors and risks; of the samples the errors."""
    if "samples" in shard:
        return _of_samples(config, rng(context.seed, "best_schedules", "samples"))
    gamma, steps = shard["gamma"], shard["steps"]
    problem = AverageCase.limit(gamma, steps + _EXTRA)
    best = proportional.best_schedule(steps, gamma=gamma)
    stream = rng(context.seed, "best_schedules", gamma, steps)
    ends = [(1.1, 0.9), *(tuple(stream.uniform(0.7, 1.3, 2)) for _ in range(config.starts))]
    found = [_found(problem, line(steps, 1 / (1 + gamma), both)) for both in ends]
    etas = np.full(max(config.steps), np.nan)
    etas[:steps] = found[0][0]
    return {
        "etas": etas,
        "errors": np.array([_error(one, best) for one, _ in found]),
        "risk": schedules.risk(problem, found[0][0]).to_float(),
        "best": proportional.best_risk(steps, gamma=gamma),
        "constant": schedules.risk(problem, np.full(steps, descent.best_constant(problem, steps))).to_float(),
        "asked": np.array(found[0][1]),
    }


def _of_samples(config: Config, stream: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the largest relative error in the steps on each sample."""
    errors = []
    for _ in range(config.samples):
        n = round(config.d / config.sample_gamma)
        X = stream.standard_normal((n, config.d))
        problem = AverageCase.of(np.linalg.eigvalsh(X.T @ X / n), n)
        etas, _ = _found(problem, line(config.sample_steps, 1 / (1 + config.sample_gamma)))
        errors.append(_error(etas, schedules.best_schedule(problem, config.sample_steps)))
    return {"samples": np.array(errors)}


def _found(problem: AverageCase, start: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the steps, the largest first, that the engine's gradient leads to, and how often it was asked for."""
    task = mg.Quadratic(np.diag(problem.nodes), np.sqrt(2 * problem.weights / problem.nodes))
    rule = mg.Scheduled(mg.GradientDescent())

    def objective(etas: np.ndarray) -> tuple[float, np.ndarray]:
        found = mg.meta_gradient(task, rule, mg.LogFinal(), mg.GradientDescent.Phi(etas), steps=len(etas))
        return float(found.value.to_float()[0]), found.grad.eta.to_float()

    etas, _, asked = minimised(objective, start)
    return np.sort(etas)[::-1], asked


def _error(etas: np.ndarray, best: np.ndarray) -> float:
    return float(np.max(np.abs(etas / best - 1)))


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by gamma and horizon, and the errors on the samples."""
    *limit, samples = parts
    shape = len(config.gammas), len(config.steps)
    arrays = {name: np.stack([p[name] for p in limit]).reshape(*shape, *limit[0][name].shape) for name in limit[0]}
    arrays |= samples | {"gammas": np.asarray(config.gammas), "steps": np.asarray(config.steps)}
    arrays["floor"] = proportional.bayes_risk(gamma=config.gammas)  # what no step reaches: more inputs than samples
    longest = max(config.steps)
    arrays["theory"] = np.array([proportional.best_schedule(longest, gamma=gamma) for gamma in config.gammas])
    return Table(arrays, {"etas": "1/curvature"}, {})


def verdict(config: Config, table: Table) -> Verdict:
    """All steps are found, from the line and from other starts; the risk is that of the formula."""
    a = table.arrays
    off = np.abs(a["risk"] / a["best"] - 1)
    last = (a["constant"][:, -1] - a["floor"]) / (a["best"][:, -1] - a["floor"])
    said = "largest relative error of a step"
    return Verdict(
        claim,
        [
            at_most("line", f"from one straight line: {said}", a["errors"][..., 0], 1e-8),
            at_most("starts", f"from random slopes: {said}", a["errors"][..., 1:], 1e-8),
            at_most("risk", "from the line: largest relative error of the risk", off, 1e-10),
            at_most("samples", f"spectra of samples: {said}", a["samples"], 1e-8),
            at_least("gain", "best constant step over schedule, risk within reach, longest, least over n/d", last, 1.5),
            reported("asked", "gradients asked for from the line, most", a["asked"].max()),
        ],
    )
