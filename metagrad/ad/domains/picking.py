"""Examples of the functions that pick entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, real

_MASK = np.array([True, False, True])

EXAMPLES: dict[Any, list[Example]] = {
    np.take: [
        (real(2, 3), np.array([[5, 0], [-1, 0]])),
        (real(2, 3), np.array([2, 2]), 1),
        (real(2, 3), 1, 0),
        (real(), np.array([0, 0])),
    ],
    np.compress: [(_MASK, real(3)), (_MASK, real(2, 3), -1), (_MASK, real(2, 3))],
    np.extract: [(_MASK, real(3)), (np.array([[True, False], [True, True]]), real(2, 2))],
    np.choose: [(np.array([1, 0, 1]), (real(3), real(2, 3))), (np.array([0, 2]), (real(2), real(), real(2)))],
    np.select: [((_MASK, ~_MASK), (real(3), real(2, 3))), ((_MASK, _MASK), (real(3), real(3)), 0.5)],
    np.delete: [(real(2, 3), 4), (real(2, 3), -1, 1), (real(4, 2), (0, 2), 0)],
    np.insert: [
        (real(2, 3), 4, real()),
        (real(2, 3), 1, real(2), 1),
        (real(2, 3), (0, 2), real(2, 3), 0),
        (real(3), 1, real(2)),
    ],
}
