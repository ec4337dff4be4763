"""Examples of the functions of statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, along, apart, positive, real
from metagrad.ad.domains.sorting import quantiles

EXAMPLES: dict[Any, list[Example]] = {
    np.average: [
        *along(real),
        *[(real(2, 3), None, positive(2, 3)), (real(2, 3), 1, positive(3)), (real(2, 3, 2), (2, 0), positive(2, 2))],
        *[(real(2, 3), 0, positive(2, 3), True), (real(3), None, (0.5, 1.0, 2.0))],
    ],
    np.bincount: [(np.array([0, 2, 2, 1]), positive(4)), (np.array([0, 2]), real(2), 5)],
    **{f: along(real) for f in (np.nansum, np.nanmean, np.nanprod, np.nanvar)},
    np.nanstd: [(real(3, 4), None), (real(2, 3, 4), 1), (real(2, 3, 4), (0, 2))],
    **{f: along(apart) for f in (np.nanmax, np.nanmin)},
    np.nanmedian: [*along(apart), (apart(3, 3),), (real(),)],
    np.nancumsum: [(real(2, 3), None), (real(2, 3), 0)],
    np.nancumprod: [(real(2, 3), None), (real(2, 3), 0)],
    np.nanquantile: quantiles(1.0),
    np.nanpercentile: quantiles(100.0),
}
