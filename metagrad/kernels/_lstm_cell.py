"""The gates of an LSTM layer and their derivatives, in place, on arrays whose last axis counts coordinates.

`z` (4H, N) holds the gates in the order i, f, o, j. Those of the first three come with the opposite sign, so that
sigma is 1/(1 + exp(z)): no more arithmetic than a tanh, and right to the last digits where a gate is nearly closed.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import numpy as np

from metagrad.kernels._lstm_cuda import CudaGates
from metagrad.xp import Array, namespace

_LEAST_COMPILED = 1 << 14  # gates: below, a second of compilation is not worth it


def gates(room: Array) -> Gates | CompiledGates | CudaGates:
    """Return the gates of a layer, room (4H, N) for what lies between: compiled for many and where Numba is there.

    On a device, for float32 and float64, they are two CUDA kernels.
    """
    if namespace(room) is not np:
        return CudaGates(room)
    return CompiledGates(room) if room.size >= _LEAST_COMPILED and has_numba() else Gates(room)


@cache
def has_numba() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


class Gates:
    """Both directions through the gates of one layer of H units."""

    def __init__(self, room: Array) -> None:
        """Bind room (4H, N) for what lies between."""
        self._units = len(room) // 4
        self._room, self._one = room, room.dtype.type(1)

    def forward(self, z: Array, c: Array, c_next: Array, h: Array) -> None:
        """Turn z into the gates, and write c' = f c + i j and h = o tanh(c')."""
        n, one = self._units, self._one
        sigmoids, j = z[: 3 * n], z[3 * n :]
        np.exp(sigmoids, out=sigmoids)
        np.add(sigmoids, one, out=sigmoids)
        np.divide(one, sigmoids, out=sigmoids)
        np.tanh(j, out=j)
        i, f, o = sigmoids[:n], sigmoids[n : 2 * n], sigmoids[2 * n :]
        np.multiply(f, c, out=c_next)
        np.multiply(i, j, out=h)
        np.add(c_next, h, out=c_next)
        np.tanh(c_next, out=h)
        np.multiply(o, h, out=h)

    def backward(self, z: Array, c: Array, c_next: Array, dh: Array, sent: Array, dc: Array) -> None:
        """Turn the gates into the adjoint of z, and dc, the adjoint of c', into that of c; dh is spent.

        The adjoint of h is dh + sent, dh below. With t = tanh(c'): dc += dh o (1 - t^2), then di = dc j, df = dc c,
        do = dh t, dj = dc i.
        """
        n, one, room = self._units, self._one, self._room
        np.add(dh, sent, out=dh)
        sigmoids, j = z[: 3 * n], z[3 * n :]
        i, f, o = sigmoids[:n], sigmoids[n : 2 * n], sigmoids[2 * n :]
        slopes = np.subtract(sigmoids, one, out=room[: 3 * n])  # the sign that the first three gates carry
        np.multiply(slopes, sigmoids, out=slopes)
        t = np.tanh(c_next, out=room[3 * n :])
        np.multiply(slopes[2 * n :], t, out=slopes[2 * n :])
        np.multiply(slopes[2 * n :], dh, out=slopes[2 * n :])
        np.multiply(t, t, out=t)
        np.subtract(one, t, out=t)
        np.multiply(dh, o, out=dh)
        np.multiply(dh, t, out=dh)
        np.add(dc, dh, out=dc)
        np.multiply(slopes[:n], j, out=slopes[:n])
        np.multiply(slopes[:n], dc, out=slopes[:n])
        np.multiply(slopes[n : 2 * n], c, out=slopes[n : 2 * n])
        np.multiply(slopes[n : 2 * n], dc, out=slopes[n : 2 * n])
        np.multiply(j, j, out=j)
        np.subtract(one, j, out=j)
        np.multiply(j, i, out=j)
        np.multiply(j, dc, out=j)
        np.multiply(dc, f, out=dc)
        sigmoids[...] = slopes

    def add_products(self, dz: Array, read: Array, total: Array) -> None:
        """Add dz read' to total: what the adjoint of z, (4H, N), gives to the weights beside what was read, (K, N)."""
        total += np.matmul(dz, read.T)


class CompiledGates:
    """The same with compiled loops: one pass where NumPy takes ten."""

    def __init__(self, room: Array) -> None:
        """Bind room (4H, N) for what lies between."""
        from metagrad.kernels import _lstm_loops, _lstm_products

        self._some, self._add = room[: len(room) // 4], _lstm_products.adder(room.dtype.name)
        self._open, self._close = _lstm_loops.opener(room.dtype.name), _lstm_loops.close_gates

    def forward(self, z: Array, c: Array, c_next: Array, h: Array) -> None:
        """Turn z into the gates, and write c' and h."""
        self._open(z.reshape(-1), c.reshape(-1), c_next.reshape(-1), h.reshape(-1))

    def backward(self, z: Array, c: Array, c_next: Array, dh: Array, sent: Array, dc: Array) -> None:
        """Turn the gates into the adjoint of z, and dc into that of c."""
        t = np.tanh(c_next, out=self._some)
        self._close(*(x.reshape(-1) for x in (z, c, t, dh, sent, dc)))

    def add_products(self, dz: Array, read: Array, total: Array) -> None:
        """Add dz read' to total."""
        self._add(dz, read, total)
