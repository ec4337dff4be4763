"""The values in a section of a config, checked against the signature of the function that takes them."""

from __future__ import annotations

import inspect
import json
import textwrap
from contextlib import suppress
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from metagrad.errors import bad_type, bad_value, nearest

Config = dict[str, Any]
_SCALARS = (int, float, str, bool, NoneType)


def arguments(where: str, builder: Any, values: Any, dtype: Any) -> Config:
    """Return what `builder` is called with: the values of the section `where`, after a look at names and types.

    A parameter `dtype` is no key of the section: it gets the dtype of the config. A value is passed on as it is where
    the builder states no kind, or one that TOML lacks.
    """
    check_table(where, values)
    parameters = _parameters(builder)
    keys = [p for p in parameters if p.name != "dtype"]
    if not any(p.kind is p.VAR_KEYWORD for p in keys):
        check_known(where, values, [p.name for p in keys])
    missing = [p.name for p in keys if _is_needed(p) and p.name not in values]
    if missing:
        bad_value("config", f"{where} {missing[0]}", "missing", "a value", "It has no default.")
    hints = _hints(builder)
    found = {name: _value(f"{where} {name}", value, hints.get(name, Any)) for name, value in values.items()}
    return found if len(keys) == len(parameters) else found | {"dtype": dtype}


def _parameters(builder: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(builder).parameters.values())


def _is_needed(key: inspect.Parameter) -> bool:
    return key.default is inspect.Parameter.empty and key.kind not in (key.VAR_KEYWORD, key.VAR_POSITIONAL)


def _hints(builder: Any) -> dict[str, Any]:
    """Return the kinds that a builder states, but for those that name what is not there at run time."""
    function = builder if inspect.isroutine(builder) else builder.__init__
    found: dict[str, Any] = {}
    for name, stated in getattr(function, "__annotations__", {}).items():
        with suppress(NameError, AttributeError, TypeError):
            one: Any = SimpleNamespace(__annotations__={name: stated})
            found |= get_type_hints(one, getattr(function, "__globals__", {}))
    return found


def listed(kind: str, builder: Any, width: int = 100) -> str:
    """Return lines for people: the kind, and the keys of its builder with their defaults."""
    hints = _hints(builder)
    keys = [
        *([kind] if kind else []),
        *(_described(p, hints[p.name]) for p in _parameters(builder) if p.name != "dtype"),
    ]
    whole = [key.replace(" ", "\0") if len(key) < width - 4 else key for key in keys]  # lines end between keys
    text = textwrap.fill(", ".join(whole), width, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    return text.replace("\0", " ")


def _described(key: inspect.Parameter, hint: Any) -> str:
    if key.default is inspect.Parameter.empty:
        return f"{key.name} (needed: {_noun(hint)})"
    if key.default in (None, ()):
        return f"{key.name} (none, or {_noun(hint)})"
    choices = f" ({_noun(hint)})" if get_origin(hint) in (Literal, Union, UnionType) else ""
    return f"{key.name} = {json.dumps(key.default)}{choices}"


def check_table(name: str, values: Any) -> None:
    """Raise TypeError unless a section is a table."""
    if not isinstance(values, dict):
        bad_type("config", name, f"{values!r}, a {type(values).__name__}", "a table")


def check_known(where: str, values: Config, known: list[str]) -> None:
    """Raise ValueError, with the nearest known one, for a key that is not known."""
    for key in values:
        if key not in known:
            expected = "a known key" if where == "config" else f"a key of {where}"
            bad_value("config", "a key", repr(key), expected, nearest(key, known))


def _value(name: str, value: Any, kind: Any) -> Any:
    """Return the value as `kind`, lists becoming tuples and integers floats; TypeError where it is of another kind."""
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for option in options:
            if _fits(value, option):
                return _value(name, value, option)
    elif origin is Literal:
        if value not in options:
            bad_value("config", name, repr(value), "a known choice", nearest(str(value), [str(o) for o in options]))
        return value
    elif origin is tuple and isinstance(value, list | tuple):
        inner = [options[0]] * len(value) if options[-1] is ... else list(options)
        if len(inner) == len(value):
            return tuple(_value(name, x, k) for x, k in zip(value, inner, strict=True))
    elif kind not in _SCALARS and origin is not tuple:
        return value
    elif _fits(value, kind):
        return _as_float(name, value) if kind is float else value
    return bad_type("config", name, f"{value!r}, a {type(value).__name__}", _noun(kind))


def _as_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return bad_value("config", name, f"an integer of {value.bit_length()} bits", "a number that fits a float")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is NoneType:
        return value is None
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple)
    if kind not in _SCALARS:
        return True
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _noun(kind: Any) -> str:
    """Say what a value of this kind is in a config."""
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType, Literal):
        return " or ".join(_noun(option) for option in options if option is not NoneType)
    if origin is tuple:
        inner = ", ".join(_noun(option) for option in options if option is not ...)
        return f"a list, each {inner}" if options[-1] is ... else f"a list [{inner}]"
    return {int: "an integer", float: "a number", str: "a text", bool: "true or false"}.get(kind, repr(kind))
