"""Watching the range: for each task, the first thing that went wrong and the step at which it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metagrad.errors import Status
from metagrad.scaled import digits_of
from metagrad.xp import Array, Namespace, filled, float_info, namespace

_CHUNK = 256


class Monitor:
    """Collects magnitudes (B,) step by step and reports, for each task, the first Status and its step.

    The magnitudes are looked at in chunks, on the device where they live: nothing waits for the device.
    """

    def __init__(self, xp: Namespace, batch: int, dtype: Any) -> None:
        """Start with every task OK."""
        info = float_info(np.dtype(dtype))
        self._tiny = 2.0**info.min_exponent
        self._xp = xp
        self._pending: dict[str, list[tuple[int, Array]]] = {"STATE": [], "ADJOINT": []}
        self._counts = dict.fromkeys(self._pending, 0)  # of those, and of sizes that are nothing to note
        self.status = xp.zeros(batch, dtype=np.int64)
        self.step = filled(xp, batch, -1, np.int64)
        self._zero_is_trouble = filled(xp, batch, True, bool)

    def start(self, size: Array) -> None:
        """Note the size of the first state: to a task that starts at zero, zero is a state like any other."""
        self._zero_is_trouble = digits_of(size) != 0

    def observe(self, kind: str, t: int, size: Array) -> None:
        """Note that the largest entry of each task's state or adjoint ("STATE", "ADJOINT") at step t is `size`."""
        self._pending[kind].append((t, digits_of(size)))
        self._count(kind)

    def passed(self, times: range, tangents: int) -> None:
        """Note steps of which all sizes are in the range: of tangents, but at time 0, and then of the state.

        What was observed before is looked at when it is as if they were observed one by one.
        """
        if all(count + len(times) * max(1, tangents) < _CHUNK for count in self._counts.values()):
            self._counts["STATE"] += len(times)
            self._counts["ADJOINT"] += tangents * (len(times) - (times[0] == 0))
            return
        for t in times:
            for _ in range(tangents if t else 0):
                self._count("ADJOINT")
            self._count("STATE")

    def _count(self, kind: str) -> None:
        self._counts[kind] += 1
        if self._counts[kind] >= _CHUNK:
            self._flush(kind)

    def observe_block(self, kind: str, lo: int, sizes: Array, backwards: bool = False) -> None:
        """Note the sizes (n, B) at lo..lo+n-1; `backwards` if they came about from the last to the first."""
        times = range(lo, lo + len(sizes))
        order = slice(None, None, -1) if backwards else slice(None)
        self._look(kind, times[order], sizes[order])

    def note(self, t: int, code: Array) -> None:
        """Record the status codes (B,) seen at step t where no earlier one is recorded."""
        fresh = (self.status == 0) & (code != 0)
        self.status = self._xp.where(fresh, code, self.status)
        self.step = self._xp.where(fresh, t, self.step)

    def finish(self) -> tuple[Array, Array]:
        """Return the status codes (B,) and their steps (B,)."""
        self.flush()
        return self.status, self.step

    def flush(self) -> None:
        """Look at all that was observed."""
        for kind in self._pending:
            self._flush(kind)

    def _flush(self, kind: str) -> None:
        pending, self._pending[kind], self._counts[kind] = self._pending[kind], [], 0
        if not pending:
            return
        self._look(kind, [t for t, _ in pending], self._xp.stack([size for _, size in pending]))

    def _look(self, kind: str, times: Sequence[int], sizes: Array) -> None:
        xp = self._xp
        if xp is np and self._are_fine(kind, sizes):
            return
        code = range_code(kind, sizes, self._tiny)
        if kind == "STATE":
            code = xp.where((sizes == 0) & self._zero_is_trouble, Status.STATE_ZERO.code, code)
        first = (code != 0).argmax(axis=0)
        found = xp.take_along_axis(code, first[None], axis=0)[0]
        at = xp.asarray(times)[first]
        fresh = (self.status == 0) & (found != 0)
        self.status = xp.where(fresh, found, self.status)
        self.step = xp.where(fresh, at, self.step)

    def _are_fine(self, kind: str, sizes: Array) -> bool:
        """Whether a look, which is cheap on the host, shows that there is nothing to note. NaN fails comparisons."""
        if not sizes.max() < np.inf:
            return False
        if sizes.min() >= self._tiny:
            return True
        is_zero = sizes == 0
        may_be_zero = is_zero & ~self._zero_is_trouble if kind == "STATE" else is_zero
        return bool(((sizes >= self._tiny) | may_be_zero).all())


def range_code(kind: str, size: Array, tiny: float) -> Array:
    """Return the Status codes of magnitudes: kind_NAN, kind_OVERFLOW, kind_UNDERFLOW or OK."""
    xp = namespace(size)
    low = (size > 0) & (size < tiny)
    code = xp.where(low, Status[f"{kind}_UNDERFLOW"].code, 0)
    code = xp.where(xp.isinf(size), Status[f"{kind}_OVERFLOW"].code, code)
    return xp.where(xp.isnan(size), Status[f"{kind}_NAN"].code, code)
