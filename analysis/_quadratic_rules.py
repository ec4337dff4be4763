"""Hand-designed optimizers for quadratics with all their hyper-parameters on grids, and the best of each grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis._quadratic_solvers import spectra
from metagrad.unroll.rollout import rollout

_WARM = 10.0  # steps of warm-up
_WARMED = mg.Following(mg.Momentum(), eta=mg.WarmUp(mg.Cosine()))


@dataclass(frozen=True)
class Tunable:
    """A rule, its meta-parameters made of the hyper-parameters that are tuned, and the grid of each of those.

    `schedule`: whether it is a fixed schedule of step sizes and momenta. Such a rule takes the same path in the
    coordinates of the eigenvectors, where its steps are elementwise, and is run there.
    """

    rule: Any
    phi: Callable[..., Any]
    grid: dict[str, tuple[float, ...]]
    schedule: bool = False

    @property
    def points(self) -> np.ndarray:
        """All points of the grid, (points, hyper-parameters)."""
        return np.array(list(itertools.product(*self.grid.values())))

    def inside(self, point: np.ndarray) -> np.ndarray:
        """Tell of each hyper-parameter whether it lies between the ends of its grid."""
        return np.array([min(axis) < x < max(axis) for axis, x in zip(self.grid.values(), point, strict=True)])

    def losses(self, tasks: Tasks, point: np.ndarray, steps: int) -> np.ndarray:
        """Return the losses (steps + 1, B); inf where a run has left the range of floats."""
        task = tasks.rotated if self.schedule else tasks.task
        return inf_where_lost(rollout(task, self.rule, self.phi(*map(float, point)), steps=steps))

    def ends(self, tasks: Tasks, steps: int) -> np.ndarray:
        """Return the losses after all steps, (points, B)."""
        return np.stack([self.losses(tasks, point, steps)[-1] for point in self.points])


@dataclass(frozen=True)
class Tasks:
    """Tasks, and the same in the coordinates of their eigenvectors, from the minimum, in float64."""

    task: Any
    rotated: Any

    @classmethod
    def of(cls, parts: list[Any]) -> Tasks:
        """Put all tasks of several draws side by side."""
        X, y, w0 = (np.concatenate([getattr(part, name) for part in parts]) for name in ("X", "y", "w0"))
        task = mg.LeastSquares(X, y, w0=w0)
        lam, r = spectra(task)
        return cls(task, mg.DiagonalQuadratic(lam, r * np.sqrt(2 / lam)))


def _near_one(*rest: float) -> tuple[float, ...]:
    return tuple(1 - x for x in rest)


def _steps(low: float, high: float, per_decade: int) -> tuple[float, ...]:
    return tuple(np.logspace(low, high, round((high - low) * per_decade) + 1).tolist())


BASELINES = {
    "SGD": Tunable(mg.GradientDescent(), mg.GradientDescent.Phi, {"eta": _steps(-3, -1, 12)}, schedule=True),
    "momentum": Tunable(
        mg.Momentum(),
        mg.Momentum.Phi,
        {"eta": _steps(-2.5, -1, 8), "mu": _near_one(0.02, 0.04, 0.06, 0.09, 0.13, 0.2)},
        schedule=True,
    ),
    "momentum, warmed up": Tunable(
        _WARMED,
        lambda eta, mu: _WARMED.Phi(eta_warm=_WARM, eta_start=eta, eta_end=eta, mu=mu),
        {"eta": _steps(-2.5, -1, 8), "mu": _near_one(0.02, 0.04, 0.06, 0.09, 0.13, 0.2)},
        schedule=True,
    ),
    "Nesterov": Tunable(
        mg.Nesterov(),
        mg.Nesterov.Phi,
        {"eta": _steps(-2.75, -1.25, 8), "mu": _near_one(0.01, 0.02, 0.03, 0.045, 0.07, 0.1)},
        schedule=True,
    ),
    "RMSprop": Tunable(
        mg.RMSprop(),
        mg.RMSprop.Phi,
        {"eta": _steps(-2.25, -0.75, 4), "rho": _near_one(0.0003, 0.002, 0.006, 0.02, 0.1)},
    ),
    "Adagrad": Tunable(mg.Adagrad(), mg.Adagrad.Phi, {"eta": _steps(-1, 1, 8)}),
    "Adam": Tunable(
        mg.Adam(),
        mg.Adam.Phi,
        {
            "eta": _steps(-1, -0.375, 8),
            "beta1": _near_one(0.06, 0.1, 0.13, 0.2),
            "beta2": _near_one(0.04, 0.1, 0.13, 0.25),
        },
    ),
}


def inf_where_lost(losses: np.ndarray) -> np.ndarray:
    """Return the losses in float64, inf where one is NaN: the run has left the range of floats."""
    losses = losses.astype(np.float64)
    return np.where(np.isnan(losses), np.inf, losses)


def best(ends: np.ndarray) -> int:
    """Return which point of a grid has the least mean loss; `ends` (points, tasks)."""
    with np.errstate(over="ignore"):
        return int(np.argmin(ends.mean(axis=-1)))
