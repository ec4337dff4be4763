"""Examples of the functions that work entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, apart, nonzero, one, positive, real, two
from metagrad.ad.functions import elementwise

_POWERS: list[Example] = [(nonzero(3), p) for p in (0, 1, 2, 3, -1, -2, 2.0)] + [(positive(3), p) for p in (0.5, -1.5)]


EXAMPLES: dict[Any, list[Example]] = {
    np.add: two(real, real),
    np.subtract: two(real, real),
    np.multiply: two(real, real),
    np.divide: two(real, nonzero),
    np.power: two(positive, real) + _POWERS,
    np.maximum: [(apart(2, 3), apart(3, offset=0.3))],
    np.minimum: [(apart(2, 3), apart(3, offset=0.3))],
    np.logaddexp: two(real, real),
    np.negative: one(real),
    np.positive: one(real),
    np.copy: one(real),
    np.square: one(real),
    np.sqrt: one(positive),
    np.exp: one(real),
    np.expm1: one(real),
    np.log: one(positive),
    np.log2: one(positive),
    np.log10: one(positive),
    np.log1p: one(positive),
    np.sin: one(real),
    np.cos: one(real),
    np.sinh: one(real),
    np.cosh: one(real),
    np.tanh: one(real),
    np.arctan: one(real),
    np.arcsinh: one(real),
    np.absolute: one(nonzero),
    np.fabs: one(nonzero),
    np.reciprocal: one(nonzero),
    elementwise.sigmoid: one(real),
    elementwise.relu: one(nonzero),
    np.where: [(np.array([True, False, True]), real(2, 3), real(3))],
    np.clip: [(apart(2, 3), -0.55, 0.55), (apart(4), None, 0.55)],
}
