"""The learned step size against the theory of long horizons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import quadratic

claim = (
    "Meta-training on the log objective learns the finite-horizon minimiser, which tends to 2/(lambda_min + "
    "lambda_max) as the horizon "
    "grows, with a correction of order 1/t (Wang et al. 2021, section 3, and the correction derived here)"
)


@dataclass(frozen=True)
class Config:
    """Horizons, random tasks with eigenvalues in [lowest, 1], and the meta-training that learns each step size."""

    horizons: tuple[int, ...]
    tasks: int
    meta_steps: int
    d: int = 20
    lowest: float = 0.1
    scale: float = 0.2
    start: float = 0.5


presets = {
    "quick": Config(horizons=(2, 5, 10, 20, 50, 100, 200), tasks=24, meta_steps=300),
    "default": Config(horizons=(2, 5, 10, 20, 50, 100, 200, 500, 1000), tasks=100, meta_steps=1000),
    "paper": Config(horizons=(2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000), tasks=400, meta_steps=2000),
}
expected_seconds = {"quick": 4.0, "default": 60.0, "paper": 1800.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("error", "error_90", "order", "correction")


def shards(config: Config) -> list[dict[str, Any]]:
    """One horizon each."""
    return [{"steps": t} for t in config.horizons]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return learned step sizes (tasks,), their minimisers, the limit and the limit with its first correction."""
    steps = shard["steps"]
    draw = mg.random_quadratics(config.tasks, config.d, seed=context.seed)
    lam = np.linalg.eigvalsh(draw.H)
    lam = config.lowest + (1 - config.lowest) * (lam - lam[:, :1]) / (lam[:, -1:] - lam[:, :1])
    trainer = mg.MetaTrainer(
        mg.DiagonalQuadratic(lam, draw.w0),
        mg.GradientDescent(),
        mg.LogFinal(),
        steps=steps,
        scale=config.scale,
        estimator=mg.Reverse(per_task=True),
    )
    run = trainer.run(np.full(config.tasks, config.start), config.meta_steps)
    spectrum = quadratic.Spectrum(lam, draw.w0**2)
    limit = quadratic.limit_minimiser(spectrum)
    return {
        "learned": run.phi[-1],
        "best": quadratic.minimiser(spectrum, steps),
        "limit": limit,
        "corrected": limit + quadratic.first_correction(spectrum, steps),
        "status": run.status.max(axis=0),
    }


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by horizon and task."""
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    return Table(arrays | {"steps": np.asarray(config.horizons)}, {"learned": "1/lambda_max", "steps": "steps"})


def verdict(config: Config, table: Table) -> Verdict:
    """Learned = minimiser; minimiser -> limit like 1/t."""
    arrays = table.arrays
    error = np.abs(arrays["learned"] / arrays["best"] - 1)
    typical, far = float(np.median(error)), float(np.quantile(error, 0.9))
    gap = np.median(np.abs(arrays["best"] / arrays["limit"] - 1), axis=1)
    steps = arrays["steps"]
    order = float(-np.polyfit(np.log(steps[-3:]), np.log(gap[-3:]), 1)[0])
    share = np.abs(arrays["corrected"][-1] - arrays["best"][-1]) / np.abs(arrays["limit"][-1] - arrays["best"][-1])
    left = float(np.median(share))
    return Verdict(
        claim,
        [
            Check("error", "learned against minimiser: median relative error", typical, "<= 0.005", typical <= 0.005),
            Check("error_90", "learned against minimiser: 90 % quantile", far, "<= 0.03", far <= 0.03),
            Check(
                "order", "minimiser against limit: order p of the gap 1/t^p", order, "0.8 .. 1.3", 0.8 <= order <= 1.3
            ),
            Check(
                "correction",
                "share of the gap that the first correction leaves, last horizon",
                left,
                "<= 0.3",
                left <= 0.3,
            ),
        ],
    )
