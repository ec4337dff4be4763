"""Slopes of the three log objectives given samples: by theory with their bound, by the engine, and by plain floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

import metagrad as mg
from metagrad.theory import least_squares


def by_theory(task: mg.LeastSquares, eta: Any, steps: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return log |G'| of the objectives given each sample (3, tasks, ...), and the log of the bound on the first."""
    slopes, bounds = [], []
    for X, y, X_val, y_val in zip(task.X, task.y, *task.validation, strict=True):
        sample = least_squares.Regression.of(X, y)
        slope = least_squares.d_train_loss(sample, eta, steps)
        of_validation = least_squares.d_validation_loss(sample, X_val, y_val, eta, steps)
        ratios = (
            slope / least_squares.train_loss(sample, eta, steps),
            slope / least_squares.excess_train_loss(sample, eta, steps),
            of_validation / least_squares.validation_loss(sample, X_val, y_val, eta, steps),
        )
        slopes.append([ratio.log - np.log(steps) for ratio in ratios])
        mu = np.abs(1 - np.asarray(eta)[..., None] * sample.eigenvalues).max(axis=-1)
        S = np.sum(sample.eigenvalues * sample.coefficients**2)
        bounds.append(np.log(S / sample.train_floor) + (2 * np.asarray(steps) - 1) * np.log(mu))
    return np.swapaxes(np.array(slopes), 0, 1), np.array(bounds)


def by_engine(task: mg.LeastSquares, eta: float, steps: int) -> dict[str, mg.Scaled]:
    """Return G' by backpropagation (tasks,): with exponents on the centred task, and plainly on the task itself."""
    centred, floor = task.centred(), mg.Scaled.of(task.train_floor())

    def solve(problem: mg.LeastSquares, objective: Any, scaling: str = "auto") -> mg.Estimate:
        phi = mg.GradientDescent.Phi(np.full(task.y.shape[0], eta))
        estimator = mg.Reverse(per_task=True, scaling=scaling)
        return estimator(problem, mg.GradientDescent(), objective, phi, steps=steps)

    above = solve(centred, mg.Final("excess"))
    per_step = mg.Scaled.of(np.asarray(1.0 / steps))
    return {
        "train": above.grad.eta / (above.value + floor) * per_step,
        "excess": solve(centred, mg.LogExcess()).grad.eta,
        "validation": solve(centred, mg.LogFinal("validation")).grad.eta,
        "plain train": solve(task, mg.LogFinal("train"), "none").grad.eta,
        "plain excess": solve(task, mg.LogExcess(), "none").grad.eta,
        "plain validation": solve(task, mg.LogFinal("validation"), "none").grad.eta,
    }


def best_for_excess(task: mg.LeastSquares, steps: int) -> float:
    """Return the step size with the least mean log excess (the train loss has the same one a task)."""
    samples = [least_squares.Regression.of(X, y) for X, y in zip(task.X, task.y, strict=True)]

    def mean_log(eta: Any) -> Any:
        return np.mean([least_squares.excess_train_loss(s, eta, steps).log for s in samples], axis=0)

    scan = np.geomspace(1e-3, 2 / max(s.eigenvalues.max() for s in samples), 2000)
    near = int(np.clip(np.argmin(mean_log(scan)), 1, len(scan) - 2))
    found = minimize_scalar(
        mean_log, bounds=(scan[near - 1], scan[near + 1]), method="bounded", options={"xatol": 1e-10}
    )
    return float(found.x)
