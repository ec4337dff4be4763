"""Pass: the order of the calls. What guards need comes first: a step that takes another branch costs nothing."""

from __future__ import annotations

from metagrad.replay.dead import needed
from metagrad.replay.program import Value


def scheduled(values: list[Value], guards: list[Value]) -> list[Value]:
    """Return the values with those that guards need in front; else in the order in which they were recorded."""
    first = {v.number for v in needed(values, guards)}
    return [v for v in values if v.number in first] + [v for v in values if v.number not in first]
