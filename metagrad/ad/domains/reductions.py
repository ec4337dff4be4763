"""Examples of the functions that reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, along, apart, real
from metagrad.ad.functions import reductions

EXAMPLES: dict[Any, list[Example]] = {
    np.mean: along(real),
    np.var: along(real),
    np.std: [(real(3, 4), None), (real(2, 3, 4), 1), (real(2, 3, 4), (0, 2))],  # of two numbers it is linear
    np.max: along(apart),
    np.min: along(apart),
    np.prod: [(real(n, 2), axis) for n in (1, 2, 3, 5) for axis in (None, 0, -1)],
    np.cumsum: [(real(2, 3), None), (real(2, 3), 0), (real(2, 3), -1)],
    reductions.logsumexp: along(real),
    reductions.log_softmax: [(real(2, 3),), (real(2, 3), 0)],
    reductions.softmax: [(real(2, 3),), (real(2, 3), 0)],
}
