"""Programs that tasks of one kind share: tasks of a user's that are new at every call, of one code and other data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from metagrad.protocols import Tree
from metagrad.replay import Apart, Kind, Looked, LookedApart, Routines, has_programs, kind_of, moved, routines_of
from metagrad.system import Training
from metagrad.unroll.measured import Measured
from metagrad.unroll.on_data import is_users
from metagrad.xp import Array, Namespace

_FEWEST, _FEWEST_SHARED, _FEWEST_AT_FIRST = 8, 2, 40  # steps
_FEWEST_RUNS = 3  # of a task, after which shorter ones may have programs of its own


class Programs(NamedTuple):
    """Programs of a run, by the names that were asked for; and the task apart, where they are those of its kind."""

    routines: list[Routines]
    apart: Apart | None


def programs_of(
    system: Training,
    task: Any,
    measure: Any,
    named: Sequence[tuple[str, Any]],
    *,
    steps: int,
    goes_on: bool,
    at_first: int = _FEWEST_AT_FIRST,
) -> Programs | None:
    """Return the programs of a run that is measured: of the task's kind, or its own; None where they are not worth it.

    `named`: what each computes, and of what beside the system; the last one is the step. `goes_on`: this is the next
    window of a run. `at_first`: the fewest steps of a run of a task that has not come before. Where a task cannot have
    its own, as where a sample picks entries of its data, those of its kind may do: there data are recorded.
    """
    apart = kind = None
    if steps >= _FEWEST_SHARED and is_users(task) and not has_programs(task):
        apart = Apart(task, system.rule, measure)
        kind = kind_of(apart, task, goes_on=goes_on)

    def found(kind: Kind | None) -> list[Routines]:
        return [routines_of(what, system, more, of=task, kind=kind) for what, more in named]

    if kind is not None and kind.is_to_share:
        shared = _current(found(kind), LookedApart(kind))
        if not any(one.why_not for one in shared):
            return Programs(shared, apart)
        kind.refuse()
    own = found(None) if steps >= _FEWEST_SHARED else []
    asked = own[-1].asked if own else 0
    if (steps < _FEWEST and asked <= _FEWEST_RUNS) or (steps < at_first and asked == 1):
        return None
    own = _current(own, Looked(task, system.rule, measure))
    if own[-1].why_not and kind is not None:
        kind.code.ask()  # from the next run on
    return Programs(own, None)


def programs_on_device(
    system: Training, task: Any, measure: Any, named: Sequence[tuple[str, Any]], *, steps: int, xp: Namespace
) -> Programs | None:
    """Return programs of a run on a device, None where there are none: those of the task's kind, with data for inputs.

    They are recorded with copies of the data on the host, once for all tasks of the kind: the first one has them, too.
    """
    if steps < _FEWEST:
        return None
    apart = Apart(task, system.rule, measure)
    kind = kind_of(apart, task)
    if kind is not None and not kind.code.is_asked:
        kind.code.ask()  # labels are data from the beginning: to tell them apart they would be copied to the host
        apart = Apart(task, system.rule, measure)
        kind = kind_of(apart, task)
    if kind is None or kind.is_refused or apart.device is not xp:
        return None
    found = [routines_of(what, system, more, of=task, kind=kind, xp=xp) for what, more in named]
    shared = _current(found, LookedApart(kind))
    if any(one.why_not for one in shared):
        kind.refuse()
        return None
    return Programs(shared, apart)


def _current(every: list[Routines], held: Looked | LookedApart) -> list[Routines]:
    """Return programs, having dropped those of what is no longer what it was."""
    for one in every:
        one.depend_on(held)
    return every


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
