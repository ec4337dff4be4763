"""Examples of the functions of scipy.signal."""

from __future__ import annotations

from typing import Any

import scipy.signal

from metagrad.ad.domains.draws import Example, real

_MODES = ("full", "same", "valid")
_LINES: list[Example] = [(real(6), real(n), mode) for n in (3, 2) for mode in _MODES] + [(real(2), real(4), "valid")]
_PLANES: list[Example] = [(real(3, 5), real(2, 2)), *[(real(4, 3), real(3, 2), mode) for mode in _MODES]]

EXAMPLES: dict[Any, list[Example]] = {
    scipy.signal.convolve: [*_LINES, *_PLANES, (real(5), real(2), "same", "fft"), (real(), real())],
    scipy.signal.correlate: [*_LINES, *_PLANES, (real(5), real(2), "same", "fft"), (real(2, 3, 2), real(2, 2, 1))],
    scipy.signal.fftconvolve: [*_LINES, *_PLANES],
    scipy.signal.convolve2d: _PLANES,
}
