"""Hand-designed rules with all their hyper-parameters and a decay of the step size, tuned for one measure at a time.

A rule's step size at step t of T is eta (1 - t/T)^p. The search draws from a box, in the logarithms of eta, 1 - mu,
1 - beta, ..., then around the best of each measure. For momentum and Nesterov it draws eta/(1 - mu), which is the step
size of a slow direction, so that eta and mu are nearly apart. Beside what it draws it tries what a longer search found,
of 84 points or more on networks of another seed, at both sizes: a baseline is not to lose for want of luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg

DECAYS = (0.0, 0.5, 1.0, 2.0)  # powers p that are drawn first
_LONGEST_DECAY = 3.0
_AROUND = 0.1  # of the width of the box: standard deviation of the second draw
_AROUND_DECAY = 0.4


@dataclass(frozen=True)
class Space:
    """A rule, the phi of a step size and of the other coordinates, and the range of each in powers of ten.

    `known`: points that are tried in every search, the power of the decay last.
    """

    rule: Any
    settings: Callable[..., Any]
    ranges: tuple[tuple[float, float], ...]
    known: tuple[tuple[float, ...], ...] = ()

    def draw(self, stream: np.random.Generator, count: int) -> np.ndarray:
        """Return points (count, coordinates), the power of the decay last; each coordinate has one in every stratum."""
        low, high = np.transpose(self.ranges)
        order = stream.permuted(np.tile(np.arange(count), (len(low) + 1, 1)), axis=1).T
        logs = low + (high - low) * (order[:, :-1] + stream.random((count, len(low)))) / count
        return np.column_stack([logs, np.take(DECAYS, order[:, -1] % len(DECAYS))])

    def around(self, stream: np.random.Generator, point: np.ndarray, count: int) -> np.ndarray:
        """Return points near one, within the box."""
        low, high = np.transpose([*self.ranges, (0.0, _LONGEST_DECAY)])
        width = np.append(_AROUND * (high - low)[:-1], _AROUND_DECAY)
        return np.clip(point + width * stream.standard_normal((count, len(point))), low, high)

    def at(self, point: np.ndarray, steps: int) -> tuple[Any, Any]:
        """Return the rule and its phi, the step size of each step in it."""
        *logs, power = (float(x) for x in point)
        decay = (1 - np.arange(steps) / steps) ** power
        phi = self.settings(*(10.0**x for x in logs))
        return mg.Scheduled(self.rule, ("eta",)), phi._replace(eta=(phi.eta * decay).astype(np.float32))


def _heavy(kind: Any) -> Callable[..., Any]:
    return lambda slow, rest: kind.Phi(slow * rest, 1 - rest)


_MOMENTUM = ((-0.7, 1.5), (-1.7, -0.1))
SPACES = {
    "SGD": Space(mg.GradientDescent(), mg.GradientDescent.Phi, ((-1.0, 1.3),)),
    "momentum": Space(
        mg.Momentum(),
        _heavy(mg.Momentum),
        _MOMENTUM,
        ((0.94, -0.6, 0.0), (1.08, -0.73, 0.0), (0.96, -0.43, 0.36), (0.94, -0.55, 0.3), (0.89, -0.41, 0.51)),
    ),
    "Nesterov": Space(
        mg.Nesterov(),
        _heavy(mg.Nesterov),
        _MOMENTUM,
        ((1.25, -1.19, 0.67), (0.86, -0.82, 0.0), (0.76, -0.7, 0.0), (1.01, -0.82, 0.28), (0.82, -0.75, 0.0)),
    ),
    "RMSprop": Space(
        mg.RMSprop(),
        lambda eta, rest: mg.RMSprop.Phi(eta, 1 - rest),
        ((-2.5, -0.5), (-2.0, -0.1)),
        ((-1.2, -0.11, 1.79), (-1.16, -0.1, 0.35), (-1.32, -0.55, 1.13), (-1.21, -0.22, 0.71), (-1.26, -0.28, 0.31)),
    ),
    "Adagrad": Space(mg.Adagrad(), mg.Adagrad.Phi, ((-2.3, 0.0),)),
    "Adam": Space(
        mg.Adam(),
        lambda eta, b1, b2: mg.Adam.Phi(eta, 1 - b1, 1 - b2),
        ((-2.5, -0.5), (-1.3, -0.05), (-2.5, -0.1)),
        (
            (-1.29, -0.26, -0.36, 0.37),
            (-1.27, -0.17, -0.11, 2.13),
            (-1.24, -0.05, -1.05, 0.61),
            (-1.28, -0.14, -0.1, 1.02),
            (-1.32, -0.31, -0.99, 0.25),
            (-1.33, -0.14, -0.94, 0.57),
        ),
    ),
}


def search(
    space: Space,
    losses: Callable[[np.ndarray], np.ndarray],
    counts: tuple[int, int],
    measures: Sequence[int],
    stream: np.random.Generator,
) -> np.ndarray:
    """Return the best point (measures, coordinates) for each measure, of those that were known or drawn for any.

    `losses(point)` has an entry for each measure; one that is no finite number is never the best. `counts`: how many
    are drawn from the box, and how many around the best of each measure.
    """
    points = np.array([*space.known, *space.draw(stream, counts[0])])
    found = np.array([losses(point) for point in points])
    near = np.concatenate([space.around(stream, points[_best(found[:, k])], counts[1]) for k in measures])
    points, found = np.concatenate([points, near]), np.array([*found, *(losses(point) for point in near)])
    return np.stack([points[_best(found[:, k])] for k in measures])


def _best(found: np.ndarray) -> int:
    return int(np.argmin(np.where(np.isfinite(found), found, np.inf)))
