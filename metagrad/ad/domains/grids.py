"""Examples of grids between ends, and of functions defined piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, positive, real

_MASK = np.array([True, False, True])

EXAMPLES: dict[Any, list[Example]] = {
    np.linspace: [(real(), real(), 4), (real(2), real(), 3), (real(), real(2, 1), 3, False), (real(), real(), 1)],
    np.logspace: [(real(), real(), 4), (real(2), real(), 3), (real(), real(), 3, False, 2.0)],
    np.geomspace: [(positive(), positive(), 4), (positive(2), positive(), 3), (positive(), positive(), 3, False)],
    np.piecewise: [
        (real(3), (_MASK, ~_MASK), (np.sin, np.exp)),
        (real(2, 3), (np.stack([_MASK, ~_MASK]),), (np.exp, np.negative)),
        (real(3), (_MASK,), (np.exp,)),
    ],
}
