"""Sine waves to be fitted from a few points: the task family of MAML and of Reptile, with their settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.errors import bad_type, bad_value
from metagrad.tasks._network import MLP
from metagrad.tasks.mlp_regressor.task import MLPRegressor
from metagrad.xp import rng

_WHERE = "Sinusoids"
_MAML = MLP((1, 40, 40, 1), "relu", 0.01, truncated=True)
_REPTILE = MLP((1, 64, 64, 1), "tanh", "fan_in")


@dataclass(frozen=True)
class Sinusoids:
    """y = A sin(x - p), x in [-5, 5], A ~ U(`amplitude`), p ~ U(`phase`): called with a seed, `count` tasks of `net`.

    `shots`: the points of a task to learn from (support); `query`: those that it is judged by, its validation data;
    None for no such data. Without a `grid` all are drawn fresh, uniformly. With `grid` = n there are n points at equal
    distances; `shots` of them are drawn with replacement, or all taken where `shots` is None, and the query data are
    the whole grid. `batch_size`: points a step, in random order without replacement, epoch by epoch;
    None for all at every step. `dtype`: that of data and weights. Every call with one seed gives the same tasks.
    A wrong value raises ValueError, a wrong kind TypeError.
    Sources: `maml()`, the public code of Finn, Abbeel and Levine 2017; `reptile()`, the public demonstration code of
    Reptile (J. Schulman), which is smaller than the network of Nichol, Achiam and Schulman 2018, and has tanh for relu.

    >>> task = Sinusoids.maml(count=3)(0)
    >>> task.x.shape, task.validation[1].shape, task.net.parameters
    ((3, 10, 1), (3, 10, 1), 1761)
    """

    net: MLP = _MAML
    count: int = 25
    shots: int | None = 10
    query: int | None = 10
    grid: int | None = None
    amplitude: tuple[float, float] = (0.1, 5.0)
    phase: tuple[float, float] = (0.0, math.pi)
    batch_size: int | None = None
    dtype: Any = np.float64

    def __post_init__(self) -> None:
        """Check the settings."""
        checks.instance(_WHERE, "net", self.net, MLP)
        if (self.net.sizes[0], self.net.sizes[-1]) != (1, 1):
            came = f"one with {self.net.sizes[0]} inputs and {self.net.sizes[-1]} outputs"
            bad_value(_WHERE, "net", came, "one input and one output", "For example MLP((1, 40, 40, 1)).")
        checks.count(_WHERE, "count", self.count)
        for name in ("shots", "query", "grid", "batch_size"):
            if getattr(self, name) is not None:
                checks.count(_WHERE, name, getattr(self, name))
        if self.shots is None and self.grid is None:
            bad_value(_WHERE, "shots", None, "a number of points, as there is no grid to take whole", "Give shots=10.")
        for name in ("amplitude", "phase"):
            _check_range(name, getattr(self, name))
        checks.float_dtype(_WHERE, "dtype", self.dtype)

    @classmethod
    def maml(cls, count: int = 25, shots: int = 10, **others: Any) -> Sinusoids:
        """Return the family of MAML: net 1-40-40-1, relu; p ~ U(0, pi); as many query points as `shots`, all fresh."""
        usual: dict[str, Any] = {"net": _MAML, "count": count, "shots": shots, "query": shots}
        return cls(**usual | others)

    @classmethod
    def reptile(cls, count: int = 1, shots: int | None = None, **others: Any) -> Sinusoids:
        """Return the family of Reptile's demonstration: net 1-64-64-1, tanh; p ~ U(0, 2 pi); a grid of 50 points.

        Meta-training sees the whole grid, 10 points a step: 5 steps are one pass. With `shots` = 10, as for its test,
        a task has 10 points of the grid, drawn with replacement, and sees all of them at every step.
        """
        batch = 10 if shots is None else None
        usual: dict[str, Any] = {"net": _REPTILE, "grid": 50, "phase": (0.0, 2 * math.pi), "batch_size": batch}
        return cls(**{"count": count, "shots": shots} | usual | others)

    def __call__(self, seed: int) -> MLPRegressor:
        """Return the tasks of a seed."""
        stream = rng(checks.count(_WHERE, "seed", seed, 0), "sinusoids")
        amplitude, phase = (stream.uniform(*ends, size=(self.count, 1, 1)) for ends in (self.amplitude, self.phase))

        def points(x: Any) -> tuple[Any, Any]:
            return x.astype(self.dtype), (amplitude * np.sin(x - phase)).astype(self.dtype)

        if self.grid is None:
            size = (self.count, (self.shots or 0) + (self.query or 0), 1)
            x, y = points(stream.uniform(-5.0, 5.0, size))
            support, held = (x[:, : self.shots], y[:, : self.shots]), (x[:, self.shots :], y[:, self.shots :])
            query = None if self.query is None else held
        else:
            every = np.broadcast_to(np.linspace(-5.0, 5.0, self.grid)[:, None], (self.count, self.grid, 1))
            support = points(every)
            query = None if self.query is None else support
            if self.shots is not None:
                support = points(every[0][stream.integers(self.grid, size=(self.count, self.shots))])
        epochs = None if self.batch_size is None else seed
        return MLPRegressor(self.net, *support, query, batch_size=self.batch_size, epoch_seed=epochs)


def _check_range(name: str, ends: Any) -> None:
    if not isinstance(ends, tuple) or len(ends) != 2:
        bad_type(_WHERE, name, checks.shown(ends), "a pair of numbers such as (0.1, 5.0)")
    low, high = (checks.number(_WHERE, name, end) for end in ends)
    if low > high:
        bad_value(_WHERE, name, ends, "its lower end first")
