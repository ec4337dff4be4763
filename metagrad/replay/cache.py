"""Programs are kept as long as the task that they are of: a call with the same task object finds them recorded.

A task is told by its identity, and held weakly. What else a program depends on is the key: the rule, the horizon that
it is shown, which gradient is taken, and what is measured. Whether data of the task were changed in place is found by
the comparison with the tape that begins every run.
"""

from __future__ import annotations

import weakref
from threading import Lock
from typing import Any

import numpy as np

from metagrad.replay.closed import read_through
from metagrad.replay.routine import Routines
from metagrad.system import Training
from metagrad.xp import Namespace

_MOST_PAIRS = 8  # of rules, horizons and measures for one task
_MOST_TASKS = 64  # what was not asked for longest goes: a measure may hold its task, which then would live for ever
_MOST_BYTES = 1 << 28  # of the buffers of all programs; those of the task that is asked for stay
_LOCK = Lock()
_KEPT: dict[int, tuple[Any, list[tuple[tuple[Any, ...], Routines]]]] = {}


def routines_of(
    what: str, system: Training, *more: Any, of: Any = None, kind: Any = None, xp: Namespace = np
) -> Routines:
    """Return the programs of a system, and of what else they depend on: new ones where there are none yet.

    They are those of its task, of the task `of` whose steps they are, or of a `kind` of tasks, whose signature tells
    the rule and the measure, too (`metagrad.replay.shared`). They are run on arrays of `xp`.
    """
    task = (system.task if of is None else of) if kind is None else kind
    of_code = (system.rule, *more) if kind is None else tuple([x is None for x in more])
    key = (what, system.held, system.steps, *of_code)
    with _LOCK:
        pairs = _pairs_of(task)
        routines = next((found for known, found in pairs if alike(known, key)), None)
        if routines is None:
            routines = Routines(what, xp)
            routines.is_shared = kind is not None
            _make_room()
            pairs.append((key, routines))
            del pairs[:-_MOST_PAIRS]
        routines.asked += 1
        return routines


def _pairs_of(task: Any) -> list[tuple[tuple[Any, ...], Routines]]:
    number = id(task)
    found = _KEPT.pop(number, None)
    if found is None or found[0]() is not task:
        try:
            ref = weakref.ref(task, lambda ref: _forget(number, ref))
        except TypeError:  # it cannot be held weakly: nothing is kept
            return []
        found = (ref, [])
    _KEPT[number] = found  # the latest is the last
    return found[1]


def _make_room() -> None:
    """Let go of the tasks that were not asked for longest, where they are too many, or hold too much."""
    kept = _KEPT.copy()  # a task may die at any time, and takes its entry with it
    held = {number: sum(routines.nbytes for _, routines in pairs) for number, (_, pairs) in kept.items()}
    total = sum(held.values())
    for oldest in [*kept][:-1]:
        if len(_KEPT) <= _MOST_TASKS and total <= _MOST_BYTES:
            break
        total -= held[oldest]
        _KEPT.pop(oldest, None)


def _forget(number: int, ref: Any) -> None:
    found = _KEPT.get(number)
    if found is not None and found[0] is ref:
        _KEPT.pop(number, None)


def are_laid_out(task: Any) -> bool:
    """Whether whole runs of a task were laid out."""
    found = _KEPT.get(id(task))
    return found is not None and found[0]() is task and any(routines.runs for _, routines in found[1])


def has_programs(task: Any) -> bool:
    """Whether anything was recorded of a task itself."""
    found = _KEPT.get(id(task))
    return found is not None and found[0]() is task and any(routines.are_recorded for _, routines in found[1])


def alike(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether parts are the same ones, one by one, or are equal: settings of ours, or of code that can be read."""
    return len(a) == len(b) and all(map(_equal, a, b))


def _equal(x: Any, y: Any) -> bool:
    """Whether two parts are one object, or equal; what cannot tell is another one.

    A user's rule that is made anew at every call is the same one where all that it reaches is.
    """
    if x is y:
        return True
    if type(x) is not type(y):
        return False
    if type(x) in (bool, int, str):
        return bool(x == y)
    if type(x).__module__.startswith("metagrad."):
        try:
            if x == y:
                return True
        except Exception:  # arrays among the settings
            return False
    found = read_through(x)
    return found is not None and found == read_through(y)
