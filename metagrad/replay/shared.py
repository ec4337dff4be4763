"""Kinds of tasks that come new at every call: their programs are kept by the signature of their code (`apart`)."""

from __future__ import annotations

import weakref
from functools import cached_property
from threading import Lock
from typing import Any

from metagrad.replay.apart import Apart
from metagrad.replay.closed import Signature

_MOST_KINDS, _MOST_AGAIN = 16, 3
_LATEST = 64  # tasks, from which on programs are shared at the latest
_GONE = [0]  # how many kinds that shared programs had to go: where they come and go, later ones have to wait
_LOCK = Lock()
_KINDS: list[Kind] = []  # what was asked for last is the last


class Kind:
    """Tasks of one code, with rules and measures of one code."""

    def __init__(self, apart: Apart, enough: int) -> None:
        """Take the signature, and hold what it tells by its place in memory; so many tasks are `enough` to share."""
        self.signature, self._named, self._enough = apart.signature, apart.named, enough
        self.is_refused = False  # its programs cannot be shared
        self._tasks = 0  # that were seen, each as often as another one came before it
        self._last: Any = None
        self._again = 0

    def see(self, task: Any) -> None:
        """Note a task of this kind."""
        if self._last is not None and self._last() is task:
            self._again += 1
            return
        self._tasks, self._again = self._tasks + 1, 0
        try:
            self._last = weakref.ref(task)
        except TypeError:  # it cannot be held weakly, and no programs are kept for it
            self.is_refused = True

    @property
    def is_to_share(self) -> bool:
        """Whether programs are to be shared: by several tasks, of which none is asked for again and again."""
        return self._tasks >= self._enough and not self.is_refused and self._again < _MOST_AGAIN


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


def kind_of(apart: Apart, task: Any) -> Kind | None:
    """Return the kind of a task that was taken apart, a new one where there is none yet; None where it cannot be."""
    if apart.signature is None:
        return None
    with _LOCK:
        kind = next((one for one in reversed(_KINDS) if one.signature == apart.signature), None)
        if kind is None:
            kind = Kind(apart, min(2 + _GONE[0], _LATEST))
        else:
            _KINDS.remove(kind)
        _KINDS.append(kind)
        _GONE[0] += sum(one.is_to_share for one in _KINDS[:-_MOST_KINDS])
        del _KINDS[:-_MOST_KINDS]
        kind.see(task)
        return kind
