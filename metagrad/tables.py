"""Tables of JSON that may have been edited, or come from a stranger: bounded, and with a digest of every field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGESTS = "digests"
_LONGEST_VALUE = 60
_DEEPEST = 64  # of what this project writes nothing is nested deeper than a tree of meta-parameters


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return a description as JSON, with a digest of every field, so that an edit is found, and where it is."""
    plain = from_json(as_json(content))
    return json.dumps(plain | {_DIGESTS: {name: _digest(x) for name, x in plain.items()}}, indent=1).encode()


def unsealed(data: bytes, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the description that `sealed` made JSON of; `kinds`: the fields it must have, and of which kind each is.

    ValueError, which names the field, where one is missing, unknown, edited or of another kind.

    >>> unsealed(sealed({"seed": 3}).replace(b"3,", b"4,", 1), {"seed": int})
    Traceback (most recent call last):
    ValueError: seed was edited (it is 4)
    """
    found = from_json(data)
    digests = found.pop(_DIGESTS, None)
    if not isinstance(digests, dict):
        raise ValueError(f"{_DIGESTS} is missing: it was edited, or written by an older version")
    for name in dict.fromkeys((*kinds, *digests)):
        if name not in found:
            raise ValueError(f"{name} is missing")
    for name, value in found.items():
        if name not in digests:
            raise ValueError(f"{name} is unknown: it was added")
        if _digest(value) != digests[name]:
            raise ValueError(f"{name} was edited (it is {_short(value)})")
        kind = kinds.get(name, type(value))
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{name} is {_short(value)}, a {type(value).__name__}; expected a {kind.__name__}")
    return found


def as_json(content: Mapping[str, Any]) -> bytes:
    """Return a table as JSON that is read again here; TypeError or ValueError where there is none."""
    data = json.dumps(content).encode()
    from_json(data)
    return data


def from_json(data: bytes) -> dict[str, Any]:
    """Return a table of JSON; ValueError where it is none, has a field twice, or is nested without end."""
    try:
        found = json.loads(data, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"it is a {type(found).__name__} of JSON; expected a table")
    if _is_deep(found):
        raise ValueError(f"it is nested too deeply, more than {_DEEPEST} times")
    return found


def _is_deep(found: Any) -> bool:
    """Tell whether a value of JSON is nested deeper than what is written here; level by level, since it may be deep."""
    level = [found]
    for _ in range(_DEEPEST):
        inner = [x.values() if isinstance(x, dict) else x for x in level if isinstance(x, dict | list)]
        level = [x for values in inner for x in values]
    return bool(level)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
