"""Whether gradients that are taken now are held constant: stop-gradient for code that differentiates by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_HELD: ContextVar[bool] = ContextVar("held", default=False)


@contextmanager
def gradients_held(held: bool = True) -> Iterator[None]:
    """Let what `grad` and `value_and_grad` return be constants, for as long as the block lasts; False ends it."""
    token = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(token)


def are_gradients_held() -> bool:
    """Whether the gradients that are taken now are constants."""
    return _HELD.get()
