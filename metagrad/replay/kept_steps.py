"""What was found of the steps of a run that their pullbacks need, as far as there is room for it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay.samples import Owners
from metagrad.replay.stretches import Spare, Taken
from metagrad.replay.whole_program import address


class KeptStep(NamedTuple):
    """A step that was taken from (w, state)."""

    w: Tree
    state: Tree
    sample: Tree  # None, too, where it is to be drawn again
    is_drawn_again: bool
    found: tuple[Any, ...] | None  # what its pullback needs
    taken: Taken | None  # of which it is one, at a place
    place: int
    size: int  # in bytes

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What its pullback needs."""
        if self.found is not None:
            return self.found
        assert self.taken is not None
        return self.taken.arrays(self.place)


class KeptSteps:
    """The kept steps by time; what was kept first goes where there is no room."""

    def __init__(self, room: int, spare: Spare) -> None:
        """Keep at most `room` bytes; memory of many steps goes back to `spare`."""
        self.room, self._spare, self._bytes = room, spare, 0
        self._steps: OrderedDict[int, KeptStep] = OrderedDict()  # its first entry is found at once after many have gone
        self.is_short = False  # of room: steps had to go
        self._data: list[Any] = []  # what the arrays of the latest sample are views of
        self._owners, self._are_refilled = Owners(), False

    def keep(self, t: int, w: Tree, state: Tree, sample: Tree, found: tuple[Any, ...]) -> None:
        """Keep what a step found for its pullback."""
        size = 0
        for x in found:
            size += x.nbytes
        if size > self.room:
            self.room = 0
            return
        self._enter(t, KeptStep(w, state, None, sample is not None, found, None, 0, size))

    def keep_many(self, times: range, taken: Taken, pairs: list[tuple[Tree, Tree]]) -> None:
        """Keep steps that were taken at once, from those (w, state)."""
        size = taken.size
        if size > self.room:
            self.room = 0
            return
        samples = taken.samples
        are_held = all([sample is None or self._holds_nothing(sample) for sample in samples][1:])
        if are_held and samples and samples[0] is not None:
            for sample in samples:  # of some the owner is not looked at, but each of them
                self._owners.see(sample)
            are_held = self._are_as_they_were()
        if not are_held:  # each is to be drawn again, and its memory is free until then
            taken.samples = [None] * len(samples)
        if not self._steps.keys().isdisjoint(times):
            self.drop_many(times)
        for k, (t, (w, state), sample) in enumerate(zip(times, pairs, taken.samples, strict=False)):
            is_again = samples[k] is not None and not are_held
            self._steps[t] = KeptStep(w, state, sample, is_again, None, taken, k, size)
        self._bytes += size * len(times)
        self._make_room()

    def known(self, times: range, states: list[Any], looked_at: set[int]) -> list[KeptStep]:
        """Return the first of some times at which a step from that very state is kept, and not to be looked at."""
        self._are_as_they_were()
        found: list[KeptStep] = []
        for t, at in zip(times, states, strict=False):
            step = self._steps.get(t)
            # To draw one again may be to write over what others are views of.
            if step is not None and found and step.is_drawn_again is not found[0].is_drawn_again:
                break
            if step is None or t in looked_at or step.w is not at.w or step.state is not at.state:
                break
            found.append(step)
        return found

    def get(self, t: int, w: Tree, state: Tree) -> KeptStep | None:
        """Return the step at a time, where it was taken from that very state."""
        step = self._steps.get(t)
        return step if step is not None and step.w is w and step.state is state else None

    def drop(self, t: int) -> None:
        """Let go of a step, if it is kept."""
        step = self._steps.pop(t, None)
        if step is not None:
            self._bytes -= step.size
            if step.taken is not None:
                step.taken.done(self._spare)

    def drop_many(self, times: range) -> None:
        """Let go of those of some times that are kept."""
        for t in times:
            self.drop(t)

    def _are_as_they_were(self) -> bool:
        """Whether what samples that are kept are views of is what it was; else they are to be drawn again."""
        if not self._are_refilled and not self._owners.are_as_they_were():
            self._are_refilled = True
            for t, step in self._steps.items():
                if step.sample is not None:
                    self._steps[t] = step._replace(sample=None, is_drawn_again=True)
                    if step.taken is not None:
                        step.taken.samples = [None] * len(step.taken.samples)
        return not self._are_refilled

    def _enter(self, t: int, step: KeptStep) -> None:
        self.drop(t)
        self._bytes += step.size
        self._steps[t] = step
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self.room:
            self.is_short = True
            self.drop(next(iter(self._steps)))

    def _holds_nothing(self, sample: Tree) -> bool:
        """Whether a sample's arrays are other views of what the one before was, so that to keep it takes no memory."""
        before, self._data = self._data, [(getattr(x, "base", None), _place(x)) for x in ad.leaves(sample)]
        return len(before) == len(self._data) and all(
            base is not None and base is data and place != old
            for (base, place), (data, old) in zip(self._data, before, strict=True)
        )


def _place(x: Any) -> Any:
    return address(x) if type(x) is np.ndarray else None
