"""Programs that tasks of one kind share: tasks of a user's that are new at every call, of one code and other data."""

from __future__ import annotations

from typing import Any, NamedTuple

from metagrad.protocols import Tree
from metagrad.replay import Apart, Kind, has_programs, kind_of, moved
from metagrad.system import Training
from metagrad.unroll.measured import Measured
from metagrad.unroll.on_data import is_users
from metagrad.xp import Array


class Shared(NamedTuple):
    """A task apart, and its kind."""

    apart: Apart
    kind: Kind


def apart_of(unroll: Any, system: Training, task: Any) -> Shared | None:
    """Return the task of an unroll apart and its kind; None where it has programs of its own, or cannot be told.

    A task that comes again and again has its own: there data are constants, and what is made of them alone is, too.
    """
    if not is_users(task) or has_programs(task):
        return None
    apart = Apart(task, system.rule, unroll.tally.measure)
    kind = kind_of(apart, task, goes_on=unroll.ask.at is not None)  # a window of a run was seen before
    return None if kind is None else Shared(apart, kind)


def stepped_task(unroll: Any, system: Training) -> Any:
    """Return the task whose steps are taken, and which is measured: that below a learned start, where it begins only.

    Others may be put around the same one at every call.
    """
    begins = system.under_start
    return begins if begins is not None and unroll.tally.task is begins else unroll.task


class MeasuredOfKind:
    """What `ReplayTerms` asks of `Measured`, with data beside the sample."""

    def __init__(self, measured: Measured, apart: Apart) -> None:
        """Bind what an unroll measures, and its task apart."""
        self._measured, self._apart = measured, apart
        self.measure, self.task = measured.measure, measured.task

    def sample(self, t: int) -> Any:
        """Return the randomness of time t, and the data."""
        return self._measured.sample(t), self._apart.data

    def near(self, sample: Any) -> Any:
        """Return a sample with other data."""
        drawn, data = sample
        return drawn, moved(data, 8)

    def valued(self, w: Tree, sample: Any) -> Array:
        """Return what is measured at w."""
        return self._on(sample).valued(w, sample[0])

    def slope(self, w: Tree, sample: Any) -> Tree:
        """Return its gradient."""
        return self._on(sample).slope(w, sample[0])

    def of_w(self, w: Tree, sample: Any) -> Array:
        """Return what is measured at w, as its code has it."""
        return self._on(sample).of_w(w, sample[0])

    def jointly(self, phi: Tree, w: Tree, state: Tree, sample: Any) -> Array:
        """Return what is measured as a function of all that stands there."""
        return self._on(sample).jointly(phi, w, state, sample[0])

    def valued_jointly(self, phi: Tree, w: Tree, state: Tree, sample: Any) -> Array:
        """Return the same by the tape."""
        return self._on(sample).valued_jointly(phi, w, state, sample[0])

    def _on(self, sample: Any) -> Measured:
        data = sample[1]
        return self._measured if data is self._apart.data else self._measured.on(self._apart.with_data(data))
