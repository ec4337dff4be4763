"""Examples of angles and their functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, apart, between, nonzero, one, positive, real, two

EXAMPLES: dict[Any, list[Example]] = {
    np.tan: one(between(-1.2, 1.2)),
    np.arcsin: one(between(-0.8, 0.8)),
    np.arccos: one(between(-0.8, 0.8)),
    np.arccosh: one(between(1.2, 3.0)),
    np.arctanh: one(between(-0.8, 0.8)),
    np.arctan2: two(positive, nonzero),
    np.hypot: two(positive, nonzero),
    np.radians: one(real),
    np.deg2rad: one(real),
    np.degrees: one(real),
    np.rad2deg: one(real),
    np.sinc: [*one(real), (between(-1e-3, 1e-3)(2, 2),), (between(1.0, 4.0)(3),)],
    np.unwrap: [
        (apart(12),),
        (apart(4, 3),),
        (apart(4, 3), None, 0),
        (apart(2, 9), 3.3, 1),
    ],
}
