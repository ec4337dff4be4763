"""Examples of remainders, limits and what else picks or cuts numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, Kind, apart, between, nonzero, one, positive, real, two

_UNITS: Kind = between(0.9, 1.0)  # apart / _UNITS is far from whole numbers
_REMAINDERS: list[Example] = [
    (between(2.2, 2.5)(2, 3), _UNITS(2, 3)),
    (between(-2.5, -2.2)(2, 3), _UNITS(3)),
    (between(5.2, 5.4)(), _UNITS(3)),
    (between(-0.8, -0.2)(3), between(-1.2, -0.9)()),
    (between(2.2, 2.8)(2, 1), 1.0),
    (7.3, _UNITS(3)),
]
_LIMITED: list[Example] = [
    (apart(2, 3), apart(3, offset=0.3)),
    (apart(2, 1), apart(1, 3, offset=0.3)),
    (apart(4), 0.2),
    (apart(), apart(3, offset=0.3)),
]

EXAMPLES: dict[Any, list[Example]] = {
    np.remainder: _REMAINDERS,
    np.fmod: _REMAINDERS,
    np.divmod: _REMAINDERS,
    np.modf: one(between(1.2, 1.8)) + one(between(-1.8, -1.2)),
    np.ldexp: [(real(2, 3), np.array([1, -2, 3])), (real(3), 4), (real(), np.array([2, 3]))],
    np.fmax: _LIMITED,
    np.fmin: _LIMITED,
    np.exp2: one(real),
    np.cbrt: one(nonzero),
    np.logaddexp2: two(real, real),
    np.nan_to_num: [(real(3, 2),), (real(),), (real(3), True, 1.0, 2.0, 3.0)],
    np.float_power: [*two(positive, real), (nonzero(3), 2), (positive(3), 0.5), (2.5, real(3))],
    np.copysign: [(nonzero(2, 3), nonzero(3)), (nonzero(3), -1.0), (nonzero(), nonzero()), (2.0, nonzero(3))],
    np.heaviside: [(nonzero(3), real(3)), (np.array([-1.0, 0.0, 2.0]), real(2, 1)), (nonzero(3), 0.5)],
    np.nextafter: [(nonzero(2, 3), nonzero(3)), (nonzero(3), 5.0), (nonzero(), nonzero())],
    np.real: one(real),
    np.real_if_close: one(real),
    np.conjugate: one(real),
}
