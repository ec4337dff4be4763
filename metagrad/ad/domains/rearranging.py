"""Examples of the functions that move, repeat and pick entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, real

EXAMPLES: dict[Any, list[Example]] = {
    np.roll: [(real(2, 3), 2), (real(2, 3), -1, 0), (real(2, 3, 2), (1, -2), (0, 2)), (real(2, 3), 4, (0, 1))],
    np.tile: [(real(2, 3), 2), (real(3), (2, 1, 2)), (real(2, 1, 2), (2, 1)), (real(), 3)],
    np.repeat: [(real(2, 3), 2), (real(2, 3), 3, 1), (real(2, 3), (2, 0, 1), -1), (real(), 2)],
    np.resize: [(real(2, 3), (3, 3)), (real(2, 3), 4), (real(), (2, 2))],
    np.diagonal: [(real(2, 3),), (real(2, 3, 2), 1, 2, 0), (real(3, 2), -1), (real(2, 2), 5)],
    np.diag: [(real(3),), (real(2), -1), (real(2, 3),), (real(2, 3), 1)],
    np.diagflat: [(real(2, 2),), (real(2), 1), (real(),)],
    np.trace: [(real(3, 3),), (real(2, 3),), (real(2, 3), 1), (real(3, 2, 3), -1, 0, -1)],
    np.tril: [(real(3, 3),), (real(2, 2, 3), -1), (real(3),)],
    np.triu: [(real(3, 3),), (real(2, 2, 3), 1), (real(3),)],
    np.fliplr: [(real(2, 3),)],
    np.flipud: [(real(2, 3),)],
    np.rot90: [*[(real(2, 3), k) for k in (0, 1, 2, -1)], (real(2, 3, 2), 1, (2, 0))],
    np.rollaxis: [(real(2, 3, 2), 2), (real(2, 3, 2), 0, 3), (real(2, 3, 2), -1, 1)],
    np.broadcast_arrays: [(real(2, 1), real(3)), (real(), real(2))],
    np.meshgrid: [(real(2), real(3)), (real(2), real(3), real(2)), (real(), real(2)), (real(2),)],
    np.pad: [
        (real(2, 3), 1),
        (real(2, 3), ((1, 2), (0, 1)), "constant"),
        *[(real(2, 3), ((1, 0), (1, 2)), mode) for mode in ("edge", "reflect", "symmetric", "wrap")],
        (real(3), (4, 3), "wrap"),
    ],
    np.apply_along_axis: [(np.cumsum, 1, real(2, 3)), (np.sum, 0, real(2, 3)), (np.diag, 1, real(2, 3, 2))],
    np.apply_over_axes: [(np.sum, real(2, 3, 2), (0, 2)), (np.mean, real(2, 3), 1)],
}
