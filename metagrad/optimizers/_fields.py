"""NamedTuples of meta-parameters that a wrapper makes of those of what it holds."""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any

from metagrad import parts


def named(title: str, fields: tuple[str, ...], defaults: tuple[float, ...] = ()) -> Any:
    """Return the NamedTuple of these fields: one class for one list of fields, in every process.

    `defaults` are those of the last fields.
    """
    return _named(title, fields, defaults)


@cache
def _named(title: str, fields: tuple[str, ...], defaults: tuple[float, ...]) -> Any:
    bare = namedtuple(title, fields, defaults=defaults)  # type: ignore[misc]
    known = (title, fields, defaults)
    return type(title, (bare,), {"__slots__": (), "__reduce__": lambda self: (_rebuilt, (known, *self))})


def _rebuilt(known: tuple[Any, ...], *values: Any) -> Any:
    return _named(*known)(*values)


def fields_of(rule: Any) -> tuple[str, ...]:
    """Return the names of the rule's meta-parameters; ("rule",) where they are no NamedTuple, but one whole."""
    return getattr(parts.named_phi(rule), "_fields", ("rule",))


def defaults_of(rule: Any) -> dict[str, Any]:
    """Return the rule's meta-parameters that have a value of their own."""
    return dict(getattr(parts.named_phi(rule), "_field_defaults", {}))


def as_of(rule: Any, values: tuple[Any, ...]) -> Any:
    """Return the values of `fields_of` as the meta-parameters that the rule takes."""
    return parts.named_phi(rule)(*values) if hasattr(parts.named_phi(rule), "_fields") else values[0]


def last_defaults(fields: tuple[str, ...], defaults: dict[str, Any]) -> tuple[float, ...]:
    """Return the defaults of the last fields, from the last one on that has none; those that are numbers."""
    found: list[float] = []
    for name in reversed(fields):
        if not isinstance(defaults.get(name), float):
            break
        found.append(defaults[name])
    return tuple(reversed(found))
