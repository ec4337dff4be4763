"""Examples of the functions of the order of entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, along, apart, real

EXAMPLES: dict[Any, list[Example]] = {
    np.sort: [(apart(2, 3, 2), axis) for axis in (None, 0, 1, -1)] + [(apart(5),)],
    np.median: [*along(apart), (apart(2, 3, 2), 1), (apart(3, 3),), (apart(2, 3, 3), (1, -1)), (apart(1),), (real(),)],
    np.take_along_axis: [
        (real(2, 3), np.array([[2, 0], [-1, 1]]), 1),
        (real(2, 3), np.array([[1, 0, 1], [1, 1, 1]]), 0),
        (real(2, 3), np.array([[2, 0, 2, 2]]), -1),
        (real(1, 3), np.array([[2, 0], [1, 1]]), -1),
        (real(2, 3), np.array([5, 0, 5]), None),
        (real(3), np.array([1, 0, 2, 1])),
    ],
}
