"""The exponents beside the adjoints of a sweep by windows, task by task, and the meta-gradient that is summed at them.

All tasks begin with one exponent. Where the digits of a task leave 2**-limit to 2**limit they are moved, and from then
on a product with powers of two (`fold`) brings what the tasks give to phi to one exponent before it is summed. That one
stays as long as the largest of the tasks' is near it; then the sum is put aside, exponents beside its entries, and
another is begun. Products with powers of two are exact: the bits are those of sums at one exponent, if only floats had
the range.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.scaled import Scaled, ldexp
from metagrad.unroll.lost import LOOK_EVERY
from metagrad.unroll.range_watch import OutOfRange, RangeWatch
from metagrad.unroll.rescale import add_aligned, magnitude, normalise, row_maxima, shift
from metagrad.unroll.tally import Pulled
from metagrad.xp import Array, float_info

_BAND = 2  # limits: so far the largest exponent of a task may be from that of the sum
_LOWEST = np.iinfo(np.int64).min // 4


class HoldsAdjoints(Protocol):
    """What is asked of a kernel; see `metagrad.unroll.window_sweep.WindowKernel`."""

    def adjoint_sizes(self) -> Array:
        """Return the largest entry of the adjoint of each task's state, (B,)."""
        ...

    def scale_adjoints(self, factors: Array) -> None:
        """Multiply the adjoint of each task's state by a number of its own, (B,)."""
        ...

    def take_gradient(self) -> Tree:
        """Return what the steps that were pulled gave to phi since the last time that it was taken."""
        ...


class WindowPowers:
    """Digits and exponents of the adjoints: w's, which is passed, and that of the state, which the kernel holds."""

    def __init__(self, unroll: Any, kernel: HoldsAdjoints) -> None:
        """Begin without an exponent, or, in plain floats, with 0 for good."""
        self._xp, self._dtype, self._limit, self._kernel = unroll.xp, unroll.dtype, unroll.limit, kernel
        plain, most = unroll.options.scaling == "none", float_info(unroll.dtype).max_exponent
        self._moves = not plain and unroll.xp is np
        self.exponents = unroll.xp.zeros(unroll.batch, dtype=np.int64)
        self.fold: Array | None = None  # (B,), of digits to those of the sum
        self._sum: Array | int | None = 0 if plain else None  # the exponent of the sum at hand
        self._aside: Tree = None
        self._tiny, self._least = 2.0 ** float_info(unroll.dtype).min_exponent, 2.0 ** (-3 * most // 4)
        self._trusted: Any = most // 2  # log2 of the largest adjoint beside which low entries of a state do not count
        self._watch = RangeWatch(self._least, 2.0**self._trusted, zero=True)  # where nothing is moved
        self._most = unroll.xp.zeros(unroll.batch, dtype=unroll.dtype)  # sizes since exponents were moved
        self._top = unroll.xp.full(unroll.batch, -np.inf)
        self._low = False

    def with_term(self, adjoint: Tree, found: Pulled) -> Tree:
        """Return the adjoint of w with what a term gives to it; the first one sets the exponents."""
        w_bar, exponent = found.adjoint[0], found.exponent
        if self._sum is None:
            self._begin(w_bar, exponent)
        by = exponent - self.exponents
        if self._moves and by.any() and self._is_far(by, adjoint):
            return self._aligned(adjoint, w_bar, exponent)
        return ad.add(adjoint, shift(w_bar, by))

    def settled(self, t: int, adjoint: Tree) -> Tree:
        """Return the adjoint of w at time t, its digits near 1; raise OutOfRange where it fell out of the range."""
        if not self._moves:
            self._watch.see(adjoint)
            return adjoint
        entries = [abs(leaf) for leaf in ad.leaves(adjoint)]
        least, limit = min(x.min() for x in entries), 2.0**self._limit
        self._low = self._low or least < self._least
        size = _largest(entries)
        if t % LOOK_EVERY == 0:
            size = np.maximum(size, self._kernel.adjoint_sizes())
        np.maximum(self._most, size, out=self._most)
        if size.max() < limit and (least > 1 / limit or size.min() > 1 / limit):
            return adjoint  # the usual case, found cheaply
        if not (np.isfinite(size) & ((size >= self._tiny) | (size == 0))).all():
            raise OutOfRange
        _, exponents = normalise((), self.exponents, size, self._limit)
        return self._moved(adjoint, exponents)

    def gradient(self) -> Tree:
        """Return what all steps gave to phi, with Scaled leaves."""
        self._put_aside()
        return self._aside

    def verdicts(self) -> list[Array]:
        """Return what is known of adjoints on a device: true all of them if none left the range."""
        return self._watch.verdicts()

    @property
    def low(self) -> bool:
        """Whether what fell out of the range may count; seen on the host alone.

        Entries of w and of its adjoint are looked at. Those of the state are not: beside an adjoint that has not grown
        by half of the range they do not count.
        """
        return self._low or self._watch.low or (self._moves and bool((self.largest() > self._trusted).any()))

    def largest(self) -> Array:
        """Return log2 of the largest adjoint of each task, (B,)."""
        if not self._moves:
            return np.log2(self._watch.largest) + self.exponents
        return np.maximum(self._top, np.log2(self._most) + self.exponents)

    def _begin(self, w_bar: Tree, exponent: Array) -> None:
        """Give all tasks the exponent of the largest, but for those that are far from it."""
        xp, size = self._xp, magnitude(w_bar)
        powers = normalise(w_bar, exponent, size, self._limit)[1]
        top = xp.where(size > 0, powers, _LOWEST).max()
        self._sum = xp.where(top == _LOWEST, 0, top)
        self._trusted = self._trusted + self._sum
        exponents = self.exponents + self._sum
        if self._moves:
            mine = exponent + xp.frexp(size)[1]
            far = (size > 0) & xp.isfinite(size) & (abs(mine - exponents) > self._limit)
            self._take(xp.where(far, mine, exponents))
        self.exponents = exponents if not self._moves else self.exponents

    def _is_far(self, by: Array, adjoint: Tree) -> bool:
        """Whether digits of a term that are moved `by` might leave the range, or be all that there is of a task."""
        return bool(by.max() > self._limit or (by.min() < -self._limit and not magnitude(adjoint).all()))

    def _aligned(self, adjoint: Tree, w_bar: Tree, exponent: Array) -> Tree:
        """Return the sum of an adjoint and a term which may be the larger one, by any power."""
        sizes = self._kernel.adjoint_sizes()  # a state that owes something keeps its exponent beside a w that does not
        given = (adjoint, sizes), self.exponents, (w_bar, np.zeros_like(sizes)), exponent
        (total, _), exponents = add_aligned(*given)
        self._kernel.scale_adjoints(self._powers(self.exponents - exponents))
        self._take(exponents)
        return total

    def _moved(self, adjoint: Tree, exponents: Array) -> Tree:
        by = self.exponents - exponents
        if not by.any():
            return adjoint
        self._kernel.scale_adjoints(self._powers(by))
        self._take(exponents)
        return shift(adjoint, by)

    def _take(self, exponents: Array) -> None:
        """Take other exponents, and decide on that of the sum."""
        if (exponents == self.exponents).all():
            return
        self._top = self.largest()
        self._most, self.exponents = np.zeros_like(self._most), exponents
        top = exponents.max()
        if abs(top - self._sum) > _BAND * self._limit:
            self._put_aside()
            self._sum = top
        by = exponents - self._sum
        self.fold = self._powers(by) if by.any() else None

    def _powers(self, by: Array) -> Array:
        return ldexp(np.ones(len(by), self._dtype), by)

    def _put_aside(self) -> None:
        exponent = 0 if self._sum is None else self._sum
        found = ad.tree_map(lambda leaf: Scaled.of(leaf, exponent), self._kernel.take_gradient())
        self._aside = found if self._aside is None else ad.add(self._aside, found)


def _largest(entries: list[Array]) -> Array:
    """Return the largest of the entries of each task, (B,); NaN wins."""
    sizes = [row_maxima(x.reshape((len(x), -1))) for x in entries]
    return sizes[0] if len(sizes) == 1 else np.maximum.reduce(sizes)
