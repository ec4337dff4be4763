"""Whether entries that left the range of floats matter: a bound, task by task, that costs nothing to keep.

One exponent a task serves its largest entries. An entry below the smallest normal number, tiny, has lost its digits; in
truth it was at most tiny. Its share in the meta-objective is at most its size times that of its adjoint, so that what
all lost entries x of a state and lambda of an adjoint could have added is, to first order,

    E = sum over t, entries of  [x is low] tiny |lambda|  +  [lambda is low] tiny |x|  +  [x lambda is low] tiny,

with the exponents of both. Where E is below u/1000 of the value and of every entry of phi d/d phi, u the unit roundoff,
nothing that counts was lost. Else the caller runs again with an exponent beside every entry (`metagrad.unroll.rescue`).

Two bounds: by exponents alone, always (every entry could be low, digits are at most 2**limit); by the entries,
`precise`, where the first does not do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import Status
from metagrad.protocols import Joint, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Carry
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import Array, filled, float_info, namespace

_LOWEST = -(2.0**60)
# What says of itself that a number fell out of the range at its lower end.
_MARGIN = 10.0  # powers of two: E is of first order
_CHUNK = 256
LOOK_EVERY = 8  # steps: what is lost does not come back in fewer
UNDERFLOWS = [
    status.code for status in Status if status.name.endswith(("UNDERFLOW", "_ZERO")) and status is not Status.OK
]

# What is said of roundings may be said of what fell out, which a run with an exponent beside each entry has.
_MAY_BE_LOST = [*UNDERFLOWS, Status.CHAOTIC.code, Status.VALUE_ROUNDING.code]


class Lost:
    """The bound for one unroll; exponents are collected in the sweeps, and looked at once, at the end."""

    def __init__(self, w: Tree, *, limit: int, scaled: bool, precise: bool) -> None:
        """Start with nothing lost; `limit`: digits are within 2**-limit and 2**limit where they are `scaled`."""
        arrays = [leaf for leaf in ad.leaves(w) if is_float_array(leaf)]
        xp, batch, dtype = namespace(arrays[0]), arrays[0].shape[0], arrays[0].dtype
        self._xp, self._info, self._limit, self._scaled = xp, float_info(np.dtype(dtype)), limit, scaled
        self._coordinates = {leaf.shape[1:] for leaf in arrays if leaf[0].size > 1}
        self._entries = sum(leaf[0].size for leaf in arrays)
        self.precise = precise
        self._top = filled(xp, batch, _LOWEST, np.float64)  # log2: of the largest products of exponents, or of E
        self._largest = xp.zeros(batch, dtype=dtype)
        self._dips: list[Array] | None = None
        self._pending: list[tuple[int, int, Array, Array, Array]] = []
        self._counts: list[Array] | None = None
        self.counted = xp.zeros(batch, dtype=bool)
        self.term_is_low = xp.zeros(batch, dtype=bool)  # what is measured, where the state is not zero
        self.trust = math.log2(self._info.eps) - _MARGIN  # what counts, beside the number that it is a part of

    def count(self, states: tuple[Tree, Tree]) -> None:
        """Count the entries that are low, where a backward sweep is not to come; more of them than before are noted."""
        xp, tiny = self._xp, 2.0**self._info.min_exponent
        leaves = [leaf for leaf in ad.leaves(states) if is_float_array(leaf)]
        if self._counts is None:
            self._counts = [xp.full(len(self._top), leaf[0].size, dtype=np.int64) for leaf in leaves]
        for i, leaf in enumerate(leaves):
            low = (abs(leaf) < tiny).reshape(len(leaf), -1).sum(axis=1)
            self.counted = self.counted | (low > self._counts[i])
            self._counts[i] = xp.minimum(low, self._counts[i])

    def count_many(self, states: list[tuple[Tree, Tree]], smallest: float) -> None:
        """Count in several states, one after the other; `smallest`: the least entry of them all."""
        none_is_low = smallest >= 2.0**self._info.min_exponent
        for state in states[-1:] if none_is_low else states:
            self.count(state)

    def dip(self, t: int, w: Tree) -> None:
        """Note which entries are low at one of every eighth times, (n, B, ...) or (B, ...), in w at t."""
        if t % LOOK_EVERY == 0:
            self._note_dips([leaf for leaf in ad.leaves(w) if is_float_array(leaf)])

    def dips(self, rows: Array) -> None:
        """Note which entries are low in rows (n, B, d) of states."""
        self._note_dips([abs(rows[::LOOK_EVERY]).min(axis=0)])

    def _note_dips(self, leaves: list[Array]) -> None:
        tiny = 2.0**self._info.min_exponent
        for i, leaf in enumerate(leaves):
            if abs(leaf).min() < tiny:
                if self._dips is None:
                    self._dips = [self._xp.zeros(x.shape, dtype=bool) for x in leaves]
                self._dips[i] |= abs(leaf) < tiny

    def fallen(self, start: Tree, end: Tree) -> list[Array]:
        """Return which entries of w that are not zero at the start were low at the end or before, leaf by leaf.

        Nothing at all where a look at the host shows that there are none.
        """
        tiny = 2.0**self._info.min_exponent
        pairs = [pair for pair in zip(ad.leaves(start), ad.leaves(end), strict=True) if is_float_array(pair[0])]
        if self._dips is None and self._xp is np and all(abs(last).min() >= tiny for _, last in pairs):
            return []
        low = [(abs(last) < tiny) & (first != 0) for first, last in pairs]
        if self._dips is None:
            return low
        return [x | (dipped & (first != 0)) for x, dipped, (first, _) in zip(low, self._dips, pairs, strict=True)]

    def state(self, size: Array) -> None:
        """Note the size of a state that is reached for the first time."""
        if not self._scaled:
            self._largest = self._xp.maximum(self._largest, size)

    def states(self, sizes: Any) -> None:
        """Note the sizes of several (`metagrad.unroll.stretch.Sizes`)."""
        if not self._scaled:
            self.state(sizes.most)

    def powers(self, top: Array) -> None:
        """Note the largest sum of the exponents of state and adjoint, (B,)."""
        self._top = self._xp.maximum(self._top, top)

    def adjoint(self, carry: Carry, adjoint: tuple[Tree, Tree], size: Array, exponent: Array, *, last: bool) -> None:
        """Note the adjoint at the time of a state; `last`: at the last time, where that of the rule's state is zero.

        An adjoint that is zero in all entries, by its `size`, owes nothing.
        """
        if not self.precise:
            if not self._pending or self._pending[-1][:2] != (id(exponent), id(carry.exponent)):
                self._pending.append((id(exponent), id(carry.exponent), exponent, carry.exponent, size))
                if len(self._pending) >= _CHUNK:
                    self._flush()
            return
        powers = self._xp.where(size == 0, _LOWEST, exponent + carry.exponent)
        of_state = () if last else (carry.state,)
        moved = ad.tree_map(self._moved, (carry.w, *of_state), adjoint[: 1 + len(of_state)])
        total = sum(ad.leaves(moved), start=self._xp.zeros(len(powers)))
        self.powers(self._xp.log2(total) + powers)

    def _flush(self) -> None:
        """Look at the exponents that have come; those that a step left as they were have come once."""
        if self._pending:
            *_, of_adjoints, of_states, sizes = zip(*self._pending, strict=True)
            stack = self._xp.stack
            self._pending = []
            powers = stack(of_adjoints) + stack(of_states)
            self.powers(self._xp.where(stack(sizes) == 0, _LOWEST, powers).max(axis=0))

    def _moved(self, x: Any, slope: Any) -> Array | None:
        """Return E / tiny of one leaf, (B,), in float64; a leaf whose adjoint is zero owes nothing."""
        if not is_float_array(x):
            return None
        xp, tiny = self._xp, 2.0**self._info.min_exponent
        x, slope = (abs(a).reshape(a.shape[0], -1).astype(np.float64) for a in (x, slope))
        moved = xp.where(x < tiny, xp.maximum(slope, tiny), 0.0) + xp.where(slope < tiny, xp.maximum(x, tiny), 0.0)
        moved = moved + xp.where((moved == 0) & (x * slope < tiny), 1.0, 0.0)  # their product, which phi's share may be
        return xp.where(slope.max(axis=1) == 0, 0.0, moved.sum(axis=1))

    def matters(self, value: Scaled, grad: Tree, phi: Tree, steps: int, status: Array) -> Array:
        """Return whether what was lost may count, (B,); `grad` a tree like phi, or None."""
        xp = self._xp
        self._flush()
        if xp is np and not self.precise and self._surely_nothing(value, grad, phi, steps):
            return self.term_is_low
        bound, least = self.bound(steps), value.log2abs()
        of_rule = len(ad.leaves(phi.rule if isinstance(phi, Joint) else phi))
        pairs = [] if grad is None else list(zip(ad.leaves(grad), ad.leaves(phi), strict=True))
        for i, (slope, leaf) in enumerate(pairs):
            if slope is not None and slope.mantissa.size:
                least = xp.minimum(least, self._least(slope, leaf, zero_counts=i < of_rule and xp is np))
        trust = self.trust
        known = xp.isfinite(value.mantissa) & (status == 0) | xp.isin(status, xp.asarray(_MAY_BE_LOST))
        return known & ((bound > xp.maximum(least + trust, _LOWEST / 2)) | self.term_is_low)

    def bound(self, steps: int) -> Array:
        """Return log2 of the bound E on what was lost, (B,)."""
        self._flush()
        bound: Array = self._top + self._info.min_exponent + math.log2(steps + 1.0)
        if self.precise:
            return bound
        with np.errstate(divide="ignore"):
            widest = self._limit if self._scaled else self._xp.maximum(self._limit, self._xp.log2(self._largest))
        return bound + widest + math.log2(self._entries)

    def _surely_nothing(self, value: Scaled, grad: Tree, phi: Tree, steps: int) -> bool:
        """Whether a cheap look at exponents alone shows, on the host, that nothing lost can count."""
        if self._top.max() == _LOWEST:
            return True
        widest = self._limit if self._scaled else max(self._limit, math.frexp(float(self._largest.max()))[1])
        bound = float(self._top.max()) + self._info.min_exponent + math.log2((steps + 1.0) * self._entries) + widest
        least, sure = int(value.exponent.min()) - 1, bool(value.mantissa.all())
        of_rule = len(ad.leaves(phi.rule if isinstance(phi, Joint) else phi))
        pairs = [] if grad is None else zip(ad.leaves(grad), ad.leaves(phi), strict=True)
        for i, (slope, leaf) in enumerate(pairs):
            if slope is not None and slope.mantissa.size:
                scale = math.frexp(float(abs(leaf).max()))[1] - 1
                least = min(least, int(slope.exponent.min()) - 1 + scale)
                # A zero among the task's own does not count; its exponent, 0, may only lessen the least.
                sure = sure and (i >= of_rule or bool(slope.mantissa.all()))
        return sure and bound < least + math.log2(self._info.eps) - _MARGIN

    def _least(self, slope: Scaled, leaf: Array, *, zero_counts: bool) -> Any:
        """Return log2 of the smallest |phi d/d phi| of a leaf.

        A zero counts where every coordinate has an entry of its own: it is not structural as an unused weight is.
        """
        xp = self._xp
        largest = abs(leaf).max().astype(np.float64)
        logs = slope.log2abs() + xp.log2(xp.where(largest > 0, largest, 1.0))
        if not zero_counts or not any(leaf.shape[-len(shape) :] == shape for shape in self._coordinates):
            logs = xp.where(xp.isneginf(logs), xp.inf, logs)
        return logs.min()


def any_entry(masks: list[Array]) -> Array:
    """Return for each task whether any of its entries is marked, (B,)."""
    found: Array = masks[0].reshape(len(masks[0]), -1).any(axis=1)
    for mask in masks[1:]:
        found = found | mask.reshape(len(mask), -1).any(axis=1)
    return found
