"""SGD in exact fractions: every sequence of minibatches, enumerated, with the tangent of w in the step sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, product
from typing import Any

import numpy as np

Vector = list[Fraction]


@dataclass(frozen=True)
class Sample:
    """A least-squares sample and a start; all entries are dyadic, so that floats hold them exactly."""

    X: np.ndarray
    y: np.ndarray
    w0: np.ndarray

    @classmethod
    def random(cls, seed: int, n: int, d: int) -> Sample:
        rng = np.random.default_rng([seed, n, d])
        X, y, w0 = (rng.integers(-8, 9, shape) / 4 for shape in ((n, d), (n,), (d,)))
        X[0, 0] = 1.25  # never all zeros
        return cls(X, y, w0)

    def batches(self, size: int, replacement: bool) -> list[tuple[int, ...]]:
        indices = range(len(self.y))
        return list(product(indices, repeat=size) if replacement else combinations(indices, size))


def exact(array: Any) -> Any:
    """The array of floats as nested lists of fractions."""
    return [exact(row) for row in array] if np.ndim(array) else Fraction(float(array))


def dot(a: Vector, b: Vector) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def runs(
    sample: Sample, size: int, replacement: bool, etas: Vector, direction: Vector
) -> tuple[tuple[Vector, Vector], ...]:
    """Return w_T and its derivative along `direction` in the space of schedules, for every sequence of minibatches."""
    X, y, w0 = (_frozen(exact(array)) for array in (sample.X, sample.y, sample.w0))
    return _runs(X, y, w0, tuple(sample.batches(size, replacement)), tuple(etas), tuple(direction))


@lru_cache(maxsize=64)  # each measure of a sample asks for the same runs
def _runs(
    X: tuple[Any, ...],
    y: tuple[Fraction, ...],
    w0: tuple[Fraction, ...],
    batches: tuple[tuple[int, ...], ...],
    etas: tuple[Fraction, ...],
    direction: tuple[Fraction, ...],
) -> tuple[tuple[Vector, Vector], ...]:
    return tuple(_all_runs(X, y, w0, batches, etas, direction))


def _all_runs(X: Any, y: Any, w0: Any, batches: Any, etas: Any, direction: Any) -> Iterator[tuple[Vector, Vector]]:
    for sequence in product(batches, repeat=len(etas)):
        w, dw = list(w0), [Fraction(0)] * len(w0)
        for batch, eta, slope in zip(sequence, etas, direction, strict=True):
            g = _mean([[x * (dot(X[i], w) - y[i]) for x in X[i]] for i in batch])
            dg = _mean([[x * dot(X[i], dw) for x in X[i]] for i in batch])
            dw = [a - slope * b - eta * c for a, b, c in zip(dw, g, dg, strict=True)]
            w = [a - eta * b for a, b in zip(w, g, strict=True)]
        yield w, dw


def enumerated(
    sample: Sample, rows: Any, targets: Any, size: int, replacement: bool, etas: Vector, direction: Vector
) -> tuple[Fraction, Fraction]:
    """The expectation of ||rows w_T - targets||^2 over all minibatches, and its derivative along `direction`."""
    value = slope = Fraction(0)
    count = 0
    A, z = exact(rows), exact(targets)
    for w, dw in runs(sample, size, replacement, etas, direction):
        for a, target in zip(A, z, strict=True):
            error = dot(a, w) - target
            value += error**2
            slope += 2 * error * dot(a, dw)
        count += 1
    return value / count, slope / count


def _frozen(nested: Any) -> Any:
    return tuple(map(_frozen, nested)) if isinstance(nested, list) else nested


def _mean(vectors: list[Vector]) -> Vector:
    return [sum(column, Fraction(0)) / len(vectors) for column in zip(*vectors, strict=True)]
