"""Kinds of tasks that come new at every call: their programs are kept by the signature of their code (`apart`)."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar

from metagrad.replay.apart import Apart
from metagrad.replay.closed import Signature

_MOST_KINDS = 16
_MOST_AGAIN = 16  # runs of one task, from which on what it takes to record programs of its own is earned back
_LATEST = 64  # tasks, from which on programs are shared at the latest
_RECENT = 4 * _MOST_KINDS  # runs
_GONE = [0]  # how many kinds that shared programs had to go while they were in use: then later ones have to wait
_RUNS = [0]  # that were told
_LOCK = Lock()
_One = TypeVar("_One")
_KINDS: list[Kind] = []  # what was asked for last is the last
_CODES: list[Code] = []


class Code:
    """Tasks of one code: which of their labels and masks are not the same in all of them.

    Those are data. Where no program can be shared so, as a shape depends on one of them, say, all are told again: tasks
    with other ones are of another kind.
    """

    def __init__(self, apart: Apart) -> None:
        """Take the first task of that code."""
        self.code, self._named, self._first = apart.code, apart.named, apart.contents_of
        self._may_vary = True
        self.varies: frozenset[int] = frozenset()
        self.is_asked = False  # whether tasks cannot have programs of their own, so that those of a kind are asked for

    def see(self, apart: Apart) -> bool:
        """Note a task; tell whether what varies is not what it was."""
        if len(self.varies) == len(self._first):
            return False
        pairs = zip(self._first, apart.contents_of, strict=True)
        differs = frozenset(k for k, (a, b) in enumerate(pairs) if a != b and self._may_vary)
        is_new = not differs <= self.varies
        self.varies |= differs
        return is_new

    def ask(self) -> None:
        """Note that a task cannot have programs of its own, as where a sample picks entries of its data and labels."""
        with _LOCK:
            self.is_asked = True
            if self._may_vary:
                self.varies = frozenset(range(len(self._first)))

    def refuse(self) -> None:
        """Note that programs cannot be shared where they vary."""
        with _LOCK:
            self._may_vary, self.varies = False, frozenset()


class Kind:
    """Tasks of one code, with rules and measures of one code."""

    def __init__(self, apart: Apart, code: Code, enough: int) -> None:
        """Take the signature, and hold what it tells by its place in memory; so many tasks are `enough` to share."""
        self.signature, self._named, self._enough = apart.signature, apart.named, enough
        self.code, self._varies = code, code.varies
        self.is_refused = False  # its programs cannot be shared
        self._tasks = 0  # that were seen, each as often as another one came before it
        self._last: Any = None
        self._again = self._run = 0

    def see(self, task: Any, *, goes_on: bool) -> None:
        """Note a task of this kind."""
        self._run = _RUNS[0]
        if self._last is not None and self._last() is task:
            self._again += not goes_on
            return
        self._tasks, self._again = self._tasks + 1, 0
        try:
            self._last = weakref.ref(task)
        except TypeError:  # it cannot be held weakly, and no programs are kept for it
            self.is_refused = True

    def refuse(self) -> None:
        """Note that its programs cannot be shared."""
        self.is_refused = True
        if self._varies:
            self.code.refuse()

    @property
    def is_to_share(self) -> bool:
        """Whether programs are to be shared: by several tasks, of which none comes again and again, or has its own."""
        is_worth = self._tasks >= self._enough and self._again < _MOST_AGAIN
        return not self.is_refused and (self.code.is_asked or is_worth)

    @property
    def is_in_use(self) -> bool:
        """Whether programs are shared, and were asked for not long ago."""
        return self.is_to_share and _RUNS[0] - self._run <= _RECENT


class LookedApart:
    """What the programs of a kind depend on: its signature alone, as all else comes as data (see `Looked`)."""

    def __init__(self, kind: Kind) -> None:
        """Take the kind."""
        self.signature: Signature | None = kind.signature

    @cached_property
    def kept(self) -> Any:
        """What they keep: nothing, as code that can be read through does."""
        return self

    seen: dict[str, Any] = {}  # noqa: RUF012  # nobody writes into it
    is_cut = False


def kind_of(apart: Apart, task: Any, *, goes_on: bool = False) -> Kind | None:
    """Return the kind of a task that was taken apart, a new one where there is none yet; None where it cannot be.

    `goes_on`: this is the next window of a run, and not the next run of the task.
    """
    if apart.code is None:
        return None
    with _LOCK:
        code = _latest(_CODES, lambda one: one.code == apart.code) or Code(apart)
        if code.see(apart):
            _KINDS[:] = [one for one in _KINDS if one.code is not code]  # they are of fewer data
        _put(_CODES, code)
        apart.settle(code.varies)
        if apart.signature is None:
            return None
        kind = _latest(_KINDS, lambda one: one.signature == apart.signature)
        kind = kind or Kind(apart, code, min(2 + _GONE[0], _LATEST))
        _RUNS[0] += 1
        _GONE[0] += sum(one.is_in_use for one in _put(_KINDS, kind))
        kind.see(task, goes_on=goes_on)
        return kind


def _latest(known: list[_One], fits: Callable[[_One], bool]) -> _One | None:
    return next(filter(fits, reversed(known)), None)


def _put(known: list[_One], one: _One) -> list[_One]:
    """Make one the latest; return those that had to go."""
    if one in known:
        known.remove(one)
    known.append(one)
    gone = known[:-_MOST_KINDS]
    del known[:-_MOST_KINDS]
    return gone
