"""Many steps of a run, one after the other with nothing in between: by one call of machine code, or program by program.

The numbers are the same. What is not to be run at once (a program that is not compiled, samples that lie in one place)
is run step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay import stretches
from metagrad.replay.adjoints import Sums, is_float
from metagrad.replay.kept_steps import KeptStep, KeptSteps
from metagrad.replay.program import NotReplayable
from metagrad.replay.routine import Routine, Routines, layout, leaves_of
from metagrad.replay.running import Running
from metagrad.replay.samples import drawn
from metagrad.replay.stack import Stack
from metagrad.replay.stretches import Pulled, Taken
from metagrad.scaled import ldexp
from metagrad.xp import Array, like

Pair = tuple[Tree, Tree]  # (w, state)
_WORTH_TAKING_AGAIN = 4  # steps


class Course(NamedTuple):
    """Times of an unroll, one after the other, the meta-parameters at each; the unroll begins `offset` later."""

    times: range
    phi_at: Callable[[int], Tree]
    offset: int

    def first(self, count: int) -> Course:
        """Return the first so many."""
        return self._replace(times=self.times[:count])


class Passed(NamedTuple):
    """Steps that were taken, from a state on, with the samples of each; `taken` is None where they were one by one."""

    course: Course
    start: Pair
    pairs: Stack  # the states after them
    values: Array | None  # what is measured before each, where that is known
    samples: list[Tree]
    taken: Taken | None


class Adjoint(NamedTuple):
    """What is pulled back, (w, state); `fold` as in `ReplayStep.pullback`, `factors`, (n, B), as in `ReplayStep.back`.

    Each None where there is none.
    """

    pair: Pair
    fold: Array | None
    factors: Array | None


class ManySteps:
    """The steps of one run by their programs."""

    def __init__(self, routines: Routines, sample: Callable[[int], Tree], kept: KeptSteps, *, joint: bool) -> None:
        """Take the programs, what draws the samples, and where steps are kept; `joint`: what is measured is."""
        self._routines, self._sample, self._kept, self._joint = routines, sample, kept, joint
        self._may_take_again = True

    def ahead(self, course: Course, pair: Pair, *, keep: bool) -> tuple[Stack, Array | None]:
        """Return the states after some steps, and what was measured before each, as far as programs take them.

        `keep` them for their pullbacks.
        """
        return self._at_once(course, pair, keep=keep) or self._one_by_one(course, pair, keep=keep)

    def again(self, course: Course, states: list[Pair]) -> None:
        """Take steps again that went from one of those (w, state) to the next, and keep them: there was no room.

        The last ones are first to be pulled back: as many of them as there is room for.
        """
        program = self._whole(course, states[0])
        if program is None or not self._may_take_again:
            return
        count = min(len(course.times), self._kept.room // max(1, stretches.kept_bytes(program.whole)))
        if count < _WORTH_TAKING_AGAIN:
            return
        course, states = course._replace(times=course.times[-count:]), states[-count - 1 :]
        program = self._whole(course, states[0])
        samples = None if program is None else self._samples(course)
        found = None if samples is None else self._taken(program, course, states[0], samples)
        if found is None:
            self._may_take_again = False  # of samples that lie in one place, and are never taken at once
            return
        taken, pairs, _ = found
        if not _are_same(pairs.leaves, Stack(states[1 : len(pairs) + 1]).leaves):
            taken.release(self._routines.spare)
            raise NotReplayable("a step that was taken twice gave two results")
        self._kept.keep_many(course.times[: len(pairs)], taken, states)

    def _at_once(self, course: Course, pair: Pair, *, keep: bool) -> tuple[Stack, Array | None] | None:
        program = self._whole(course, pair)
        samples = None if program is None else self._samples(course)
        found = None if samples is None else self._taken(program, course, pair, samples)
        if found is None:
            return None
        taken, pairs, values = found
        if keep:
            self._kept.keep_many(course.times[: len(pairs)], taken, [pair, *pairs.trees])
        else:
            taken.release(self._routines.spare)
        return pairs, values

    def _samples(self, course: Course) -> list[Tree] | None:
        """Return the samples of steps, None where one was written over another."""
        start = course.offset + course.times[0]
        return drawn(self._sample, range(start, start + len(course.times)))

    def _taken(self, program: Any, course: Course, pair: Pair, samples: list[Tree]) -> tuple[Taken, Stack, Any] | None:
        """Return the steps by one call of a program, the states after them, and what was measured before."""
        times, phi_at, offset = course
        start, first, last = offset + times[0], phi_at(times[0]), phi_at(times[-1])
        phis = [first] if last is first else [phi_at(t) for t in times]
        here = range(start, start + len(times))
        with program.lock:
            return stretches.ahead(program.whole, here, phis, pair, samples, self._routines.spare)

    def _whole(self, course: Course, pair: Pair) -> Any:
        """Return the program of steps that are to be kept, where it takes many at once, else None."""
        return self._whole_on(course, pair, self._sample(course.offset + course.times[0]))

    def _whole_on(self, course: Course, pair: Pair, sample: Tree) -> Any:
        start = course.times[0]
        return program_of(self._routines.keeping, (course.offset + start, course.phi_at(start), *pair, sample))

    def _one_by_one(self, course: Course, pair: Pair, *, keep: bool) -> tuple[Stack, Array | None]:
        return self._in_turn(course, pair, (self._sample(course.offset + t) for t in course.times), keep=keep)

    def _in_turn(
        self, course: Course, pair: Pair, samples: Iterable[Tree], *, keep: bool
    ) -> tuple[Stack, Array | None]:
        times, phi_at, offset = course
        pairs: list[Pair] = []
        values: list[Any] = []
        run, (w, state) = Running(self._routines.keeping), pair
        for t, sample in zip(times, samples, strict=True):
            found = run.next(offset + t, phi_at(t), w, state, sample)
            if found is None:
                break
            (after, value), kept = found
            if keep:
                self._kept.keep(t, w, state, sample, kept)
            w, state = after
            pairs.append(after)
            values.append(value)
        return Stack(pairs), np.array(values) if values and values[0] is not None else None

    def passed(self, course: Course, pair: Pair) -> Passed | None:
        """Return steps that nothing is kept of but what tangents are given; None where programs take none."""
        samples = self._samples(course)
        if samples is None:
            return None
        program = self._whole_on(course, pair, samples[0])  # nothing is drawn from here on until all are read
        found = None if program is None else self._taken(program, course, pair, samples)
        if found is not None:
            taken, pairs, values = found
            taken.release(self._routines.spare)
            return Passed(course, pair, pairs, values, samples, taken)
        pairs, values = self._in_turn(course, pair, samples, keep=False)
        return Passed(course, pair, pairs, values, samples, None) if pairs else None

    def back(self, course: Course, steps: list[KeptStep], adjoint: Adjoint) -> Pulled | None:
        """Pull an adjoint back over steps that were kept, the last one first, as far as programs do.

        None where none does.
        """
        count = next(
            (k for k, step in enumerate(steps) if (step.taken is None) is not (steps[0].taken is None)), len(steps)
        )
        factors = None if adjoint.factors is None else adjoint.factors[:count]
        course, steps, adjoint = course.first(count), steps[:count], adjoint._replace(factors=factors)
        return self._back_at_once(course, steps, adjoint) or self._back_one_by_one(course, steps, adjoint)

    def _back_at_once(self, course: Course, steps: list[KeptStep], adjoint: Adjoint) -> Pulled | None:
        taken = [(step.taken, step.place) for step in steps if step.taken is not None]
        if not taken:
            return None
        times, phi_at, offset = course
        pair, fold, factors = adjoint
        ones = ones_of(steps[0].w, joint=self._joint)
        given = np.broadcast_to(ones, (len(steps), *ones.shape)).copy() if factors is None else factors
        again = [offset + t for t, step in zip(times, steps, strict=True) if step.is_drawn_again]
        redrawn = drawn(self._sample, again)
        if redrawn is None:
            return None
        rest = iter(redrawn)
        samples = [next(rest) if step.is_drawn_again else None for step in steps]
        step = steps[0]
        first = samples[0] if step.is_drawn_again else step.sample
        trees = (offset + times[0], phi_at(times[0]), step.w, step.state, first, (pair, given[0]), step.arrays)
        program = program_of(self._routines.given, trees)
        if program is None:
            return None

        def by_program(pair: Pair, given: Array) -> Pulled | None:
            way = stretches.WayBack(taken, samples, pair, given)
            return stretches.back(program.whole, way, self._routines.spare, with_terms=factors is not None)

        with program.lock:
            found = by_program(pair, given)
            if fold is None or found is None:
                return found
            folded = by_program(shifted(pair, fold), self._shifted(given, fold))
        if folded is None:
            self.done(found)
            return None
        return self._folded(found, folded, fold)

    def _shifted(self, factors: Array, fold: Array) -> Array:
        """Return factors, (..., B), of terms that are added to adjoints which are shifted."""
        if not self._joint:
            return ldexp(factors, fold)
        of_w, of_phi = factors[..., :1, :], factors[..., 1:, :]  # that of phi is shifted already
        return np.concatenate([ldexp(of_w, fold), of_phi], axis=-2)

    def _folded(self, found: Pulled, folded: Pulled, fold: Array) -> Pulled:
        """Return what was found, with the cotangents of phi that shifted adjoints gave.

        Those adjoints were shifted before the first step. They have to be what they are if shifted before each.
        """
        count = min(len(found.pulled), len(folded.pulled))
        some, others = (ad.leaves((of.pulled.leaves, of.after.leaves)) for of in (found, folded))
        for x, y in zip(some, others, strict=True):
            if is_float(x):
                differ = ldexp(x[:count], fold.reshape(fold.shape + (1,) * (x.ndim - 2))) != y[:count]
                differ = differ.reshape((count, -1)).any(axis=1)
                count = int(differ.argmax()) + 1 if differ.any() else count
        self.done(folded)
        return found.first(count)._replace(phi_bars=folded.phi_bars.part(0, count))

    def done(self, pulled: Pulled) -> None:
        """Take back the memory of adjoints that nobody reads any more."""
        for place, room in pulled.lent:
            self._routines.spare.give(place, room)

    def _back_one_by_one(self, course: Course, steps: list[KeptStep], adjoint: Adjoint) -> Pulled | None:
        times, phi_at, offset = course
        pair, fold, factors = adjoint
        results: list[Any] = []
        run, ones, is_joint = Running(self._routines.given), ones_of(steps[0].w, joint=self._joint), False
        for k, (t, step) in enumerate(zip(times, steps, strict=True)):
            sample = self._sample(offset + t) if step.is_drawn_again else step.sample
            trees, found = (offset + t, phi_at(t), step.w, step.state, sample), step.arrays
            factor = ones if factors is None else factors[k]
            got = run.next(*trees, (pair, factor), found)
            if got is None:
                break
            phi_bar, pulled, slope, after, sums = got
            if fold is not None:
                folded = run.next(*trees, (shifted(pair, fold), self._shifted(factor, fold)), found)
                if folded is None:
                    break
                phi_bar = folded[0]
            if factors is not None and after is None:  # no term is known here
                break
            pair = pulled if factors is None else after
            results.append((phi_bar, pulled, pair, sums))
            is_joint = slope is None and after is not None
        return pulled_of(results, with_terms=factors is not None, is_joint=is_joint) if results else None


def pulled_of(results: list[Any], *, with_terms: bool, is_joint: bool = False) -> Pulled:
    """Return what was found of some steps one by one: (cotangents of phi, adjoint, that with its term, sums) each."""
    *columns, all_sums = zip(*results, strict=True)
    phi_bars, pulled, after = (Stack(list(of)) for of in columns)
    told = [None if of[0] is None else np.array(of) for of in zip(*all_sums, strict=True)]
    sums = Sums(told[0], told[1], told[2] if with_terms else None)
    return Pulled(phi_bars, pulled, after if with_terms else pulled, sums, len(ad.leaves(results[0][1][0])), is_joint)


def _are_same(some: list[Any], others: list[Any]) -> bool:
    """Whether leaves of several steps, as arrays or lists, have the same bits."""
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(some, others, strict=True))


def program_of(routine: Routine, trees: Any) -> Any:
    """Return the program for such inputs, where it is one function of machine code."""
    program = routine.program(layout(trees, leaves_of(trees)))
    return None if program is None or program.whole is None else program


def ones_of(w: Tree, *, joint: bool = False) -> Array:
    """Return a factor of 1 of a term, (B,), or two, (2, B): where none is added, and to compare with."""
    first = next(x for x in ad.leaves(w) if is_float(x))
    return like(first, np.ones((2, len(first)) if joint else len(first), first.dtype))


def shifted(adjoint: Pair, by: Array) -> Pair:
    """Return the adjoint times 2**by, task by task."""
    if isinstance(by, np.ndarray) and not by.any():  # on a device nobody looks
        return adjoint
    found: Pair = ad.tree_map(
        lambda x: ldexp(x, by.reshape(by.shape + (1,) * (x.ndim - 1))) if is_float(x) else x, adjoint
    )
    return found
