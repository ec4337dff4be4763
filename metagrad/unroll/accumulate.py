"""Adding up the meta-gradient: contributions of the steps, each with exponents of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import Array, Namespace

_CHUNK = 128


class Accumulator:
    """Sums contributions to d(meta-objective)/d phi, in the order they come, whatever the checkpoint plan.

    `scheduled`: every step has its own entry, so nothing is summed. `plain`: floats are added in the dtype, as any
    automatic differentiation does; otherwise numbers are aligned at the largest exponent, chunk by chunk.
    """

    def __init__(self, xp: Namespace, *, scheduled: bool, plain: bool) -> None:
        """Start with nothing."""
        self._xp, self._scheduled, self._plain = xp, scheduled, plain
        self._pending: list[tuple[Tree, Array]] = []
        self._total: Tree = None

    def add(self, phi_bar: Tree, exponent: Array | int) -> None:
        """Add phi_bar * 2**exponent: one exponent for all, or one a task, (B,), where the leaves lead with B."""
        if self._plain and not self._scheduled:
            self._total = phi_bar if self._total is None else ad.tree_map(_plus, self._total, phi_bar)
            return
        self._pending.append((phi_bar, self._xp.asarray(exponent, dtype=np.int64)))
        if len(self._pending) >= _CHUNK and not self._scheduled:
            self._flush()

    def result(self) -> Tree:
        """Return the sum with Scaled leaves; for a schedule, the entries in the order of time (they came reversed)."""
        if self._scheduled:
            self._pending.reverse()
            return self._stacked(lambda numbers: numbers)
        if not self._plain:
            self._flush()
            return self._total
        return ad.tree_map(lambda leaf: Scaled.of(leaf) if is_float(leaf) else None, self._total)

    def _flush(self) -> None:
        if not self._pending:
            return
        chunk = self._stacked(lambda numbers: numbers.sum(axis=0))
        self._pending = []
        self._total = chunk if self._total is None else ad.tree_map(_plus, self._total, chunk)

    def _stacked(self, finish: Any) -> Tree:
        exponents = self._xp.stack([exponent for _, exponent in self._pending])

        def stack(*leaves: Any) -> Any:
            if not is_float(leaves[0]):
                return None
            mantissa = self._xp.stack(leaves)
            return finish(
                Scaled.of(mantissa, exponents.reshape(exponents.shape + (1,) * (mantissa.ndim - exponents.ndim)))
            )

        return ad.tree_map(stack, *[phi_bar for phi_bar, _ in self._pending])


def is_float(leaf: Any) -> bool:
    """Whether a leaf of phi has a gradient (0-d arrays count)."""
    return is_float_array(leaf) or getattr(getattr(leaf, "dtype", None), "kind", "") == "f"


def _plus(a: Any, b: Any) -> Any:
    return a if a is None else a + b
