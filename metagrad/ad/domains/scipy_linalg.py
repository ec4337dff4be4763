"""Examples of the functions of scipy.linalg."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as s

from metagrad.ad.domains.draws import Example, definite, real
from metagrad.ad.domains.factors import DEFINITE
from metagrad.ad.domains.linalg import LEAST, NORMS, RECTANGLES, SQUARE, SYSTEMS

_ONE: list[Example] = [example for example in RECTANGLES if len(example[0].shape) == 2]
_TRIANGLES: list[Example] = [
    (definite(3, 3), real(3)),
    (definite(3, 3), real(3, 2), 1, True),
    (definite(2, 3, 3), real(3, 2), "T", False, True),
    (definite(2, 3, 3), real(3), 0, True),
    (definite(3, 3), real(2, 3, 2)),
]

# Its derivative by the factor is in tests/ad/test_linalg.py: beside the factor stands a flag, which has none.
_FACTOR = np.array([[1.0, 7.0, 7.0], [0.5, 1.5, 7.0], [-0.2, 0.3, 0.8]])

EXAMPLES: dict[Any, list[Example]] = {
    s.solve: SYSTEMS
    + [(definite(3, 3), real(3, 2), False, False, False, True, kind) for kind in ("sym", "pos", "upper triangular")]
    + [(definite(3, 3), real(3), True, False, False, True, kind, True) for kind in ("gen", "pos", "diagonal")],
    s.inv: SQUARE,
    s.det: SQUARE,
    # Of one matrix, SciPy's norms 1 and inf are Python floats, which have no dtype to compare.
    s.norm: [e for e in NORMS if len(e) > 2 or e[-1] not in (1, np.inf)],
    s.pinv: RECTANGLES,
    s.lstsq: LEAST,
    s.cholesky: [*DEFINITE, *[(*example, True) for example in DEFINITE]],
    s.cho_factor: [*DEFINITE[:2], (definite(3, 3), True)],
    s.cho_solve: [
        ((_FACTOR, True), real(3)),
        ((_FACTOR.T, False), real(3, 2)),
    ],
    s.solve_triangular: _TRIANGLES,
    # LAPACK's driver here takes signs that may change between neighbours; what is signless is in test_factors.
    s.eigh: [DEFINITE[0], DEFINITE[3]],
    s.eigvalsh: DEFINITE,
    s.svd: [*SQUARE[:3], *[(*e, False) for e in RECTANGLES], *[(*e, True, False) for e in RECTANGLES]],
    s.svdvals: RECTANGLES,
    s.qr: [*[(*e, False, None, "economic") for e in RECTANGLES], *[(*e, False, None, "r") for e in _ONE], *SQUARE[:3]],
    s.expm: [(real(1, 1),), (real(3, 3),), (real(2, 2, 2),)],
    s.block_diag: [(real(2, 2), real(1, 3)), (real(2, 1, 2), real(2))],
    s.toeplitz: [(real(3),), (real(3), real(2)), (real(2, 3), real(2, 4))],
    s.circulant: [(real(3),), (real(2, 3),)],
}
