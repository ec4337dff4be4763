"""Whether plain floats stay within their range, step by step: looked at once on the host, at the end on a device."""

from __future__ import annotations

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.unroll.rescale import magnitude
from metagrad.xp import Array, namespace

_MOST_SIZES = 256  # kept before they are looked at together


class OutOfRange(Exception):  # noqa: N818 - not an error: another way is taken
    """A number left the range of floats."""


class RangeWatch:
    """Whether the size of every task lies in [least, most), or is zero where that is allowed."""

    def __init__(self, least: float, most: float, *, zero: bool) -> None:
        """Begin with nothing seen."""
        self._least, self._most, self._zero = least, most, zero
        self.largest, self.low = 0.0, False  # the largest entry, and whether one was below `least`; of the host
        self._sizes: list[Array] = []  # of arrays on a device, (B,), not looked at yet
        self._verdicts: list[Array] = []

    def see(self, tree: Tree) -> None:
        """Raise OutOfRange if an array of the host is outside; of a device only take note."""
        leaves = ad.leaves(tree)
        if namespace(leaves[0]) is not np:
            self._sizes.append(magnitude(tree))
            if len(self._sizes) >= _MOST_SIZES:
                self.verdicts()
            return
        entries = [abs(leaf) for leaf in leaves]
        largest = max(x.max() for x in entries)
        self.largest = max(self.largest, largest)
        if largest < self._most and all(x.min() >= self._least for x in entries):
            return  # the usual case, found cheaply
        self.low = True
        if not self._within(magnitude(tree)).all():
            raise OutOfRange

    def verdicts(self) -> list[Array]:
        """Return what is known of arrays on a device: true all of them if none was outside."""
        if self._sizes:
            sizes, self._sizes = namespace(self._sizes[0]).stack(self._sizes), []
            self._verdicts.append(self._within(sizes).all())
        return self._verdicts

    def _within(self, size: Array) -> Array:
        return ((size >= self._least) & (size < self._most)) | (self._zero & (size == 0))
