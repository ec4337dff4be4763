"""The gates of an LSTM layer on a CUDA device, one kernel a direction: `lstm_gates.cu`, compiled at its first use.

The source compiles for devices, and its host build gives NumPy's numbers (tests/backends); it was not run on a device.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from metagrad.xp import Array, Namespace, namespace

_THREADS = 256  # a block
_MOST_BLOCKS = 1 << 16  # beyond, a thread takes several cells


class CudaGates:
    """What `_lstm_cell.Gates` does, for CuPy arrays of float32 or float64 that are contiguous."""

    def __init__(self, room: Array) -> None:
        """Compile, or find, the kernels for the dtype of room (4H, N), which is not kept: nothing lies between."""
        dtype, cells = np.dtype(room.dtype).name, room.size // 4
        self._open, self._close = (_kernel(namespace(room), f"{name}_gates_{dtype}") for name in ("open", "close"))
        self._cells = np.int64(cells)
        self._grid = (max(1, min(-(-cells // _THREADS), _MOST_BLOCKS)),)

    def forward(self, z: Array, c: Array, c_next: Array, h: Array) -> None:
        """Turn z into the gates, and write c' and h."""
        self._open(self._grid, (_THREADS,), (self._cells, z, c, c_next, h))

    def backward(self, z: Array, c: Array, c_next: Array, dh: Array, sent: Array, dc: Array) -> None:
        """Turn the gates into the adjoint of z, and dc into that of c; the adjoint of h is dh + sent."""
        dh += sent
        self._close(self._grid, (_THREADS,), (self._cells, z, c, c_next, dh, dc))

    def add_products(self, dz: Array, read: Array, total: Array) -> None:
        """Add dz read' to total."""
        total += namespace(dz).matmul(dz, read.T)


@cache
def source() -> str:
    """Return the CUDA C++ source."""
    return files("metagrad.kernels").joinpath("lstm_gates.cu").read_text(encoding="utf-8")


@cache
def _kernel(xp: Namespace, name: str) -> Any:
    # CuPy compiles for the device at hand, and once more where another one calls it.
    return xp.RawModule(code=source()).get_function(name)
