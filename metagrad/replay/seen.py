"""Whether programs on a device saw a NaN where the tape would look for one: asked once, when a run is over.

To ask is to wait until the device has done all that was sent to it. So the largest of all entries that are looked at
stays there, NaN where one of them was NaN. Outside of such a run every program asks at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from metagrad.replay.program import NotReplayable
from metagrad.xp import Array, to_host


class NanSeen(NotReplayable):
    """A run by programs is not to be had, as there was a NaN; others are."""


class _Seen:
    """The largest entry so far. `is_still`: nothing that programs are given is written into before the run is over."""

    def __init__(self, *, is_still: bool) -> None:
        self.top: Array | None = None
        self.is_still = is_still

    def note(self, top: Array) -> None:
        """Note the largest entry of a program."""
        self.top = top if self.top is None else np.maximum(self.top, top)


_SEEN: ContextVar[_Seen | None] = ContextVar("seen", default=None)


def may_go_on(top: Array | None) -> bool:
    """Whether a program applies, as far as is known: `top` is the largest entry that it looked at, None for none."""
    if top is None:
        return True
    seen = _SEEN.get()
    if seen is None:
        return not _is_nan(top)
    seen.note(top)
    return True


def still_run() -> Any:
    """Return what tells the run from others, where an array that is given twice is the same both times; else None."""
    seen = _SEEN.get()
    return seen if seen is not None and seen.is_still else None


@contextmanager
def asked_at_the_end(*, is_still: bool = False) -> Iterator[None]:
    """Let nobody ask before the block ends; NotReplayable then, where there was a NaN.

    `is_still`: no array that is given to programs in it is written into afterwards, as samplers might.
    """
    seen = _Seen(is_still=is_still)
    token = _SEEN.set(seen)
    try:
        yield
    finally:
        _SEEN.reset(token)
    if seen.top is not None and _is_nan(seen.top):
        raise NanSeen("there is a NaN where the tape looks for one")


def _is_nan(top: Array) -> bool:
    return bool(np.isnan(to_host(top)))
