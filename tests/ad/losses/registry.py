"""The register of losses: name, function, where to differentiate it, and what is expected of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

RIGHT = "right"


class Loss(NamedTuple):
    """A loss w -> a number, or one number for each task."""

    function: Callable[[Any], Any]
    w0: Any
    expected: str  # RIGHT, or what the message of the refusal must match


LOSSES: dict[str, Loss] = {}


def loss(w0: Any, expected: str = RIGHT) -> Callable[[Any], Any]:
    """Register a function under its name; `w0` is where it is smooth."""

    def keep(function: Any) -> Any:
        known = LOSSES.get(function.__name__)  # a file may be imported twice, under two names
        assert known is None or known.function.__code__.co_filename == function.__code__.co_filename, function.__name__
        LOSSES[function.__name__] = Loss(function, w0, expected)
        return function

    return keep
