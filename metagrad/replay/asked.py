"""Whether steps are replayed: unless somebody asks for the tape alone. And when programs are compiled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

from metagrad import checks

When = Literal["when it pays", "at once", "never"]
_ASKED: ContextVar[bool] = ContextVar("replay", default=True)
_COMPILED: ContextVar[When] = ContextVar("compiled", default="when it pays")


@contextmanager
def replayed(asked: bool = True, *, compiled: When = "when it pays") -> Iterator[None]:
    """Let reverse mode replay recorded steps of a user's own loss and rule, or not, for as long as the block lasts.

    The numbers are the tape's, bit by bit, for code that is a function of its arguments; see docs/replay.md for what
    is looked at, and what is not. `compiled`: when the cheap calls of a program are compiled, with Numba (the extra
    `fast`): once its runs have taken as long as compiling does, or "at once", or "never". The bits are the same.

    >>> import metagrad as mg
    >>> import numpy as np
    >>> task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), w0=np.ones((2, 3)))
    >>> found = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.01, steps=50)
    >>> found.replay
    '95 of 100 steps, forwards and backwards, were replayed.'
    >>> with replayed(False):
    ...     again = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.01, steps=50)
    >>> again.replay is None, bool((again.value == found.value).all())
    (True, True)
    """
    checks.flag("replayed", "asked", asked)
    checks.choice("replayed", "compiled", compiled, get_args(When))
    token, other = _ASKED.set(asked), _COMPILED.set(compiled)
    try:
        yield
    finally:
        _ASKED.reset(token)
        _COMPILED.reset(other)


@contextmanager
def by_numpy() -> Iterator[None]:
    """Let programs be NumPy's for as long as the block lasts: what is compared once is not worth compiling."""
    token = _COMPILED.set("never")
    try:
        yield
    finally:
        _COMPILED.reset(token)


def is_asked() -> bool:
    """Whether steps are to be replayed now."""
    return _ASKED.get()


def when_compiled() -> When:
    """Return when programs are compiled."""
    return _COMPILED.get()
