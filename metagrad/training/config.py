"""Configs: a TOML file, or the same as nested dicts, made into a meta-training run.

    seed = 0
    dtype = "float32"
    [task]          kind = "regressions", and what that kind takes
    [optimizer]     kind = "lstm", ...
    [objective]     kind = "sum", ...
    [outer]         kind = "adam", eta = 0.001, ...
    [training]      the fields of `Recipe`

`known_keys` lists all of them. An unknown key is a ValueError that names the nearest known one, a value of another type
a TypeError.
"""

from __future__ import annotations

import inspect
import json
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from metagrad.errors import bad_type, bad_value, nearest
from metagrad.protocols import Rule, Tree
from metagrad.training.builders import KINDS
from metagrad.training.recipe import Recipe
from metagrad.training.trainer import Trainer
from metagrad.xp import rng

_DTYPES = ["float32", "float64"]
_SECTIONS = ["seed", "dtype", "task", "optimizer", "objective", "outer", "training"]
Config = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """A run that is ready to start: the trainer, the random initial meta-parameters, and the config it came from."""

    trainer: Trainer
    phi: Tree
    config: Config


def read_config(path: str | Path) -> Config:
    """Return the config of a TOML file; ValueError, naming the file, where it is not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        bad_value("config", "path", f"{path}, which does not exist", "a TOML file", "Look at the path.")
    except IsADirectoryError:
        bad_value("config", "path", f"{path}, which is a folder", "a TOML file", "Give the file in it.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        bad_value("config", "path", f"{path}, which is not TOML ({error})", "a TOML file")


def setup(config: Config) -> Setup:
    """Return the run that a config describes."""
    _check_table("config", config)
    _known_keys("config", config, _SECTIONS)
    seed, dtype = config.get("seed", 0), dtype_of(config)
    if isinstance(seed, bool) or not isinstance(seed, int):
        bad_type("config", "seed", f"{seed!r}, a {type(seed).__name__}", "an integer")
    if seed < 0:
        bad_value("config", "seed", seed, "an integer of at least 0")
    optimizer = build_optimizer(config)
    outer, outer_phi = _build("outer", config.get("outer", {"kind": "adam"}))
    trainer = Trainer(
        optimizer,
        _build("task", config.get("task", {}), dtype),
        _build("objective", config.get("objective", {"kind": "sum"})),
        _call("[training]", Recipe, config.get("training", {})),
        outer,
        outer_phi,
        seed=seed,
    )
    return Setup(trainer, initial_phi(optimizer, seed, dtype), config)


def dtype_of(config: Config) -> Any:
    """Return the dtype of a config."""
    name = config.get("dtype", "float32")
    if name not in _DTYPES:
        bad_value("config", "dtype", repr(name), "a known dtype", nearest(str(name), _DTYPES))
    return np.dtype(name)


def build_optimizer(config: Config) -> Rule:
    """Return the optimizer of a config."""
    rule: Rule = _build("optimizer", config.get("optimizer", {}))
    return rule


def initial_phi(optimizer: Any, seed: int, dtype: Any) -> Tree:
    """Return the random initial meta-parameters that belong to a seed."""
    return optimizer.init_meta(rng(seed, "init_meta"), np.dtype(dtype))


def canonical(config: Config) -> str:
    """Return the config as one line of JSON, the same for the same content."""
    return json.dumps(config, sort_keys=True)


def _build(section: str, values: Any, *first: Any) -> Any:
    _check_table(f"[{section}]", values)
    known = KINDS[section]
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in known:
        bad_value("config", f"[{section}] kind", repr(kind), "a known kind", nearest(str(kind), list(known)))
    return _call(f"[{section}]", known[kind], {k: v for k, v in values.items() if k != "kind"}, *first)


def _call(where: str, builder: Any, values: Config, *first: Any) -> Any:
    """Call `builder` with the values, after a look at their names and types."""
    _check_table(where, values)
    parameters = _parameters(builder, len(first))
    _known_keys(where, values, [p.name for p in parameters])
    missing = [p.name for p in parameters if p.default is inspect.Parameter.empty and p.name not in values]
    if missing:
        bad_value("config", f"{where} {missing[0]}", "missing", "a value", "It has no default.")
    hints = _hints(builder)
    return builder(*first, **{name: _value(f"{where} {name}", value, hints[name]) for name, value in values.items()})


def _parameters(builder: Any, first: int) -> list[inspect.Parameter]:
    """Return the parameters that a config can give: all but the `first` ones."""
    return list(inspect.signature(builder).parameters.values())[first:]


def _hints(builder: Any) -> dict[str, Any]:
    return get_type_hints(builder if inspect.isfunction(builder) else builder.__init__)


def known_keys() -> str:
    """Return a list, for people, of every section, kind and key of a config, with the defaults."""
    lines = [f"seed = 0, dtype = {json.dumps(_DTYPES[0])} ({' or '.join(map(repr, _DTYPES))})"]
    for section, kinds in KINDS.items():
        lines.append(f"[{section}]")
        first = 1 if section == "task" else 0  # the dtype of the config
        lines += [_listed(f'kind = "{kind}"', builder, first) for kind, builder in kinds.items()]
    return "\n".join([*lines, "[training]", _listed("", Recipe)])


def _listed(kind: str, builder: Any, first: int = 0) -> str:
    hints = _hints(builder)
    keys = [_described(p, hints[p.name]) for p in _parameters(builder, first)]
    text = ", ".join(key.replace(" ", "\0") for key in ([kind, *keys] if kind else keys))  # lines end between keys
    return textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="    ").replace("\0", " ")


def _described(key: inspect.Parameter, hint: Any) -> str:
    if key.default is inspect.Parameter.empty:
        return f"{key.name} (needed: {_noun(hint)})"
    if key.default in (None, ()):
        return f"{key.name} (none, or {_noun(hint)})"
    choices = f" ({_noun(hint)})" if get_origin(hint) in (Literal, Union, UnionType) else ""
    return f"{key.name} = {json.dumps(key.default)}{choices}"


def _check_table(name: str, values: Any) -> None:
    if not isinstance(values, dict):
        bad_type("config", name, f"{values!r}, a {type(values).__name__}", "a table")


def _known_keys(where: str, values: Config, known: list[str]) -> None:
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
    elif _fits(value, kind):
        return float(value) if kind is float else value
    return bad_type("config", name, f"{value!r}, a {type(value).__name__}", _noun(kind))


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is NoneType:
        return value is None
    if isinstance(value, bool):
        return kind is bool
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple)
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
