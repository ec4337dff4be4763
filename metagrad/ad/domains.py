"""Where each function of the table is smooth: examples of its arguments, on which it is tested.

`DOMAINS[function]` lists the positional arguments of example calls; `draw` puts a random float array for each `Draw`
among them. Those arrays are differentiated, all else is constant. A function without an entry fails a test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad import elementwise as e
from metagrad.ad import reductions as r

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


Kind = Callable[..., Draw]


def _one(kind: Kind) -> list[Example]:
    return [(kind(3, 2),), (kind(),)]


def _two(x: Kind, y: Kind) -> list[Example]:
    return [(x(2, 3), y(2, 3)), (x(2, 3), y(3)), (x(2, 1), y(1, 3)), (x(), y(3)), (x(3), y())]


def _along(kind: Kind) -> list[Example]:
    x = kind(2, 3, 2)
    return [(x, None), (x, 0), (x, -1), (x, (0, 2)), (x, (-1, 0))]


_MATMUL: list[Example] = [
    (real(3), real(3)),
    (real(3), real(3, 2)),
    (real(2, 3), real(3)),
    (real(2, 3), real(3, 2)),
    (real(4, 2, 3), real(3, 2)),
    (real(4, 2, 3), real(3)),
]
_MATMUL_BATCH: list[Example] = [
    (real(2, 3), real(4, 3, 2)),
    (real(4, 2, 3), real(4, 3, 2)),
    (real(3), real(4, 3, 2)),
    (real(2, 1, 2, 3), real(4, 3, 2)),
    (real(2, 2, 1), real(2, 1, 2)),
]
_POWERS: list[Example] = [(nonzero(3), p) for p in (0, 1, 2, 3, -1, -2, 2.0)] + [(positive(3), p) for p in (0.5, -1.5)]

DOMAINS: dict[Any, list[Example]] = {
    np.add: _two(real, real),
    np.subtract: _two(real, real),
    np.multiply: _two(real, real),
    np.divide: _two(real, nonzero),
    np.power: _two(positive, real) + _POWERS,
    np.maximum: [(apart(2, 3), apart(3, offset=0.3))],
    np.minimum: [(apart(2, 3), apart(3, offset=0.3))],
    np.logaddexp: _two(real, real),
    np.negative: _one(real),
    np.positive: _one(real),
    np.copy: _one(real),
    np.square: _one(real),
    np.sqrt: _one(positive),
    np.exp: _one(real),
    np.expm1: _one(real),
    np.log: _one(positive),
    np.log2: _one(positive),
    np.log10: _one(positive),
    np.log1p: _one(positive),
    np.sin: _one(real),
    np.cos: _one(real),
    np.sinh: _one(real),
    np.cosh: _one(real),
    np.tanh: _one(real),
    np.arctan: _one(real),
    np.arcsinh: _one(real),
    np.absolute: _one(nonzero),
    np.fabs: _one(nonzero),
    np.reciprocal: _one(nonzero),
    e.sigmoid: _one(real),
    e.relu: _one(nonzero),
    np.where: [(np.array([True, False, True]), real(2, 3), real(3))],
    np.clip: [(apart(2, 3), -0.55, 0.55), (apart(4), None, 0.55)],
    np.sum: _along(real),
    np.mean: _along(real),
    np.var: _along(real),
    np.std: [(real(3, 4), None), (real(2, 3, 4), 1), (real(2, 3, 4), (0, 2))],  # of two numbers it is linear
    np.max: _along(apart),
    np.min: _along(apart),
    np.prod: [(real(n, 2), axis) for n in (1, 2, 3, 5) for axis in (None, 0, -1)],
    np.cumsum: [(real(2, 3), None), (real(2, 3), 0), (real(2, 3), -1)],
    np.linalg.norm: [(real(2, 3),), (real(2, 3), None, 1), (real(2, 3), 2, 0), (real(2, 3), "fro")],
    np.sort: [(apart(2, 3, 2), axis) for axis in (None, 0, 1, -1)] + [(apart(5),)],
    np.median: [*_along(apart), (apart(2, 3, 2), 1), (apart(3, 3),), (apart(2, 3, 3), (1, -1)), (apart(1),), (real(),)],
    np.take_along_axis: [
        (real(2, 3), np.array([[2, 0], [-1, 1]]), 1),
        (real(2, 3), np.array([[1, 0, 1], [1, 1, 1]]), 0),
        (real(2, 3), np.array([[2, 0, 2, 2]]), -1),
        (real(1, 3), np.array([[2, 0], [1, 1]]), -1),
        (real(2, 3), np.array([5, 0, 5]), None),
        (real(3), np.array([1, 0, 2, 1])),
    ],
    r.logsumexp: _along(real),
    r.log_softmax: [(real(2, 3),), (real(2, 3), 0)],
    r.softmax: [(real(2, 3),), (real(2, 3), 0)],
    np.matmul: _MATMUL + _MATMUL_BATCH,
    np.dot: [*_MATMUL, (real(), real(3)), (real(2, 3), real(2, 3, 2))],
    np.inner: [(real(3), real(3)), (real(2, 3), real(4, 3))],
    np.vdot: [(real(2, 3), real(2, 3))],
    np.outer: [(real(3), real(2)), (real(2, 2), real(2))],
    np.tensordot: [(real(2, 3), real(3, 2), axes) for axes in (0, 1, ((0, 1), (1, 0)), (1, 0))],
    np.trace: [(real(3, 3),), (real(2, 3),)],
    np.einsum: [
        ("ij,jk->ik", real(2, 3), real(3, 2)),
        ("bij,bj->bi", real(2, 3, 2), real(2, 2)),
        ("ij,ij->", real(2, 3), real(2, 3)),
        ("ij->", real(2, 3)),
        ("ij->j", real(2, 3)),
        ("ij->ji", real(2, 3)),
        ("i,j,k->kij", real(2), real(3), real(2)),
        ("ab,bc,cd", real(2, 3), real(3, 2), real(2, 2)),
        ("i,j", real(2), real(3)),
        ("...ij,...j->...i", real(2, 3, 2), real(2)),
        ("...i->i...", real(2, 3)),
        ("ij,j->i", real(2, 3), real(1)),
    ],
    np.transpose: [(real(2, 3, 2),), (real(2, 3, 2), (2, 0, -2))],
    np.matrix_transpose: [(real(2, 3, 2),)],
    np.swapaxes: [(real(2, 3, 2), 0, -1)],
    np.moveaxis: [(real(2, 3, 2), 0, -1), (real(2, 3, 2), (0, 1), (-1, 0))],
    np.reshape: [(real(2, 3), (3, -1)), (real(2, 3), 6)],
    np.ravel: [(real(2, 3),)],
    np.broadcast_to: [(real(1, 3), (2, 2, 3)), (real(), (2, 3)), (real(3), (2, 3))],
    np.full_like: [(real(2, 3), real()), (real(2, 3), real(3))],
    np.expand_dims: [(real(2, 3), 1), (real(2, 3), (0, -1))],
    np.squeeze: [(real(2, 1, 3, 1),), (real(2, 1, 3, 1), 1)],
    np.flip: [(real(2, 3), -1)],
    np.concatenate: [
        ((real(2, 3), real(1, 3)), 0),
        ((real(2, 3), real(2, 1), real(2, 2)), -1),
        ((real(2, 3), real(2)), None),
    ],
    np.stack: [((real(2, 3), real(2, 3)), 1), ((real(), real()), -1)],
    np.split: [(real(4, 3), 2), (real(2, 5), (1, 3), -1)],
    np.astype: [(real(2, 3), np.float64)],
    np.atleast_1d: [(real(),), (real(2),)],
    np.atleast_2d: [(real(),), (real(2),)],
}
