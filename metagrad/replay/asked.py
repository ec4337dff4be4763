"""Whether steps are to be replayed: a first stage, for those who ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ASKED: ContextVar[bool] = ContextVar("replay", default=False)


@contextmanager
def replayed(asked: bool = True) -> Iterator[None]:
    """Let reverse mode replay recorded steps of a user's own loss and rule, for as long as the block lasts.

    The numbers are the tape's, bit by bit, for code that is a function of its arguments; see docs/replay.md for what
    is looked at, and what is not.

    >>> import metagrad as mg
    >>> import numpy as np
    >>> task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), w0=np.ones((2, 3)))
    >>> with replayed():
    ...     found = mg.meta_gradient(task, mg.GradientDescent(), mg.WeightedSum(), 0.01, steps=50)
    >>> "were replayed" in found.report()
    True
    """
    token = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(token)


def is_asked() -> bool:
    """Whether steps are to be replayed now."""
    return _ASKED.get()
