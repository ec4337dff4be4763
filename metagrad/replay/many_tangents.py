"""Tangents of a run over many steps, one after the other with nothing in between: by one call, or program by program.

Forward mode takes the states of a stretch first, then each tangent beside them. The numbers are those of one step
after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.many_steps import Passed, program_of
from metagrad.replay.routine import Routine, moved
from metagrad.replay.running import Running
from metagrad.replay.stack import Stack
from metagrad.replay.stretches import Rows, Taken
from metagrad.replay.whole_program import WholeProgram
from metagrad.xp import Array

Pair = tuple[Tree, Tree]  # (w, state)


class Moving(NamedTuple):
    """A tangent of (w, state); what that of phi is multiplied by, (B,); and the leaves of that."""

    tangent: Pair
    factor: Array
    units: tuple[Any, ...]


class Way(NamedTuple):
    """Programs that take a tangent over a step, what they are recorded of, and what they are given beside the step."""

    routine: Routine
    of: Callable[..., Any]
    made: tuple[Any, Any]
    is_along: bool  # made for stretches: (tangent, factor) and the leaves of that of phi; else that of phi, and tangent

    def beside(self) -> tuple[Any, Any]:
        """Return what to try a program with, beside what it was recorded with."""
        first, second = self.made
        return (moved(first, 5), second) if self.is_along else (first, moved(second, 5))


class Pushed(NamedTuple):
    """What became of a tangent over some steps."""

    of_state: Stack  # what the tangent of (w, state) gives to each next one
    after: Stack  # the next ones
    terms: tuple[Array, ...]  # what it gives to what is measured before each step, (n, B); see `OfStep.with_next`

    def __len__(self) -> int:
        """Return over how many."""
        return len(self.after)


def along(routine: Routine, steps: Passed, moving: Moving) -> Pushed | None:
    """Take a tangent over steps, as far as programs do; None where none does."""
    if steps.taken is not None:
        times, phi_at, offset = steps.course
        trees = (offset + times[0], phi_at(times[0]), *steps.start, steps.samples[0], moving[:2], moving.units)
        program = program_of(routine, trees)
        if program is not None:
            with program.lock:
                found = _at_once(program.whole, steps.taken, len(steps.pairs), moving)
            if found is not None:
                return found
    return _one_by_one(routine, steps, moving)


def _at_once(whole: WholeProgram, taken: Taken, count: int, moving: Moving) -> Pushed | None:
    """Take them in one call; None where the program is of other inputs, or takes no step."""
    tangent, factor, units = moving
    m, ((of_state_tree, of_phi_tree), after_tree, _) = taken.given, whole.tree
    if whole.inputs[:m] != taken.whole.inputs[:m]:
        return None
    sizes = [len(ad.leaves(tree)) for tree in (of_state_tree, of_phi_tree, after_tree)]
    first, end = sizes[0] + sizes[1], sum(sizes)
    rooms = [place.room(count) for place in whole.outputs]
    rows = Rows(whole, count)
    rows.rows[:, :m] = taken.rows[:count, :m]
    rows.column = m
    known = ad.leaves(tangent)
    if len(known) != end - first or len(whole.inputs) != m + len(known) + 1 + len(units):
        return None
    for x, room in zip(known, rooms[first:end], strict=True):
        if not rows.given(x, room, whole.inputs[rows.column]):
            return None
    if not all(rows.same(x) for x in (factor, *units)):
        return None
    for room in rooms:
        rows.along(room)
    count = whole.run(rows.table(count), count)
    if not count:
        return None
    found = [room[:count] for room in rooms]
    of_state = Stack(leaves=found[: sizes[0]], apart=whole.apart(0, sizes[0], of_state_tree))
    after = Stack(leaves=found[first:end], apart=whole.apart(first, end, after_tree))
    return Pushed(of_state, after, tuple(found[end:]))


def _one_by_one(routine: Routine, steps: Passed, moving: Moving) -> Pushed | None:
    run, tangent = Running(routine), moving.tangent
    times, phi_at, offset = steps.course
    found: list[Any] = []
    states = [steps.start, *steps.pairs.trees]
    for t, (w, state), sample in zip(times[: len(steps.pairs)], states, steps.samples, strict=False):
        one = run.next(offset + t, phi_at(t), w, state, sample, (tangent, moving.factor), moving.units)
        if one is None:
            break
        (of_state, _), tangent, terms = one
        found.append((of_state, tangent, terms))
    if not found:
        return None
    of_states, afters, terms = zip(*found, strict=True)
    told = tuple([np.array(rows) for rows in zip(*terms, strict=True)])
    return Pushed(Stack(list(of_states)), Stack(list(afters)), told)
