"""A stretch of steps in one call: rows of addresses, one for each step, and what was found, leaf by leaf.

Forwards what a step finds is what the next is given; so is the adjoint backwards. Where the two lie is known
beforehand: side by side in memory, (n, ...). A row of the way back begins as that of the way there does.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.adjoints import Sums
from metagrad.replay.stack import Stack
from metagrad.replay.whole_program import Place, WholeProgram, address
from metagrad.xp import Array

PULLED, SLOPE, AFTER, SUMS = 1, 2, 3, 4  # what a pullback's program returns, after the cotangents of phi
_MOST_SPARE = 1 << 24  # bytes that are kept for the next run
_FEW = 4  # steps


class Spare:
    """Memory that was let go of, for the next who needs as much: to get new pages takes as long as to fill them."""

    def __init__(self) -> None:
        """Start with none."""
        self._rooms: dict[Any, list[Array]] = {}
        self._lock = Lock()
        self.nbytes = 0

    def room(self, place: Place, count: int) -> Array:
        """Return memory for `count` leaves, or for more where there is some; that for one leaf is for one alone.

        A room that is too short makes way for the longer one.
        """
        with self._lock:
            rooms = self._rooms.get((place, count == 1), [])
            fitting = next((i for i, room in enumerate(rooms) if len(room) >= count), 0)
            if rooms:
                room = rooms.pop(fitting)
                self.nbytes -= room.nbytes
                if len(room) >= count:
                    return room
        return place.room(1 if count == 1 else -(-count // _FEW) * _FEW)

    def give(self, place: Place, room: Array) -> None:
        """Take a room that nobody reads any more."""
        with self._lock:
            if self.nbytes + room.nbytes <= _MOST_SPARE:
                self.nbytes += room.nbytes
                self._rooms.setdefault((place, len(room) == 1), []).append(room)


class Taken:
    """Steps that were taken forwards, with what their pullbacks need."""

    def __init__(self, whole: WholeProgram, rows: Array, given: int, kept: list[tuple[Place, Array]]) -> None:
        """Keep the rows; of their columns `given` are what the steps were given, and the last are what is `kept`."""
        self.whole, self.rows, self.given, self._kept = whole, rows, given, kept
        self.held: list[Any] = []  # what the addresses are of, but for the samples
        self.samples: list[Tree] = []
        self.left = 0

    @property
    def size(self) -> int:
        """The bytes that are kept of one step."""
        return sum(place.nbytes for place, _ in self._kept)

    def arrays(self, k: int) -> tuple[Any, ...]:
        """Return what was kept of step k."""
        return tuple([place.column(room[k : k + 1])[0] for place, room in self._kept])

    def done(self, spare: Spare) -> None:
        """Note that a step is needed no longer; the last one gives the memory back."""
        self.left -= 1
        if self.left == 0:
            self.release(spare)

    def release(self, spare: Spare) -> None:
        """Give the memory back."""
        for place, room in self._kept:
            spare.give(place, room)
        self._kept = []


class Pulled(NamedTuple):
    """What was pulled back over some steps: cotangents of phi, adjoints, and adjoints with their terms.

    `is_joint`: terms depend on phi and on the state of the rule, too; cotangents of phi are two, of step and term.
    """

    phi_bars: Stack
    pulled: Stack
    after: Stack
    sums: Sums
    of_w: int  # how many leaves of an adjoint are w's
    is_joint: bool
    lent: tuple[tuple[Place, Array], ...] = ()  # memory that goes back when nobody reads the adjoints any more

    @property
    def has_terms(self) -> bool:
        """Whether terms were added."""
        return self.after is not self.pulled

    def first(self, count: int) -> Pulled:
        """Return what was found over the first steps."""
        pulled = self.pulled.part(0, count)
        after = self.after.part(0, count) if self.has_terms else pulled
        sums = Sums(*(None if x is None else x[:count] for x in self.sums))
        return Pulled(self.phi_bars.part(0, count), pulled, after, sums, self.of_w, self.is_joint, self.lent)


class Rows:
    """Rows of addresses, filled column by column."""

    def __init__(self, whole: WholeProgram, count: int) -> None:
        """Start with `count` rows for a program, of which no column is filled."""
        self.whole, self.count = whole, count
        self.rows = np.empty((count, whole.width), np.int64)
        self.held: list[Any] = []
        self.column = 0
        self.used = count  # of the rows
        self._columns: list[tuple[int, int, int]] = []  # each with where it begins, and the distance of steps
        self._firsts: list[tuple[int, int]] = []  # columns of which the first step is given something else

    def same(self, x: Any) -> bool:
        """Enter what is the same at all steps; tell whether it lies as it should."""
        x = self._placed(x, self.whole.inputs[self.column])
        if x is None:
            return False
        self._enter(address(x), 0)
        return True

    def each(self, k: int, x: Any, column: int) -> bool:
        """Enter what step k is given, in a column."""
        x = self._placed(x, self.whole.inputs[column])
        if x is None:
            return False
        self.rows[k, column] = address(x)
        return True

    def along(self, room: Array) -> None:
        """Enter what lies side by side; in a room for one, all steps in the same place."""
        self.held.append(room)
        self._enter(address(room), 0 if len(room) == 1 else room.strides[0])

    def given(self, x: Any, room: Array, place: Place) -> bool:
        """Enter what the first step is given, and the others find in a room."""
        if place != self.whole.inputs[self.column]:
            return False
        x = self._placed(x, place)
        if x is None:
            return False
        self.held.append(room)
        self._firsts.append((self.column, address(x)))
        self._enter(address(room) - room.strides[0], room.strides[0])
        return True

    def table(self, count: int) -> Array:
        """Return the rows of the first steps, with all that was entered."""
        columns, starts, steps = zip(*self._columns, strict=True)
        along = self.whole.distances(self.count, steps)
        if len(columns) == len(self.rows[0]):
            np.add(along, starts, out=self.rows)
        else:
            self.rows[:, columns] = along + starts
        for column, start in self._firsts:
            self.rows[0, column] = start
        return self.rows[:count]

    def _enter(self, start: int, step: int) -> None:
        self._columns.append((self.column, start, step))
        self.column += 1

    def _placed(self, x: Any, place: Place) -> Any:
        """Return a leaf as an array that is held, None where it does not lie as it should."""
        x = _as_array(x, place) if Place.of(x) == place else None
        if x is not None:
            self.held.append(x)
        return x


def _as_array(x: Any, place: Place) -> Any:
    """Return a leaf as an array, None where it is an integer of Python's that is too large for one."""
    try:
        return x if place.kind is np.ndarray else np.array(x, place.dtype)
    except OverflowError:
        return None


def ahead(
    whole: WholeProgram,
    times: range,
    phis: Sequence[Tree],
    pair: tuple[Tree, Tree],
    samples: list[Tree],
    spare: Spare,
) -> tuple[Taken, Stack, Any] | None:
    """Take steps at `times`, from (w, state) on; return them, the states after them, and what was measured before.

    `phis`: the meta-parameters of each, or one for all. None where no step could be taken.
    """
    (pair_tree, value_tree), _ = whole.tree
    states, values = len(ad.leaves(pair_tree)), len(ad.leaves(value_tree))
    rooms = [place.room(len(times)) for place in whole.outputs[: states + values]]
    kept = [(place, spare.room(place, len(times))) for place in whole.outputs[states + values :]]
    rows = Rows(whole, len(times))
    rows.along(np.arange(times.start, times.stop))
    count = _enter_phis(rows, phis)
    for x, place, room in zip(ad.leaves(pair), whole.outputs, rooms[:states], strict=False):
        if not rows.given(x, room, place):
            count = 0
    held, rows.held = rows.held, []
    count = _enter_samples(rows, samples[:count])
    numbers, rows.held = [x for x in rows.held if not x.ndim], held
    given = rows.column
    if given != len(whole.inputs):
        count = 0
    if count:
        for room in (*rooms, *[room for _, room in kept]):
            rows.along(room)
        count = whole.run(rows.table(count), count)
    if not count:
        for place, room in kept:
            spare.give(place, room)
        return None
    taken = Taken(whole, rows.rows, given, kept)
    taken.held, taken.samples, taken.left = [*rows.held, *numbers], samples[:count], count
    found = [x[:count] for x in rooms]
    pairs = Stack(leaves=found[:states], apart=whole.apart(0, states, pair_tree))
    return taken, pairs, found[states] if values else None


def kept_bytes(whole: WholeProgram) -> int:
    """Return the bytes that are kept of a step."""
    states_and_values = len(ad.leaves(whole.tree[0]))
    return sum(place.nbytes for place in whole.outputs[states_and_values:])


def _enter_phis(rows: Rows, phis: Sequence[Tree]) -> int:
    """Enter the meta-parameters; return of how many steps."""
    if len(phis) == 1:
        return rows.count if all(rows.same(x) for x in ad.leaves(phis[0])) else 0
    return _enter_each(rows, phis)


def _enter_each(rows: Rows, trees: Sequence[Tree]) -> int:
    first, width = rows.column, len(ad.leaves(trees[0])) if trees else 0
    rows.column += width
    for k, tree in enumerate(trees):
        flat = ad.leaves(tree)
        if len(flat) != width or not all(rows.each(k, x, first + j) for j, x in enumerate(flat)):
            return k
    return len(trees)


def _enter_samples(rows: Rows, samples: list[Tree]) -> int:
    """Enter the samples; return of how many steps."""
    return len(samples) if all(x is None for x in samples) else _enter_each(rows, samples)


class WayBack(NamedTuple):
    """Steps that were taken, the last one first; samples that were drawn again, None where that of the way there does.

    Over them an adjoint is to be pulled back; `factors`, (n, B): of the terms that are added, ones where none is.
    """

    steps: list[tuple[Taken, int]]
    samples: list[Tree]
    adjoint: tuple[Tree, Tree]
    factors: Array


def back(whole: WholeProgram, way: WayBack, spare: Spare, *, with_terms: bool) -> Pulled | None:
    """Pull an adjoint back; return what was found, as far as it went, None where no step could be pulled back."""
    steps, adjoint = way.steps, way.adjoint
    sizes = [len(ad.leaves(tree)) for tree in whole.tree]
    ends = [sum(sizes[:part]) for part in range(len(sizes) + 1)]
    next_one, given = AFTER if with_terms else PULLED, len(ad.leaves(adjoint))
    if sizes[next_one] != given:  # no term is known, or what is found is not what the next step is given
        return None
    # Cotangents of phi and sums are read later on; the gradient of what is measured, which has gone into the adjoint,
    # is left in one place.
    counts = [1 if ends[SLOPE] <= k < ends[AFTER] else len(steps) for k in range(len(whole.outputs))]
    rooms, lent = rooms_of(whole, counts, range(ends[PULLED], ends[SUMS]), spare)
    begin = ends[next_one]
    begin = ends[next_one]
    rows = _rows_back(whole, way, rooms[begin : begin + given])
    if rows is None:
        return None
    for room in rooms:
        rows.along(room)
    count = whole.run(rows.table(rows.used), rows.used)
    if not count:
        return None

    def stack(part: int) -> Stack:
        lo, hi = ends[part], ends[part + 1]
        return Stack(leaves=[x[:count] for x in rooms[lo:hi]], apart=whole.apart(lo, hi, whole.tree[part]))

    pulled = stack(PULLED)
    sums = [x[:count] for x in rooms[ends[SUMS] :]]
    told = Sums(sums[0], sums[1], sums[2] if with_terms else None)
    of_w, is_joint = len(ad.leaves(adjoint[0])), sizes[AFTER] > 0 == sizes[SLOPE]
    return Pulled(stack(0), pulled, stack(AFTER) if with_terms else pulled, told, of_w, is_joint, tuple(lent))


def rooms_of(
    whole: WholeProgram, counts: list[int], lent: range, spare: Spare
) -> tuple[list[Array], list[tuple[Place, Array]]]:
    """Return memory for what a pullback's program finds, of so many steps each, and which of it is `lent`.

    What is the same value twice lies in one place: the adjoint of a state to which a term gives nothing.
    """
    rooms: list[Array] = []
    given = []
    for k, (place, count) in enumerate(zip(whole.outputs, counts, strict=True)):
        same = whole.same_as[k]
        if same < k and k in lent and same in lent and counts[same] == count:
            rooms.append(rooms[same])
            continue
        rooms.append(spare.room(place, count) if k in lent else place.room(count))
        given += [(place, rooms[k])] if k in lent else []
    return rooms, given


def _rows_back(whole: WholeProgram, way: WayBack, rooms: list[Any]) -> Rows | None:
    """Return the rows but for what is found: those of the way there, adjoints, which are found in `rooms`, factors."""
    steps, samples, adjoint, factors = way
    first = steps[0][0]
    rows, there, m = Rows(whole, len(steps)), _rows_of(steps), first.given
    if whole.inputs[:m] != first.whole.inputs[:m] or any(taken.whole is not first.whole for taken, _ in steps):
        return None
    rows.rows[:, :m] = there[:, :m]
    for k, sample in enumerate(samples):
        if sample is None:
            continue
        flat = ad.leaves(sample)
        if not all(rows.each(k, x, m - len(flat) + j) for j, x in enumerate(flat)):
            rows.used = k
            break
    rows.column = m
    pairs = zip(ad.leaves(adjoint), rooms, strict=False)
    if not rows.used or not all(rows.given(x, room, whole.inputs[rows.column]) for x, room in pairs):
        return None
    rows.along(factors)
    kept = len(whole.inputs) - rows.column
    rows.rows[:, rows.column : rows.column + kept] = there[:, first.whole.width - kept :]
    rows.column += kept
    return rows


def _rows_of(steps: list[tuple[Taken, int]]) -> Array:
    """Return the rows of the way there."""
    (taken, last), first = steps[0], steps[-1][1]
    if steps[-1][0] is taken and last - first + 1 == len(steps):
        return taken.rows[first : last + 1][::-1]
    return np.array([one.rows[k] for one, k in steps])
