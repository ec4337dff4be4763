"""Kinds of tasks that come new at every call: their programs are kept by the signature of their code (`apart`)."""

from __future__ import annotations

import weakref
from functools import cached_property
from threading import Lock
from typing import Any

from metagrad.replay.apart import Apart
from metagrad.replay.closed import Signature

_MOST_KINDS = 16
_LOCK = Lock()
_KINDS: list[Kind] = []  # what was asked for last is the last


class Kind:
    """Tasks of one code, with rules and measures of one code."""

    def __init__(self, apart: Apart) -> None:
        """Take the signature, and hold what it tells by its place in memory."""
        self.signature, self._named = apart.signature, apart.named
        self.is_refused = False  # its programs cannot be shared
        self.has_several = False  # tasks that have been seen
        self._first: Any = None

    def see(self, task: Any) -> None:
        """Note a task of this kind."""
        if self._first is None:
            try:
                self._first = weakref.ref(task)
            except TypeError:  # it cannot be held weakly, and no programs are kept for it
                self.is_refused = True
        elif self._first() is not task:
            self.has_several = True


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
            kind = Kind(apart)
        else:
            _KINDS.remove(kind)
        _KINDS.append(kind)
        del _KINDS[:-_MOST_KINDS]
        kind.see(task)
        return kind
