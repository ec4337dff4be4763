"""A whole run in a few calls of machine code, forwards and backwards, in memory and by rows of addresses that stay.

What a run is given is copied to where the rows of the first steps point to, or, where it is large and stays as it is,
they are made to point to it: data, say. The next run writes over what it finds.
Adjoints are written over within a run already: they are looked at when there are as many as there is room for.
The rows are those of `stretches`, where a step finds what the one before it left. The memory is that which sweeps leave
(`stretches.Spare`), and is given back before one is made: so it is not there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import Sums
from metagrad.replay.record import Program
from metagrad.replay.stack import Stack
from metagrad.replay.stretches import AFTER, PULLED, SLOPE, SUMS, Pulled, Spare, rooms_of
from metagrad.replay.whole_program import Place, WholeProgram, address
from metagrad.xp import Array

_BYTES, _PARTS = 1 << 19, 4  # of adjoints at a time; in how many parts a run is pulled back at most

_LITTLE = 1 << 12  # bytes of what is copied


class NotWholeRun(Exception):  # noqa: N818  # it is an answer
    """The steps of a run cannot be taken with nothing in between."""


class Inputs(NamedTuple):
    """The leaves of what a run is given, (time, phi, w, state), how many are phi's, and how many an adjoint has."""

    leaves: list[Any]
    of_phi: int
    adjoints: int


class WholeRun:
    """The steps of a run, all of one kind, of a task that draws no samples; memory is taken when it is asked for."""

    def __init__(self, forwards: Program, backwards: Program, steps: int, inputs: Inputs) -> None:
        """Hold so many steps; NotWholeRun where the programs are not those of such inputs."""
        there, back = forwards.whole, backwards.whole
        if there is None or back is None:
            raise NotWholeRun
        self.programs, self._wholes, self.steps = (forwards, backwards), (there, back), steps
        # Whose run is in the memory. A thread may take it twice: Ctrl-C may come before it is given back.
        self.lock = RLock()
        (pair_tree, value_tree), _ = there.tree
        self._of_phi, self._adjoints = inputs.of_phi, inputs.adjoints
        self._states, self.has_values = len(ad.leaves(pair_tree)), bool(ad.leaves(value_tree))
        self._pair_of = there.apart(0, self._states, pair_tree)
        sizes = [len(ad.leaves(tree)) for tree in back.tree]
        self._ends = [sum(sizes[:part]) for part in range(len(sizes) + 1)]
        self._next = AFTER if self.has_values else PULLED  # what the next step back is given
        self._kept = len(back.inputs) - len(there.inputs) - inputs.adjoints - 1
        if not self._fits(there, back, sizes) or [Place.of(x) for x in inputs.leaves[1:]] != there.inputs[1:]:
            raise NotWholeRun
        try:
            self._inputs = [
                None if k < self._of_phi and place.is_usual and place.nbytes > _LITTLE else place.room(1)
                for k, place in enumerate(there.inputs[1:])
            ]
        except ValueError:  # an array with gaps, for which there is no room of its own
            raise NotWholeRun from None
        slopes, lent = range(self._ends[SLOPE], self._ends[AFTER]), range(self._ends[PULLED], self._ends[SUMS])
        of_step = sum(back.outputs[k].nbytes for k in lent if k not in slopes)
        self._at_once = min(steps, max(2, -(-steps // _PARTS), _BYTES // max(1, of_step)))
        self._counts = [1 if k in slopes else self._at_once if k in lent else steps for k in range(len(back.outputs))]
        places = zip((*there.outputs, *back.outputs), (*[steps] * len(there.outputs), *self._counts), strict=True)
        self.size = sum(place.nbytes * count for place, count in places)
        self._rows: tuple[Array, Array] | None = None  # of both ways, while memory is taken: set last, and unset first

    def _fits(self, there: WholeProgram, back: WholeProgram, sizes: list[int]) -> bool:
        """Whether a step is given what the one before it found, on both ways, and no sample."""
        begin, m, adjoints = 1 + self._of_phi, len(there.inputs), self._adjoints  # the time comes first, then phi
        if m != begin + self._states or there.inputs[begin:] != there.outputs[: self._states]:
            return False
        at = self._ends[self._next]
        fits = self._kept >= 0 and back.inputs[:m] == there.inputs and sizes[PULLED] == sizes[self._next] == adjoints
        fits = fits and back.inputs[m : m + adjoints] == back.outputs[at : at + adjoints]
        return fits and back.inputs[m + adjoints + 1 :] == there.outputs[len(there.outputs) - self._kept :]

    def take(self, spare: Spare) -> None:
        """Take memory, as a sweep does, where none is taken."""
        if self._rows is None:
            there = self._rows_there(spare)
            self._rows = there, self._rows_back(spare, there)

    def _rows_there(self, spare: Spare) -> Array:
        there, steps, of_phi = self._wholes[0], self.steps, self._of_phi
        first = len(there.outputs) - self._kept
        self._found = [place.room(steps) for place in there.outputs[:first]]
        self._lent = [(place, spare.room(place, steps)) for place in there.outputs[first:]]
        self._times = np.arange(steps)
        columns = [_along(self._times, steps)]
        columns += [np.zeros(steps, np.int64) if x is None else _same(x, steps) for x in self._inputs[:of_phi]]
        columns += [_following(*rooms, steps) for rooms in zip(self._inputs[of_phi:], self._found, strict=False)]
        columns += [_along(room, steps) for room in (*self._found, *[room for _, room in self._lent])]
        return np.stack(columns, axis=1)

    def _rows_back(self, spare: Spare, there: Array) -> Array:
        back, steps, m, adjoints = self._wholes[1], self.steps, len(self._wholes[0].inputs), self._adjoints
        self._adjoint = [place.room(1) for place in back.inputs[m : m + adjoints]]
        for room in self._adjoint:
            room.fill(0)
        self._factors = back.inputs[m + adjoints].room(steps)
        rooms, lent = rooms_of(back, self._counts, range(self._ends[PULLED], self._ends[SUMS]), spare)
        self._lent += lent
        self._pulled = [room[:count] for room, count in zip(rooms, self._counts, strict=True)]
        at = self._ends[self._next]
        pairs = zip(self._adjoint, self._pulled[at : at + adjoints], strict=True)
        columns = [
            *there[::-1, :m].T,
            *(_following(*rooms, steps) for rooms in pairs),
            _along(self._factors, steps),
        ]
        columns += [*there[::-1, there.shape[1] - self._kept :].T] if self._kept else []
        columns += [_along(x, steps) for x in self._pulled]
        return np.stack(columns, axis=1)

    def release(self, spare: Spare) -> None:
        """Give the memory back, for a sweep, where no other thread's run is in it."""
        if self._rows is None or not self.lock.acquire(blocking=False):
            return
        self._rows = None
        lent, self._lent, self._found, self._pulled = self._lent, [], [], []
        for place, room in lent:
            spare.give(place, room)
        self.lock.release()

    @property
    def nbytes(self) -> int:
        """The memory that is taken."""
        return 0 if self._rows is None else self.size

    @property
    def is_current(self) -> bool:
        """Whether machine code is still what is asked for."""
        return all(p.whole is whole for p, whole in zip(self.programs, self._wholes, strict=True))

    def forwards(self, leaves: list[Any]) -> bool:
        """Take all steps from leaves of (phi, w, state), which lie as they did; tell whether all of them were taken.

        Who asks holds them until the run is over.
        """
        assert self._rows is not None, "no memory is taken"
        try:
            for k, (room, x) in enumerate(zip(self._inputs, leaves, strict=True), start=1):
                if room is None:
                    for rows in self._rows:
                        rows[:, k] = address(x)
                else:
                    room[0] = x
        except OverflowError:  # an integer of Python's
            return False
        return self._run(0, 0, self.steps)

    @property
    def states(self) -> list[Any]:
        """The leaves of (w, state) after each step, (T, ...) each."""
        return self._found[: self._states]

    def pair(self, t: int) -> tuple[Tree, Tree]:
        """Return (w, state) at t > 0; the next run writes over it."""
        found: tuple[Tree, Tree] = self._pair_of([room[t - 1 : t] for room in self.states])[0]
        return found

    @property
    def values(self) -> Array | None:
        """What was measured before each step, (T, B); None where nothing is."""
        return self._found[self._states] if self.has_values else None

    def end(self) -> tuple[Tree, Tree]:
        """Return (w, state) after the last step, in memory of their own."""
        found: tuple[Tree, Tree] = ad.tree_map(_copied, self.pair(self.steps))
        return found

    def backwards(self, adjoint: Tree, factors: Array | None, look: Callable[[Pulled, range], bool]) -> Pulled | None:
        """Pull the adjoint of w at the end, and a zero one of the state, back over all steps; None if not over all.

        `factors`, (T - 1, B), of the terms at T - 1, ..., 1, where there are values; at 0 any will do. What was found
        of some steps is shown to `look`, with their times: where it says no, that is the end. Of what is returned
        adjoints are those of the last of them.
        """
        for room, leaf in zip(self._adjoint, ad.leaves(adjoint), strict=False):
            room[0] = leaf
        if factors is None:
            self._factors.fill(1)
        else:
            self._factors[:-1], self._factors[-1] = factors, factors[-1]
        found = None
        for first in range(0, self.steps, self._at_once):
            end = min(self.steps, first + self._at_once)
            if not self._run(1, first, end):
                return None
            found = self._found_back(first, end)
            if not look(found, range(self.steps - 1 - first, self.steps - 1 - end, -1)):
                return None
        if found is None or self._at_once == self.steps:
            return found
        return found._replace(phi_bars=self._stack(0, 0, self.steps), sums=self._sums(0, self.steps))

    def _found_back(self, first: int, end: int) -> Pulled:
        """Return what was found of some steps."""
        pulled = self._stack(PULLED, 0, end - first)
        after = self._stack(AFTER, 0, end - first) if self.has_values else pulled
        of_w = len(ad.leaves(self._wholes[1].tree[PULLED][0]))
        return Pulled(self._stack(0, first, end), pulled, after, self._sums(first, end), of_w, is_joint=False)

    def _stack(self, part: int, first: int, end: int) -> Stack:
        lo, hi, back = self._ends[part], self._ends[part + 1], self._wholes[1]
        return Stack(leaves=[x[first:end] for x in self._pulled[lo:hi]], apart=back.apart(lo, hi, back.tree[part]))

    def _sums(self, first: int, end: int) -> Sums:
        sums = [x[first:end] for x in self._pulled[self._ends[SUMS] :]]
        return Sums(sums[0], sums[1], sums[2] if self.has_values else None)

    def _run(self, way: int, first: int, end: int) -> bool:
        """Take some steps, and tell whether all of them were taken."""
        assert self._rows is not None, "no memory is taken"
        with self.programs[way].lock:
            return self._wholes[way].run(self._rows[way][first:end], end - first) == end - first


def _copied(leaf: Any) -> Any:
    return leaf.copy("K") if type(leaf) is np.ndarray else leaf


def _along(room: Array, steps: int) -> Array:
    """Return the addresses of what lies side by side, over and over again where there is room for fewer."""
    return address(room) + room.strides[0] * (np.arange(steps) % len(room))


def _same(room: Array, steps: int) -> Array:
    return np.full(steps, address(room))


def _following(first: Array, found: Array, steps: int) -> Array:
    """Return the addresses of what the first step is given, and the others find one before."""
    return np.concatenate([[address(first)], _along(found, steps)[:-1]])
