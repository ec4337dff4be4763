"""Examples of the functions that are other products."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, real

_VECTORS: list[Example] = [(real(3), real(3)), (real(2, 1, 3), real(2, 3)), (real(2, 3), real(3))]

EXAMPLES: dict[Any, list[Example]] = {
    np.vecdot: _VECTORS,
    np.cross: [*_VECTORS, (real(3, 2), real(2, 3), 0, -1, 0), (real(2, 3), real(2, 3), -1, -1, 0)],
    np.kron: [(real(2, 2), real(1, 3)), (real(2), real(2, 2)), (real(), real(2)), (real(2, 1, 2), real(2))],
    np.linalg.matmul: [(real(2, 3), real(3, 2)), (real(2, 2, 3), real(3))],
    np.linalg.tensordot: [(real(2, 3, 2), real(3, 2))],
    np.linalg.vecdot: _VECTORS,
    np.linalg.outer: [(real(2), real(3))],
    np.linalg.cross: _VECTORS,
    np.linalg.diagonal: [(real(2, 3),), (real(2, 2, 3),)],
    np.linalg.trace: [(real(2, 3),), (real(2, 2, 3),)],
    np.linalg.matrix_transpose: [(real(2, 3, 2),)],
    np.polyval: [(real(4), real(2, 3)), (real(1), real(3)), (real(3), real())],
    np.poly: [(real(3),), (real(1),)],
    np.polyadd: [(real(3), real(2)), (real(2), real(2))],
    np.polysub: [(real(2), real(3))],
    np.polyder: [(real(4),), (real(4), 2), (real(3), 0)],
    np.polyint: [(real(3),), (real(2), 2)],
    np.vander: [(real(3),), (real(2), 4), (real(2), 3, True), (real(2), 1)],
    np.cov: [
        (real(2, 4),),
        (real(4), real(4)),
        (real(4),),
        (real(4, 2), None, False),
        (real(2, 4), real(4), True, True),
    ],
    np.corrcoef: [(real(3, 4),), (real(4), real(4)), (real(4, 3), None, False)],
}
for _name, _examples in {
    "matvec": [(real(2, 3), real(3)), (real(2, 2, 3), real(2, 1, 3)), (real(2, 3), real(2, 3))],
    "vecmat": [(real(3), real(3, 2)), (real(2, 1, 3), real(2, 3, 2))],
}.items():
    if hasattr(np, _name):
        EXAMPLES[getattr(np, _name)] = _examples
