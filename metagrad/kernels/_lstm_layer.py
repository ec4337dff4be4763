"""One layer of the coordinate-wise LSTM in a window of steps.

Coordinates are columns, N of them, the last axis of every array. At step k a layer reads
one array [x; h; 1] of (inputs + H + 1, N), so that one product with the packed weights, the bias among them, gives all
four gates, and two more products backwards give the adjoints of what was read and of the weights:

    z = P [x; h; 1],    d[x; h] = P' dz,    dP = sum over k of dz [x; h; 1]'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metagrad.kernels._lstm_cell import gates
from metagrad.xp import Array, namespace


class Layer:
    """Packed weights, what is kept of every step, and the adjoints that travel backwards."""

    def __init__(self, weights: Any, steps: int, count: int, empty: Callable[..., Array]) -> None:
        """Pack the weights, and make room by empty(shape, dtype) for `steps` steps of `count` coordinates."""
        rows, columns = weights.weight.shape
        n, dtype, xp = columns // 4, weights.weight.dtype, namespace(weights.weight)
        self._xp, self._units, self.inputs = xp, n, rows - n
        i, j, f, o = xp.split(xp.concatenate([weights.weight, weights.bias[None]]).T, 4)
        self._packed = xp.concatenate([-i, -f, -o, j])
        self._packed[n : 2 * n, -1] -= 1  # the forget gate opens by 1 more than its bias says
        self._back = xp.ascontiguousarray(self._packed[:, :-1].T)
        self._gates = empty((steps, 4 * n, count), dtype)
        self.read = empty((steps + 1, rows + 1, count), dtype)
        self.read[:, -1] = 1
        self.cells = empty((steps + 1, n, count), dtype)
        self._cell = gates(empty((4 * n, count), dtype))
        self._of_read, self._dc = empty((rows, count), dtype), empty((n, count), dtype)
        self._dh = self._of_read[self.inputs :]
        self._dh[...] = self._dc[...] = 0
        self._gradient = xp.zeros(self._packed.shape, dtype)

    def x(self, k: int) -> Array:
        """Return what the k-th step reads, (inputs, N)."""
        return self.read[k, : self.inputs]

    def h(self, k: int) -> Array:
        """Return h before the k-th step, (H, N)."""
        return self.read[k, self.inputs : -1]

    def forward(self, k: int) -> Array:
        """Take the k-th step from x(k), h(k) and cells[k]; return the new h."""
        z = self._xp.matmul(self._packed, self.read[k], out=self._gates[k])
        self._cell.forward(z, self.cells[k], self.cells[k + 1], self.h(k + 1))
        return self.h(k + 1)

    @property
    def adjoints(self) -> tuple[Array, Array]:
        """The adjoints of h and c, both (H, N)."""
        return self._dh, self._dc

    def backward(self, k: int, sent: Array, *, inputs: bool, columns: Array | None = None) -> Array:
        """Pull the adjoints of h and c back through the k-th step; return that of x(k), empty unless `inputs`.

        `sent` (H, N): what others than this layer give to the adjoint of the new h.
        `columns` (N,): what the adjoints are to be multiplied by before coordinates are summed.
        """
        dz, first = self._gates[k], 0 if inputs else self.inputs
        self._cell.backward(dz, self.cells[k], self.cells[k + 1], self._dh, sent, self._dc)
        self._xp.matmul(self._back[first:], dz, out=self._of_read[first:])
        if columns is not None:
            dz *= columns
        self._cell.add_products(dz, self.read[k], self._gradient)
        return self._of_read[first : self.inputs]

    def take_gradient(self) -> tuple[Array, Array]:
        """Return what the steps gave to the weights and to the bias since the last time, and begin anew."""
        i, f, o, j = self._xp.split(self._gradient, 4)
        whole = self._xp.concatenate([-i, j, -f, -o]).T
        self._gradient[...] = 0
        return whole[:-1], whole[-1]
