"""Arrays to be drawn for the examples on which the functions of the table are tested."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Example = tuple[Any, ...]


class Draw(NamedTuple):
    """An array to be drawn: from what, and in which shape."""

    sample: Callable[[np.random.Generator, tuple[int, ...]], Any]
    shape: tuple[int, ...]


def draw(example: Any, rng: np.random.Generator) -> Any:
    """Return `example` with random arrays for each Draw in it."""
    if isinstance(example, Draw):
        return np.asarray(example.sample(rng, example.shape))
    return tuple(draw(item, rng) for item in example) if isinstance(example, tuple) else example


def as_reals(out: Any) -> Any:
    """Return what a function gave as real arrays: several as a tuple, of complex ones real and imaginary part.

    Counts among them, such as a rank, have no tangent and are left out.
    """
    if isinstance(out, list | tuple):
        return tuple(x for x in out if not isinstance(x, int | np.integer))
    return (out.real, out.imag) if getattr(getattr(out, "dtype", None), "kind", "") == "c" else out


def real(*shape: int) -> Draw:
    """Normal numbers."""
    return Draw(lambda rng, shape: rng.standard_normal(shape), shape)


def positive(*shape: int) -> Draw:
    """Numbers in [0.3, 2]."""
    return Draw(lambda rng, shape: rng.uniform(0.3, 2.0, shape), shape)


def nonzero(*shape: int) -> Draw:
    """Numbers of either sign, of size 0.3 to 2."""
    return Draw(lambda rng, shape: rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape), shape)


def apart(*shape: int, offset: float = 0.1) -> Draw:
    """Numbers offset + 0.4 k, all different: far from each other, from zero, and from those of other offsets."""
    return Draw(
        lambda rng, shape: ((rng.permutation(math.prod(shape)) - math.prod(shape) // 2) * 0.4 + offset).reshape(shape),
        shape,
    )


def between(low: float, high: float) -> Kind:
    """Return the kind of numbers from low to high."""
    return lambda *shape: Draw(lambda rng, shape: rng.uniform(low, high, shape), shape)


def invertible(*shape: int) -> Draw:
    """Square matrices (..., n, n) with singular values 0.5 to 2, all apart."""
    return Draw(lambda rng, shape: _with_values(rng, shape, symmetric=False), shape)


def definite(*shape: int) -> Draw:
    """Symmetric positive definite matrices (..., n, n) with eigenvalues 0.5 to 2, all apart."""
    return Draw(lambda rng, shape: _with_values(rng, shape, symmetric=True), shape)


def _with_values(rng: np.random.Generator, shape: tuple[int, ...], symmetric: bool) -> Any:
    left, right = (np.linalg.qr(rng.standard_normal(shape))[0] for _ in range(2))
    values = np.linspace(0.5, 2.0, shape[-1])
    return (left * values) @ np.swapaxes(left if symmetric else right, -1, -2)


Kind = Callable[..., Draw]


def one(kind: Kind) -> list[Example]:
    """Return examples of a function of one array."""
    return [(kind(3, 2),), (kind(),)]


def two(x: Kind, y: Kind) -> list[Example]:
    """Return examples of a function of two arrays that broadcast."""
    return [(x(2, 3), y(2, 3)), (x(2, 3), y(3)), (x(2, 1), y(1, 3)), (x(), y(3)), (x(3), y())]


def along(kind: Kind) -> list[Example]:
    """Return examples of a function along axes."""
    x = kind(2, 3, 2)
    return [(x, None), (x, 0), (x, -1), (x, (0, 2)), (x, (-1, 0))]
