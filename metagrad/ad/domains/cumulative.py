"""Examples of the functions that go along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, positive, real

_LINE: list[Example] = [(real(2, 3), None), (real(2, 3), 0), (real(2, 3, 2), -1), (real(4),), (real(),)]

EXAMPLES: dict[Any, list[Example]] = {
    np.cumsum: [*_LINE, (real(2, 3), 1, np.float64)],
    np.cumprod: [*_LINE, (real(6),), (real(2, 3), 1, np.float64)],
    np.cumulative_sum: [(real(4),)],
    np.cumulative_prod: [(real(4),)],
    np.diff: [
        *[(real(5),), (real(2, 4), 2), (real(4, 2), 1, 0), (real(2, 4), 0), (real(2, 3, 3), 2, 1)],
        *[(real(2, 3), 1, -1, real(2, 1), real(2, 2)), (real(2, 3), 1, 0, 0.5, real(1, 3))],
    ],
    np.ediff1d: [(real(2, 3),), (real(4), real(2), real()), (real(4), 1.5), (real(1),)],
    np.gradient: [
        *[(real(5),), (real(5), 0.5), (real(3, 4),), (real(3, 4), 0.5, 2.0), (real(4), positive())],
        *[(real(2, 4), (0.0, 1.0), (0.0, 0.5, 2.0, 2.5))],
    ],
    np.trapezoid: [
        *[(real(5),), (real(2, 4), None, 0.5), (real(2, 4), None, real()), (real(4, 2), None, 1.0, 0)],
        *[
            (real(2, 4), real(4)),
            (real(4), (0.0, 1.0, 1.5, 3.0)),
            (real(2, 4), real(2, 4)),
            (real(3, 2), real(3), 1.0, 0),
        ],
    ],
}
