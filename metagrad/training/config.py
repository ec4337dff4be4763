"""Configs: a TOML file, or the same as nested dicts, made into a meta-training run.

    seed = 0
    dtype = "float32"
    [task]          kind = "regressions", and what that kind takes
    [optimizer]     kind = "lstm", ...
    [objective]     kind = "sum", ...
    [outer]         kind = "adam", eta = 0.001, ...
    [training]      the fields of `Recipe`

`known_keys` lists all of them. An unknown key is a ValueError that names the nearest known one, a value of another type
a TypeError. A kind "my_module:make" is a function of the user's own.
"""

from __future__ import annotations

import json
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import checks, parts
from metagrad.errors import bad_value, nearest
from metagrad.files import nearest_file
from metagrad.protocols import Rule, Tree
from metagrad.training import own
from metagrad.training.builders import KINDS
from metagrad.training.recipe import Recipe
from metagrad.training.trainer import Trainer
from metagrad.training.values import Config, arguments, check_known, check_table, listed
from metagrad.xp import rng

_DTYPES = ["float32", "float64"]
_SECTIONS = ["seed", "dtype", "task", "optimizer", "objective", "outer", "training"]
_OWN = """\
A kind may also be "module:function", of a Python file beside the config, in the working folder, or installed: \
it is imported, and the function is called with the other keys of its section, by name. It returns
  [task]       a function of one argument, an integer seed, that returns a task; the same task for the same seed
  [optimizer]  an update rule that has init_meta(rng, dtype), its meta-parameters at the start, or (rule, phi)
  [objective]  an objective
  [outer]      (rule, phi)
as metagrad.protocols describes them. A parameter `dtype` of the function is no key: it gets the dtype of the config."""


@dataclass(frozen=True)
class Setup:
    """A run that is ready to start: the trainer, the random initial meta-parameters, and the config it came from."""

    trainer: Trainer
    phi: Tree
    config: Config


def read_config(path: str | Path) -> Config:
    """Return the config of a TOML file; ValueError, naming the file, where it is not TOML."""
    path = checks.file_path("config", "path", path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        bad_value(
            "config", "path", f"{path}, which does not exist", "a TOML file", nearest_file(path, "*.toml", "configs")
        )
    except IsADirectoryError:
        bad_value("config", "path", f"{path}, which is a folder", "a TOML file", "Give the file in it.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        bad_value("config", "path", f"{path}, which is not TOML ({error})", "a TOML file")


def setup(config: Config, folder: str | Path | None = None) -> Setup:
    """Return the run that a config describes.

    `folder`: where the modules of kinds such as "my_module:make" are looked for first, then in the working folder, then
    where Python looks for any; that of the file of the config, as a rule. Importing runs their code, so by default
    nothing is imported, and a config that has such kinds is a ValueError: it may have come with a file of weights.
    """
    check_table("config", config)
    check_known("config", config, _SECTIONS)
    if folder is not None:
        checks.file_path("setup", "folder", folder)
    seed, dtype = checks.count("config", "seed", config.get("seed", 0), 0), dtype_of(config)

    def built(section: str, default: Config) -> Any:
        return _build(section, config.get(section, default), dtype, seed, folder)

    optimizer, phi = built("optimizer", {})
    outer, outer_phi = built("outer", {"kind": "adam"})
    trainer = Trainer(
        optimizer,
        built("task", {}),
        built("objective", {"kind": "sum"}),
        Recipe(**arguments("[training]", Recipe, config.get("training", {}), dtype)),
        outer,
        outer_phi,
        seed=seed,
    )
    return Setup(trainer, phi, config)


def dtype_of(config: Config) -> Any:
    """Return the dtype of a config."""
    name = config.get("dtype", "float32")
    checks.choice("config", "dtype", name, _DTYPES)
    return np.dtype(name)


def optimizer_of(config: Config) -> tuple[Rule, Tree]:
    """Return the optimizer of a config, one that comes with metagrad, and meta-parameters of the shapes of its own.

    However large it is said to be, these take no memory: the config may have come with a file.
    """
    dtype = dtype_of(config)
    rule: Rule = _made("optimizer", config.get("optimizer", {}), dtype)
    return rule, parts.meta_like(rule, dtype)


def canonical(config: Config) -> str:
    """Return the config as one line of JSON, the same for the same content."""
    return json.dumps(config, sort_keys=True)


def _build(section: str, values: Any, dtype: Any, seed: int, folder: str | Path | None) -> Any:
    """Return what a section names; for the optimizer with its meta-parameters at the start."""
    check_table(f"[{section}]", values)
    if own.is_own(values.get("kind")):
        others = {key: value for key, value in values.items() if key != "kind"}
        return own.find(section, values["kind"], folder).make(others, dtype, seed)
    made = _made(section, values, dtype)
    return (made, made.init_meta(rng(seed, "init_meta"), dtype)) if section == "optimizer" else made


def _made(section: str, values: Any, dtype: Any) -> Any:
    """Return what a section makes of a kind that comes with metagrad."""
    check_table(f"[{section}]", values)
    known, kind = KINDS[section], values.get("kind")
    if not isinstance(kind, str) or kind not in known:
        remedy = f"{nearest(str(kind), list(known))} Or 'module:function', one of your own."
        bad_value("config", f"[{section}] kind", repr(kind), "a known kind", remedy)
    others = {key: value for key, value in values.items() if key != "kind"}
    return known[kind](**arguments(f"[{section}]", known[kind], others, dtype))


def known_keys(width: int = 100) -> str:
    """Return a list, for people, of every section, kind and key of a config, with the defaults, in lines of a width."""
    lines = [f"seed = 0, dtype = {json.dumps(_DTYPES[0])} ({' or '.join(map(repr, _DTYPES))})"]
    for section, kinds in KINDS.items():
        lines.append(f"[{section}]")
        lines += [listed(f'kind = "{kind}"', builder, width) for kind, builder in kinds.items()]
    own_kinds = [
        textwrap.fill(line, width, subsequent_indent=" " * 15 * line.startswith(" "), break_on_hyphens=False)
        for line in _OWN.splitlines()
    ]
    return "\n".join([*lines, "[training]", listed("", Recipe, width), "", *own_kinds])
