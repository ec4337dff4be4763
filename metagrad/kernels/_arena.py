"""One piece of memory for all arrays of a window of steps, which the next window finds again.

A window asks for tens or hundreds of megabytes. The system hands out such memory page by page and in zeros, up to a
quarter of the time of a meta-gradient: so the last piece is kept, if it has at most 512 MiB.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from metagrad.xp import Array

_MOST_KEPT = 1 << 29
_ALIGNMENT = 64
_kept: list[Array] = []  # one piece or none


class Arena:
    """Arrays from one piece of memory, uninitialised, that live no longer than `owner` does."""

    def __init__(self, owner: object, size: int) -> None:
        """Take the piece that was kept if it has `size` bytes, else a new one."""
        try:
            kept = _kept.pop()  # one call, as another thread may be asking too
        except IndexError:
            kept = np.empty(0, np.uint8)
        self._piece = kept if kept.size >= size else np.empty(size, np.uint8)
        self._used = -self._piece.ctypes.data % _ALIGNMENT
        if self._piece.size <= _MOST_KEPT:
            weakref.finalize(owner, _keep, self._piece)

    def array(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array from the piece, or, where it is used up, another one."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        start, self._used = self._used, self._used + size + -size % _ALIGNMENT
        if start + size > self._piece.size:
            return np.empty(shape, dtype)
        return self._piece[start : start + size].view(dtype).reshape(shape)


def _keep(piece: Array) -> None:
    _kept[:] = [piece]
