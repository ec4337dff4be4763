"""What is known of a term of the meta-objective: at one time, or at several."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from metagrad.scaled import Scaled
from metagrad.xp import Array


class Term(NamedTuple):
    """What the objective measures, what it makes of it, and the derivative of that; each (B,)."""

    term: Scaled
    inner: Scaled
    slope: Scaled
    found: Array  # what the measure returned


class Block(NamedTuple):
    """The same at several times, one after the other from `start` on; each (n, B)."""

    start: int
    term: Scaled
    inner: Scaled
    slope: Scaled
    found: Array

    def at(self, t: int) -> Term:
        """Return what there is at one time."""
        k = t - self.start
        term, inner, slope = (Scaled(x.mantissa[k], x.exponent[k]) for x in (self.term, self.inner, self.slope))
        return Term(term, inner, slope, self.found[k])


class Known:
    """The terms that are known by time; the oldest blocks go where there is no room for more, then all single ones."""

    def __init__(self, most: int) -> None:
        """Keep those of at most so many times."""
        self._most, self._of_blocks = most, 0
        self._terms: dict[int, Term] = {}
        self._blocks: list[Block] = []  # one after the other in time
        self._starts: list[int] = []  # theirs: among thousands one is found by halving

    def get(self, t: int) -> Term | None:
        """Return that of one time, if it is known."""
        block = None if t in self._terms else self.block(t)
        return self._terms.get(t) if block is None else block.at(t)

    def block(self, t: int) -> Block | None:
        """Return the block that a time is in."""
        k = bisect_right(self._starts, t) - 1
        return self._blocks[k] if k >= 0 and t - self._starts[k] < len(self._blocks[k].found) else None

    def keep(self, t: int, term: Term) -> None:
        """Keep the term of one time."""
        self._make_room(1)
        self._terms[t] = term

    def keep_block(self, block: Block) -> None:
        """Keep terms of times that come after those of all blocks before."""
        count = len(block.found)
        self._make_room(count)
        self._blocks.append(block)
        self._starts.append(block.start)
        self._of_blocks += count

    def _make_room(self, count: int) -> None:
        while self._blocks and len(self._terms) + self._of_blocks + count > self._most:
            self._of_blocks -= len(self._blocks.pop(0).found)
            self._starts.pop(0)
        if len(self._terms) + count > self._most:
            self._terms.clear()
