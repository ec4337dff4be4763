"""The learned step size against the theory of long horizons.

Meta-training runs at a few horizons, the same for all tasks. How the minimiser tends to its limit is looked at where
this is known to have begun. With k = (L - alpha)/(L + alpha), n = 2t - 1 and l = log(g_L/g_alpha), alpha and L alone
have eta*_t = eta_inf/(1 + k tanh(l/(2n))) (`quadratic.two_eigenvalue_minimiser`), so that

    n (eta*_t/eta_inf - 1) -> -k l/2,       up to a share k |l|/(2n) of it;

the eigenvalues between them add to l what `_between` says, which falls like |a_i/k|^n. Both shares are made small by
the choice of t, task by task, from the spectrum alone (`far_horizons`), so that order and constant hold at every seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework import checks
from analysis.framework.contract import Table, Verdict
from metagrad.theory import quadratic
from metagrad.theory.numbers.modes import Factors
from metagrad.theory.numbers.signed_log import signed_sum

claim = (
    "Meta-training on the log objective learns the finite-horizon minimiser. This tends to 2/(lambda_min + lambda_max) "
    "like c/t, with a constant c that the two extreme eigenvalues and their weights decide, at "
    "horizons at which those between have died out (Wang et al. 2021, section 3, and the correction derived here)."
)
BETWEEN = 1e-3  # what the eigenvalues between may add to l at a far horizon, as a share of it, or at all
FARTHER = 4  # how much longer the second of two horizons is


@dataclass(frozen=True)
class Config:
    """Horizons, random tasks with eigenvalues in [lowest, 1], and the meta-training that learns each step size.

    `near`: how near to the minimiser, relatively, a step size is that has learned it. `small`: the share of the
    constant that the next order may have at the horizons where the limit is looked at.
    """

    horizons: tuple[int, ...]
    tasks: int
    meta_steps: int
    d: int = 20
    lowest: float = 0.1
    scale: float = 0.2
    start: float = 0.5
    near: float = 0.005
    small: float = 0.005
    longest: int = 100_000


presets = {
    "quick": Config(horizons=(2, 5, 10, 20, 50, 100, 200), tasks=32, meta_steps=300),
    "default": Config(horizons=(2, 5, 10, 20, 50, 100, 200, 500, 1000), tasks=100, meta_steps=1000),
    "paper": Config(horizons=(2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000), tasks=400, meta_steps=2000),
}
expected_seconds = {"quick": 5.0, "default": 60.0, "paper": 1800.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("learned", "error", "order", "constant", "horizon", "correction")


def shards(config: Config) -> list[dict[str, Any]]:
    """One horizon each, and the limit."""
    return [*({"what": "learned", "steps": t} for t in config.horizons), {"what": "limit"}]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the step sizes (tasks,) learned at one horizon, or how the minimiser tends to its limit."""
    spectrum, start = _tasks(config, context.seed)
    return _limit(config, spectrum) if shard["what"] == "limit" else _learned(config, shard["steps"], spectrum, start)


def _tasks(config: Config, seed: int) -> tuple[quadratic.Spectrum, np.ndarray]:
    """Draw the tasks: their spectra, and where they start."""
    draw = mg.random_quadratics(config.tasks, config.d, seed=seed)
    lam = np.linalg.eigvalsh(draw.H)
    lam = config.lowest + (1 - config.lowest) * (lam - lam[:, :1]) / (lam[:, -1:] - lam[:, :1])
    return quadratic.Spectrum(lam, draw.w0**2), draw.w0


def _learned(config: Config, steps: int, spectrum: quadratic.Spectrum, start: np.ndarray) -> dict[str, np.ndarray]:
    """Return learned step sizes (tasks,), their minimisers, the limit and the limit with its first correction."""
    trainer = mg.MetaTrainer(
        mg.DiagonalQuadratic(spectrum.eigenvalues, start),
        mg.GradientDescent(),
        mg.LogFinal(),
        steps=steps,
        scale=config.scale,
        estimator=mg.Reverse(per_task=True),
    )
    run = trainer.run(np.full(config.tasks, config.start), config.meta_steps)
    limit = quadratic.limit_minimiser(spectrum)
    return {
        "learned": run.phi[-1],
        "best": quadratic.minimiser(spectrum, steps),
        "limit": limit,
        "corrected": limit + quadratic.first_correction(spectrum, steps),
        "status": run.status.max(axis=0),
    }


def _limit(config: Config, spectrum: quadratic.Spectrum) -> dict[str, np.ndarray]:
    """Return (eta*_t - eta_inf)/eta_inf at far horizons (2, tasks) and along t (horizons, tasks), and -k l/2."""
    limit = quadratic.limit_minimiser(spectrum)
    near = far_horizons(spectrum, config.small)
    far = np.stack([near, FARTHER * near])
    along = np.unique(np.geomspace(config.horizons[0], config.longest, 40).astype(int))
    return {
        "far": far,
        "far_gap": np.stack([quadratic.minimiser(spectrum, t) / limit - 1 for t in far]),
        "along": along,
        "along_gap": np.stack([quadratic.minimiser(spectrum, int(t)) / limit - 1 for t in along]),
        "constant": quadratic.first_correction(spectrum, 1) / limit,
    }


def far_horizons(spectrum: quadratic.Spectrum, small: float) -> np.ndarray:
    """Return for each task the least power of two at which k |l|/(2(2t - 1)) and what is between are small."""
    limit = quadratic.limit_minimiser(spectrum)
    half = np.abs(quadratic.first_correction(spectrum, 1) / limit)  # k |l|/2
    log_ratio = 2 * half * (spectrum.L + spectrum.alpha) / (spectrum.L - spectrum.alpha)
    steps = np.full(half.shape, 2)
    for _ in range(48):
        late = (half <= small * (2 * steps - 1)) & (_between(spectrum, steps) <= BETWEEN * np.minimum(1, log_ratio))
        steps = np.where(late, steps, 2 * steps)
    return steps


def _between(spectrum: quadratic.Spectrum, steps: np.ndarray) -> np.ndarray:
    """Return how much the eigenvalues between the extreme ones can change l: sum_i g_i |a_i|^n over that of an end."""
    eta = quadratic.limit_minimiser(spectrum)
    log_gains = spectrum.log_weights + 2 * np.log(spectrum.eigenvalues)
    terms = log_gains + (2 * steps - 1)[:, None] * Factors.of(eta[:, None], spectrum.eigenvalues).log
    inner = signed_sum(1.0, terms[:, 1:-1], 0.0).log
    return np.exp(np.minimum(inner - np.minimum(terms[:, 0], terms[:, -1]), 0.0))


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by horizon and task."""
    *learned, limit = parts
    arrays = {name: np.stack([part[name] for part in learned]) for name in learned[0]}
    units = {"learned": "1/lambda_max", "steps": "steps", "far": "steps", "along": "steps"}
    return Table(arrays | limit | {"steps": np.asarray(config.horizons)}, units)


def verdict(config: Config, table: Table) -> Verdict:
    """Learned = minimiser; minimiser -> limit like c/t with the constant of the two extreme eigenvalues."""
    arrays = table.arrays
    error = np.abs(arrays["learned"] / arrays["best"] - 1)  # (horizons, tasks)
    whole = np.where(np.isnan(error).any(axis=1), np.nan, 0.0)
    share = np.mean(error <= config.near, axis=1) + whole
    ends = np.transpose([checks.share_interval(row <= config.near) for row in error])
    gap, n = arrays["far_gap"], 2 * arrays["far"] - 1
    order = -np.log(np.abs(gap[1] / gap[0])) / np.log(n[1] / n[0])
    constant = n[0] * gap[0] / arrays["constant"]
    left = np.abs(arrays["corrected"][-1] - arrays["best"][-1]) / np.abs(arrays["limit"][-1] - arrays["best"][-1])
    low, high = 1 - 2 * config.small, 1 + 2 * config.small
    typical = f"share of the gap that the first correction leaves at t = {config.horizons[-1]}: median over tasks"
    within = (
        f"share of the tasks that learn the minimiser within {100 * config.near:g} %, at the horizon where it is least"
    )
    return Verdict(
        claim,
        [
            checks.at_least("learned", within, share, 0.8, (ends[0], ends[1])),
            checks.reported(
                "error",
                "its relative error: median over tasks, largest of all horizons",
                np.median(error, axis=1).max(),
            ),
            checks.between(
                "order", "order p of the gap c/n^p, n = 2t - 1, far out: farthest from 1 of all tasks", order, low, high
            ),
            checks.between(
                "constant", "n times the gap over its limit -k l/2: farthest from 1 of all tasks", constant, low, high
            ),
            checks.reported("horizon", "longest of the far horizons t, of all tasks", np.max(arrays["far"][0])),
            checks.reported("correction", typical, np.median(left)),
        ],
    )
