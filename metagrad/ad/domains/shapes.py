"""Examples of the functions that move, repeat and pick entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, real

EXAMPLES: dict[Any, list[Example]] = {
    np.transpose: [(real(2, 3, 2),), (real(2, 3, 2), (2, 0, -2))],
    np.matrix_transpose: [(real(2, 3, 2),)],
    np.swapaxes: [(real(2, 3, 2), 0, -1)],
    np.moveaxis: [(real(2, 3, 2), 0, -1), (real(2, 3, 2), (0, 1), (-1, 0))],
    np.reshape: [(real(2, 3), (3, -1)), (real(2, 3), 6), (real(2, 3, 2), (4, -1), "F"), (real(), (1, 1))],
    np.ravel: [(real(2, 3),), (real(2, 3), "F")],
    np.broadcast_to: [(real(1, 3), (2, 2, 3)), (real(), (2, 3)), (real(3), (2, 3))],
    np.full_like: [(real(2, 3), real()), (real(2, 3), real(3))],
    np.expand_dims: [(real(2, 3), 1), (real(2, 3), (0, -1))],
    np.squeeze: [(real(2, 1, 3, 1),), (real(2, 1, 3, 1), 1)],
    np.flip: [(real(2, 3), -1), (real(2, 3),), (real(2, 3, 2), (0, -1))],
    np.concatenate: [
        ((real(2, 3), real(1, 3)), 0),
        ((real(2, 3), real(2, 1), real(2, 2)), -1),
        ((real(2, 3), real(2)), None),
    ],
    np.stack: [((real(2, 3), real(2, 3)), 1), ((real(), real()), -1)],
    np.astype: [(real(2, 3), np.float64)],
}
