"""Examples of the functions of signals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from metagrad.ad.domains.draws import Example, between, real

_PAIRS = [(real(5), real(3)), (real(2), real(4)), (real(3), real(3)), (real(4), real(1))]
_MODES = [(a, v, mode) for a, v in _PAIRS for mode in ("full", "same", "valid")]
_KNOTS = np.array([-0.5, 0.0, 1.0, 2.5])
_WITHIN = between(0.1, 0.9)  # and 1 to 1.8 beside it: no point of _KNOTS is near

EXAMPLES: dict[Any, list[Example]] = {
    np.convolve: [*_PAIRS[:2], *_MODES, (real(), real(3)), (real(), real())],
    np.correlate: [*_PAIRS[:2], *_MODES],
    np.interp: [
        (_WITHIN(3), _KNOTS, real(4)),
        (_WITHIN(), _KNOTS, real(4)),
        (between(1.1, 2.4)(2, 3), _KNOTS, real(4)),
        (between(2.6, 3.0)(2), _KNOTS, real(4)),
        (between(-2.0, -0.6)(2), _KNOTS, real(4), 1.5),
        (between(2.6, 3.0)(2), _KNOTS, real(4), None, -1.5),
        (between(3.1, 3.9)(2), _KNOTS, real(4), None, None, 3.0),
        (between(1.1, 1.4)(2), between(0.2, 0.9)(1), real(1)),
    ],
    sliding_window_view: [
        (real(5), 2),
        (real(5), (4,)),
        (real(3, 4), (2, 2)),
        (real(3, 4), 2, 0),
        (real(3, 4), 3, -1),
        (real(2, 4, 3), (2, 2), (1, 2)),
        (real(5), (2, 2), (0, 0)),
    ],
}
