"""Examples of the functions that are products."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, real

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

EXAMPLES: dict[Any, list[Example]] = {
    np.matmul: _MATMUL + _MATMUL_BATCH,
    np.dot: [*_MATMUL, (real(), real(3)), (real(), real()), (real(2, 3), real(2, 3, 2))],
    np.inner: [(real(3), real(3)), (real(), real(2)), (real(3), real(2, 3)), (real(2, 3), real(4, 3))],
    np.vdot: [(real(), real()), (real(2, 3), real(2, 3))],
    np.outer: [(real(), real(2)), (real(3), real(2)), (real(2, 2), real(2))],
    np.tensordot: [(real(2, 3), real(3, 2), axes) for axes in (0, 1, ((0, 1), (1, 0)), (1, 0))],
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
        ("ii->i", real(3, 3)),
        ("ii", real(3, 3)),
        ("iij->ij", real(2, 2, 3)),
        ("iji,jj->j", real(2, 3, 2), real(3, 3)),
        ("iii,i->", real(2, 2, 2), real(2)),
    ],
}
