"""A record of sizes along a run, of any size: of the state going forwards, of the adjoint coming back."""

from __future__ import annotations

import numpy as np

from metagrad.protocols import Record
from metagrad.scaled import Scaled
from metagrad.xp import Array, Namespace


class Recorder:
    """Keeps the largest entry of each task at every time, with the exponent beside it."""

    def __init__(self, xp: Namespace, steps: int) -> None:
        """Make room for the times 0..T."""
        self._xp = xp
        self._state: list[Scaled | None] = [None] * (steps + 1)
        self._adjoint: list[Scaled | None] = [None] * (steps + 1)

    def state(self, t: int, size: Array, exponent: Array) -> None:
        """Note that the state at t is of size * 2**exponent, both (B,)."""
        self._state[t] = Scaled.of(size, exponent)

    def adjoint(self, t: int, size: Array, exponent: Array) -> None:
        """Note that the adjoint at t is of size * 2**exponent, both (B,)."""
        self._adjoint[t] = Scaled.of(size, exponent)

    def result(self) -> Record:
        """Return both as Scaled (T + 1, B)."""
        return Record(self._stacked(self._state), self._stacked(self._adjoint))

    def _stacked(self, rows: list[Scaled | None]) -> Scaled:
        known = [row for row in rows if row is not None]
        assert len(known) == len(rows), "every time has been passed"
        mantissas, exponents = [row.mantissa for row in known], [row.exponent for row in known]
        return Scaled(self._xp.stack(mantissas), self._xp.stack(exponents).astype(np.int64))
