"""Examples of the Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.ad.domains.draws import Example, real

_ONE: list[Example] = [
    (real(6),),
    (real(5),),
    (real(5), 8),
    (real(5), 4, -1, "ortho"),
    (real(5, 2), 3, 0, "forward"),
    (real(2, 4, 2), None, 1, "backward"),
    (real(2, 2), 1),
]
_HALF: list[Example] = [example for example in _ONE if example != _ONE[-1]] + [(real(3, 2), 3)]
_SOME: list[Example] = [
    (real(3, 4),),
    (real(2, 3, 4), (4, 3), (0, 2)),
    (real(2, 3, 4), (2, -1), (2, 1), "ortho"),
    (real(4, 3), None, (0,), "forward"),
]
_TWO: list[Example] = [(real(3, 4),), (real(2, 3, 5), (4, 2)), (real(3, 4, 2), None, (0, 1), "ortho")]

EXAMPLES: dict[Any, list[Example]] = {
    np.fft.fft: _ONE,
    np.fft.ifft: _ONE,
    np.fft.rfft: _ONE,
    np.fft.irfft: _HALF,
    np.fft.hfft: _HALF,
    np.fft.ihfft: _ONE,
    np.fft.fft2: _TWO,
    np.fft.ifft2: _TWO,
    np.fft.rfft2: _TWO,
    np.fft.irfft2: _TWO,
    np.fft.fftn: _SOME,
    np.fft.ifftn: _SOME,
    np.fft.rfftn: _SOME,
    np.fft.irfftn: _SOME,
    np.fft.fftshift: [(real(5),), (real(3, 4),), (real(3, 4), 0), (real(3, 4, 2), (0, 2))],
    np.fft.ifftshift: [(real(5),), (real(3, 4),), (real(3, 4), 0), (real(3, 4, 2), (0, 2))],
}
