"""Where a meta-training run stands, on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value
from metagrad.files import read_npz, write_npz
from metagrad.protocols import Tree
from metagrad.xp import to_host

_WHERE = "Trainer.run"
_REMEDY = "Remove the file to start anew, or give another one."
_TREES = ("phi", "outer", "best")
_COUNTERS = ("episode", "since", "nonfinite")


@dataclass(frozen=True)
class Position:
    """Meta-parameters, state of the outer optimizer, the best so far, and counters."""

    phi: Tree
    outer: Tree
    best: Tree
    best_value: float = math.inf
    episode: int = 0
    since: int = 0
    nonfinite: int = 0


def save_position(path: Path, position: Position, key: str, config: dict[str, Any] | None) -> None:
    """Write the position, and the config that describes the run, if any; the old file stays until all is written."""
    arrays = {
        f"{name}_{k}": np.asarray(to_host(leaf))
        for name in _TREES
        for k, leaf in enumerate(ad.leaves(getattr(position, name)))
    }
    about = {"format": 1, "run": key, "best_value": position.best_value}
    about |= {} if config is None else {"config": config}
    about |= {name: getattr(position, name) for name in _COUNTERS}
    write_npz(path, arrays, about)


def load_position(path: Path, template: Position, key: str) -> Position:
    """Return the position of this very run, in the trees of `template`; ValueError on anything else."""
    arrays, about = read_npz(path, _WHERE)
    if about.get("run") != key:
        bad_value(_WHERE, "checkpoint", f"{path}, of another run", "one of this optimizer, tasks and recipe", _REMEDY)
    try:
        trees = {name: _tree(arrays, name, getattr(template, name)) for name in _TREES}
        if arrays:
            raise ValueError(f"{', '.join(arrays)} does not belong to it")
        for name in _COUNTERS:
            if type(about[name]) is not int or about[name] < 0:
                raise ValueError(f"{name} is {about[name]!r}")
        if type(about["best_value"]) is not float:
            raise ValueError(f"best_value is {about['best_value']!r}")
    except (KeyError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        bad_value(_WHERE, "checkpoint", f"{path}, which was edited ({what})", "a checkpoint as it was written", _REMEDY)
    counters = {name: about[name] for name in (*_COUNTERS, "best_value")}
    return replace(template, **trees, **counters)


def _tree(arrays: dict[str, np.ndarray], name: str, template: Tree) -> Tree:
    """Take the tree from the arrays, each leaf of the kind (array, Python number) and on the device of the template's.

    KeyError where one is missing, ValueError where one is of another kind or not finite.
    """
    leaves: list[Any] = []
    for k, leaf in enumerate(ad.leaves(template)):
        saved, like = arrays.pop(f"{name}_{k}"), np.asarray(to_host(leaf))
        if (saved.shape, saved.dtype) != (like.shape, like.dtype):
            raise ValueError(f"{name}_{k} is {saved.dtype}{saved.shape} in place of {like.dtype}{like.shape}")
        if not np.isfinite(saved).all():
            raise ValueError(f"{name}_{k} is not finite everywhere")
        if isinstance(leaf, int | float) and not hasattr(leaf, "dtype"):
            leaves.append(type(leaf)(saved.item()))
        else:
            leaves.append(saved if isinstance(leaf, np.ndarray | np.generic) else type(leaf)(saved))
    return ad.unflatten(template, leaves)
