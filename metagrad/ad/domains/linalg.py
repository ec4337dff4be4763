"""Examples of the functions of linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Draw, Example, apart, invertible, nonzero, real


def spread(*shape: int) -> Draw:
    """Matrices (..., m, n) with singular values 0.5 to 2, all apart."""

    def sample(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        left, _, right = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
        return (left * np.linspace(0.5, 2.0, left.shape[-1])) @ right

    return Draw(sample, shape)


def uneven(*shape: int) -> Draw:
    """Numbers of either sign in a geometric series, in some order: sums of some of them differ too."""

    def sample(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        size = int(np.prod(shape))
        return (0.2 * 1.35 ** rng.permutation(size) * rng.choice([-1.0, 1.0], size)).reshape(shape)

    return Draw(sample, shape)


def reshaped(n: int, *shape: int) -> Draw:
    """An invertible n x n matrix in another shape."""
    return Draw(lambda rng, shape: invertible(n, n).sample(rng, (n, n)).reshape(shape), shape)


SQUARE: list[Example] = [(invertible(1, 1),), (invertible(3, 3),), (invertible(2, 3, 3),), (invertible(5, 5),)]
SYSTEMS: list[Example] = [
    (invertible(1, 1), real(1)),
    (invertible(3, 3), real(3)),
    (invertible(3, 3), real(3, 2)),
    (invertible(2, 3, 3), real(3)),
    (invertible(2, 3, 3), real(3, 2)),
    (invertible(3, 3), real(2, 3, 1)),
    (np.array([[2.0, 1.0], [0.5, 3.0]]), real(2)),
]
RECTANGLES: list[Example] = [(spread(4, 3),), (spread(2, 3),), (spread(2, 3, 2),), (spread(3, 3),), (spread(1, 1),)]
LEAST: list[Example] = [(spread(4, 2), real(4)), (spread(4, 2), real(4, 2)), (spread(2, 3), real(2))]
NORMS: list[Example] = [
    (real(2, 3),),
    (real(2, 3), None, 1),
    (real(2, 3), 2, 0),
    (real(2, 3), "fro"),
    (real(2, 3, 2), None, (0, 2)),
    (real(2, 3, 2),),
    *[(apart(2, 3), p, -1) for p in (1, np.inf, -np.inf, 0)],
    *[(nonzero(2, 3), p, 0) for p in (3, 2.5, -1, 0.5)],
    *[(uneven(2, 3), p) for p in (1, -1, np.inf, -np.inf)],
    *[(spread(3, 2), p) for p in (2, -2, "nuc")],
    *[(uneven(2, 3, 2), p, (2, 0), True) for p in (1, -np.inf)],
    (spread(2, 3, 2), 2, (-2, -1), True),
]

EXAMPLES: dict[Any, list[Example]] = {
    np.linalg.solve: SYSTEMS,
    np.linalg.inv: SQUARE,
    np.linalg.det: SQUARE,
    np.linalg.slogdet: SQUARE,
    np.linalg.norm: NORMS,
    np.linalg.vector_norm: [(real(2, 3),), (real(),)],
    np.linalg.matrix_norm: [(real(2, 3),), (real(2, 2, 3),)],
    np.linalg.cond: [(invertible(3, 3), p) for p in (None, 2, -2, "fro", "nuc")] + [(invertible(2, 2, 2),)],
    np.linalg.matrix_power: [(invertible(3, 3), n) for n in (1, 2, 3, 5, -1, -2)] + [(invertible(2, 2, 2), 6)],
    np.linalg.multi_dot: [
        ((real(2, 3), real(3, 2)),),
        ((real(2, 3), real(3, 4), real(4, 2)),),
        ((real(3), real(3, 4), real(4, 2), real(2)),),
        ((real(2, 5), real(5, 3), real(3, 4), real(4, 2)),),
    ],
    np.linalg.pinv: RECTANGLES,
    np.linalg.lstsq: LEAST,
    np.linalg.tensorsolve: [(reshaped(6, 2, 3, 6), real(2, 3)), (reshaped(2, 2, 1, 2), real(2), (1,))],
    np.linalg.tensorinv: [(reshaped(6, 6, 2, 3), 1), (reshaped(4, 2, 2, 4),)],
}
