"""Examples of the functions that reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, along, apart, real
from metagrad.ad.functions import reductions

_NONE: tuple[int, ...] = ()

EXAMPLES: dict[Any, list[Example]] = {
    np.sum: [*along(real), (real(2, 3), _NONE), (real(2, 3), 0, np.float64), (real(),)],
    np.mean: [*along(real), (real(2, 3), _NONE), (real(2, 3), -1, np.float64), (real(),)],
    np.var: [*along(real), (real(4), 0, np.float64)],
    np.std: [(real(3, 4), None), (real(2, 3, 4), 1), (real(2, 3, 4), (0, 2))],  # of two numbers it is linear
    np.max: [*along(apart), (apart(2, 3), _NONE), (real(),)],
    np.amax: [(apart(2, 3), 1)],
    np.min: [*along(apart), (apart(2, 3), _NONE), (real(),)],
    np.amin: [(apart(2, 3), 1)],
    np.ptp: along(apart),
    np.prod: [
        *[(real(n, 2), axis) for n in (1, 2, 3, 5) for axis in (None, 0, -1)],
        (real(2, 3, 2), (0, -1)),
        (real(2, 3, 2), (1, 0)),
        (real(2, 3), _NONE),
        (real(2, 3), 1, np.float64),
        (real(),),
    ],
    reductions.logsumexp: along(real),
    reductions.log_softmax: [(real(2, 3),), (real(2, 3), 0)],
    reductions.softmax: [(real(2, 3),), (real(2, 3), 0)],
}
