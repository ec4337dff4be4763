"""Whole blocks of gradient descent on quadratics in compiled loops, where Numba is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from metagrad.optimizers import GradientDescent, Scheduled
from metagrad.protocols import GradientKind, Rule, Task
from metagrad.scaled import ldexp
from metagrad.tasks import DiagonalQuadratic, Quadratic
from metagrad.xp import Array, float_info

_CHUNK_ENTRIES = 1 << 18
_WORTH_TILES = 64  # bytes of a row from which on it is worth to be padded to whole vectors
_CACHED = 1 << 18  # bytes of a matrix that stays in a cache between two steps; of a larger one half is read


class BlockDescent:
    """Forwards and backwards through a block of steps of `GradientDescent`, with full gradients."""

    def __init__(
        self, task: Quadratic | DiagonalQuadratic, eta: Array, *, scale_state: bool, scale_adjoint: bool
    ) -> None:
        """Bind the task and eta (1 or T, 1 or B)."""
        from metagrad.kernels._compiled_blocks import ASCEND, DESCEND, extremes

        dense = isinstance(task, Quadratic)
        H = task.H if isinstance(task, Quadratic) else task.eigenvalues
        H = H[None] if dense and H.ndim == 2 else H
        self._power = np.zeros(1, dtype=np.int64) if is_comfortable(H, *extremes(H.reshape(-1))) else unit_power(H)
        self._H, self._eta = (np.ascontiguousarray(x) for x in in_units(H, eta, self._power))
        kind = _kind_of(H[0]) if dense else "diagonal"
        self._descend, self._ascend = DESCEND[kind], ASCEND[kind]
        self._scale_state, self._scale_adjoint = scale_state, scale_adjoint
        dtype = task.w0.dtype
        self._comfort = dtype.type(2.0 ** (float_info(dtype).max_exponent // 8))
        self._eps = dtype.type(float_info(dtype).eps)
        self.chunk = max(1, _CHUNK_ENTRIES // task.w0.size)

    def _rates(self, lo: int, hi: int) -> Array:
        return self._eta if self._eta.shape[0] == 1 else self._eta[lo:hi]

    def descend(
        self, lo: int, hi: int, w: Array, exponent: Array, salts: list[int] | None = None
    ) -> tuple[Array, Array, Array]:
        """Return the states (B, n+1, d) and exponents (n+1, B) at lo..hi from those at lo, and the sizes (n, B).

        `salts` (n,): nudge the states at lo+1..hi, by hashes that begin with these (`metagrad.unroll.nudge`).
        """
        steps, (batch, d) = hi - lo, w.shape
        states = np.empty((batch, steps + 1, d), dtype=w.dtype)
        exponents = np.empty((steps + 1, batch), dtype=np.int64)
        sizes = np.empty((steps, batch), dtype=w.dtype)
        states[:, 0], exponents[0] = w, exponent
        moved = np.array(salts or [], dtype=np.uint64), self._eps
        scaling = self._comfort, self._scale_state
        self._descend(self._H, self._rates(lo, hi), states, exponents, sizes, *scaling, moved)
        return states, exponents, sizes

    def ascend(
        self, lo: int, hi: int, kept: tuple[Array, int], adjoint: Array, exponent: Array
    ) -> tuple[Array, Array, Array]:
        """Pull adjoint (B, d) and exponent (B,), in place, back through the states at lo..hi-1.

        `kept` = (states, first): those that begin with the entry `first` of states (B, .., d). Returns the cotangents
        of eta, the exponents of the adjoints they were made with, and the sizes of the adjoints, each (hi - lo, B).
        """
        states, shape = kept[0], (hi - lo, len(adjoint))
        into = np.empty(shape, states.dtype), np.empty(shape, np.int64), np.empty(shape, states.dtype)
        self._ascend(self._H, self._rates(lo, hi), kept, adjoint, exponent, into, self._comfort, self._scale_adjoint)
        if not self._power.any():
            return into
        contributions, powers, sizes = into
        if self._scale_adjoint:
            return contributions, powers + self._power, sizes
        return ldexp(contributions, np.broadcast_to(self._power, shape)), powers, sizes


def _kind_of(H: Array) -> str:
    """Return which of the compiled loops is the fastest for a matrix (d, d)."""
    if H.nbytes > _CACHED:
        return "symmetric"
    return "tiled" if H[0].nbytes >= _WORTH_TILES else "dense"


def is_comfortable(H: Array, smallest: float, largest: float) -> bool:
    """Whether the smallest and the largest |entry| say at once that products with H are in range: the usual case."""
    comfortable = float_info(H.dtype).max_exponent // 2
    return 2.0**-comfortable < smallest and largest < 2.0**comfortable


def unit_power(H: Array) -> Array:
    """Return k (B,) or (1,) such that H 2^-k is in the middle of the range, 0 where products with H are in range.

    For H (B or 1, ...). Steps in the units of eta 2^k are the same, as eta H is; what H w alone would exceed, or fall
    below, is the range of the dtype.
    """
    entries = np.abs(H.reshape(H.shape[0], -1))
    comfortable = float_info(H.dtype).max_exponent // 2
    largest = entries.max(axis=1)
    smallest = np.where(entries == 0, largest[:, None], entries).min(axis=1)
    high, low = (np.frexp(x)[1].astype(np.int64) for x in (largest, smallest))
    return np.where((high > comfortable) | (low < -comfortable), (high + low) // 2, 0)


def in_units(H: Array, eta: Array, power: Array) -> tuple[Array, Array]:
    """Return H 2^-k and eta 2^k, for k (B,) or (1,), H (B or 1, ...) and eta (1 or T, 1 or B)."""
    if not power.any():
        return H, eta
    moved = ldexp(eta, np.broadcast_to(power, np.broadcast_shapes(eta.shape, power.shape)))
    return ldexp(H, np.broadcast_to(-power.reshape(-1, *[1] * (H.ndim - 1)), H.shape)), moved


def block_eta(eta: Array, batch: int, *, scheduled: bool) -> Array | None:
    """Return eta as (1 or T, 1 or B), or None for one a coordinate."""
    shape = eta.shape[1:] if scheduled else eta.shape
    if shape not in ((), (batch, 1)):
        return None
    return eta.reshape(-1 if scheduled else 1, 1 if shape == () else batch)


def block_kernel(
    task: Task, rule: Rule, phi: Any, gradient: GradientKind, *, scale_state: bool, scale_adjoint: bool
) -> BlockDescent | None:
    """Return the compiled kernel for this pair of classes, or None where there is none."""
    inner = rule.rule if type(rule) is Scheduled else rule
    if type(inner) is not GradientDescent or gradient != "full" or not isinstance(task, Quadratic | DiagonalQuadratic):
        return None
    if type(task) not in (Quadratic, DiagonalQuadratic) or type(task.w0) is not np.ndarray:
        return None
    if task.w0.dtype.itemsize < 4:
        return None
    eta = block_eta(phi.eta, task.w0.shape[0], scheduled=type(rule) is Scheduled)
    if eta is None or find_spec("numba") is None:
        return None
    return BlockDescent(task, eta, scale_state=scale_state, scale_adjoint=scale_adjoint)
