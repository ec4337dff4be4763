"""Examples of the functions of the order of entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, along, apart, between, real

_LEVELS = (0.0, 0.3, 0.5, 0.85, 1.0)
_METHODS = (
    *("linear", "lower", "higher", "midpoint", "nearest", "hazen", "weibull", "median_unbiased", "normal_unbiased"),
    *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"),
)
_SHARE = between(0.3, 0.45)  # of four entries: in one interval


def quantiles(whole: float) -> list[Example]:
    """Return examples of quantiles, where `whole` is the level of the largest entry."""
    levels = tuple(q * whole for q in _LEVELS)
    return [
        *[(x, 0.3 * whole, axis) for x, axis in along(apart)],
        *[(apart(2, 3), levels), (apart(2, 3), levels, 1), (apart(3), (levels, levels)), (real(), 0.3 * whole)],
        *[(apart(2, 5), 0.7 * whole, 0), (apart(1), 0.5 * whole)],
    ]


EXAMPLES: dict[Any, list[Example]] = {
    np.sort: [(apart(2, 3, 2), axis) for axis in (None, 0, 1, -1)] + [(apart(5),), (apart(4), -1, "stable")],
    np.partition: [
        *[(apart(7), 3), (apart(2, 5), (1, 3)), (apart(4, 2), -1, 0), (apart(2, 3), 2, None)],
    ],
    np.median: [*along(apart), (apart(2, 3, 2), 1), (apart(3, 3),), (apart(2, 3, 3), (1, -1)), (apart(1),), (real(),)],
    np.quantile: [*quantiles(1.0), (apart(4), _SHARE()), (apart(2, 4), _SHARE(2), 1)],
    np.percentile: quantiles(100.0),
    np.take_along_axis: [
        (real(2, 3), np.array([[2, 0], [-1, 1]]), 1),
        (real(2, 3), np.array([[1, 0, 1], [1, 1, 1]]), 0),
        (real(2, 3), np.array([[2, 0, 2, 2]]), -1),
        (real(1, 3), np.array([[2, 0], [1, 1]]), -1),
        (real(2, 3), np.array([5, 0, 5]), None),
        (real(3), np.array([1, 0, 2, 1])),
    ],
}
