"""A whole run in two calls of machine code, forwards and backwards, in memory and by rows of addresses that stay.

What a run is given is copied to where the rows of the first steps point to; the next run writes over what it finds.
The rows are those of `stretches`, where a step finds what the one before it left.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import Sums
from metagrad.replay.record import Program
from metagrad.replay.stack import Stack
from metagrad.replay.stretches import AFTER, PULLED, SLOPE, SUMS, Pulled
from metagrad.replay.whole_program import Place, WholeProgram, address
from metagrad.xp import Array


class NotWholeRun(Exception):  # noqa: N818  # it is an answer
    """The steps of a run cannot be taken in two calls."""


class Inputs(NamedTuple):
    """The leaves of what a run is given, (time, phi, w, state), how many are phi's, and how many an adjoint has."""

    leaves: list[Any]
    of_phi: int
    adjoints: int


class WholeRun:
    """The steps of a run, all of one kind, of a task that draws no samples."""

    def __init__(self, forwards: Program, backwards: Program, steps: int, inputs: Inputs) -> None:
        """Lay out memory for so many steps; NotWholeRun where the programs are not those of such inputs."""
        there, back = forwards.whole, backwards.whole
        if there is None or back is None:
            raise NotWholeRun
        self.programs, self._wholes, self.steps, self.lock = (forwards, backwards), (there, back), steps, Lock()
        (pair_tree, value_tree), _ = there.tree
        states = len(ad.leaves(pair_tree))
        self._states = states
        self._pair_of = there.apart(0, states, pair_tree)
        begin = 1 + inputs.of_phi  # the time comes first, then phi
        if len(there.inputs) != begin + states or there.inputs[begin:] != there.outputs[:states]:
            raise NotWholeRun  # a sample, or states that do not stay as they are
        if [Place.of(x) for x in inputs.leaves[1:]] != there.inputs[1:]:
            raise NotWholeRun  # programs of another layout
        try:
            self._inputs = [place.room(1) for place in there.inputs[1:]]
        except ValueError:  # an array with gaps, for which there is no room of its own
            raise NotWholeRun from None
        self._found = [place.room(steps) for place in there.outputs]
        self.has_values = bool(ad.leaves(value_tree))
        times = np.arange(steps)
        columns = [_along(times)]
        columns += [_same(room, steps) for room in self._inputs[: inputs.of_phi]]
        columns += [_following(*rooms) for rooms in zip(self._inputs[inputs.of_phi :], self._found, strict=False)]
        columns += [_along(room) for room in self._found]
        self._rows = np.stack(columns, axis=1)
        self._held = [times]
        self._lay_out_the_way_back(there, back, inputs.adjoints)
        rooms = [*self._inputs, *self._found, *self.adjoint, *self._pulled, self.factors]
        self.nbytes = sum(room.nbytes for room in rooms) + self._rows.nbytes + self._rows_back.nbytes

    def _lay_out_the_way_back(self, there: WholeProgram, back: WholeProgram, adjoints: int) -> None:
        steps, m = self.steps, len(there.inputs)
        sizes = [len(ad.leaves(tree)) for tree in back.tree]
        self._ends = [sum(sizes[:part]) for part in range(len(sizes) + 1)]
        next_one = AFTER if self.has_values else PULLED
        begin = self._ends[next_one]
        kept = len(back.inputs) - m - adjoints - 1
        fits = back.inputs[:m] == there.inputs and sizes[PULLED] == adjoints and sizes[next_one] == adjoints
        fits = fits and back.inputs[m : m + adjoints] == back.outputs[begin : begin + adjoints]
        if not fits or back.inputs[m + adjoints + 1 :] != there.outputs[len(there.outputs) - kept :]:
            raise NotWholeRun
        is_slope = [self._ends[SLOPE] <= k < self._ends[AFTER] for k in range(len(back.outputs))]
        self.adjoint = [place.room(1) for place in back.inputs[m : m + adjoints]]
        for room in self.adjoint:
            room.fill(0)
        self.factors = back.inputs[m + adjoints].room(steps)
        self._pulled = [place.room(1 if one else steps) for place, one in zip(back.outputs, is_slope, strict=True)]
        pairs = zip(self.adjoint, self._pulled[begin : begin + adjoints], strict=True)
        columns = [*self._rows[::-1, :m].T, *(_following(*rooms) for rooms in pairs), _along(self.factors)]
        columns += [*self._rows[::-1, self._rows.shape[1] - kept :].T] if kept else []
        columns += [_along(x) if len(x) == steps else _same(x, steps) for x in self._pulled]
        self._rows_back = np.stack(columns, axis=1)

    @property
    def is_current(self) -> bool:
        """Whether machine code is still what is asked for."""
        return all(p.whole is whole for p, whole in zip(self.programs, self._wholes, strict=True))

    def forwards(self, leaves: list[Any]) -> bool:
        """Take all steps from leaves of (phi, w, state), which lie as they did; tell whether all of them were taken."""
        try:
            for room, x in zip(self._inputs, leaves, strict=True):
                room[0] = x
        except OverflowError:  # an integer of Python's
            return False
        return self._run(0, self._rows)

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

    def backwards(self) -> Pulled | None:
        """Pull `adjoint` back over all steps, with terms of `factors`; None where not over all of them."""
        if not self._run(1, self._rows_back):
            return None
        ends, back = self._ends, self._wholes[1]

        def stack(part: int) -> Stack:
            lo, hi = ends[part], ends[part + 1]
            return Stack(leaves=self._pulled[lo:hi], apart=back.apart(lo, hi, back.tree[part]))

        pulled, sums = stack(PULLED), self._pulled[ends[SUMS] :]
        told = Sums(sums[0], sums[1], sums[2] if self.has_values else None)
        after = stack(AFTER) if self.has_values else pulled
        return Pulled(stack(0), pulled, after, told, len(ad.leaves(back.tree[PULLED][0])))

    def _run(self, way: int, rows: Array) -> bool:
        with self.programs[way].lock:
            return self._wholes[way].run(rows, self.steps) == self.steps


def _along(room: Array) -> Array:
    """Return the addresses of what lies side by side."""
    return address(room) + room.strides[0] * np.arange(len(room))


def _same(room: Array, steps: int) -> Array:
    return np.full(steps, address(room))


def _following(first: Array, found: Array) -> Array:
    """Return the addresses of what the first step is given, and the others find one before."""
    return np.concatenate([[address(first)], _along(found)[:-1]])
