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
from metagrad.fingerprint import differing_parts, refuse_other_run
from metagrad.protocols import Tree
from metagrad.xp import to_host

_WHERE = "Trainer.run"
_REMEDY = "Remove the file to start anew, or give another one."
_TREES = ("phi", "outer", "best")
_COUNTERS = ("episode", "since", "nonfinite")
FORMAT = 2  # 1 had one hash of the whole run in place of its parts
CHANGEABLE = (
    "outer_phi",
    "estimator",
    "recipe.horizon",
    "recipe.window",
    "recipe.curriculum",
    "recipe.outer_factors",
    "recipe.gradient",
    "recipe.clip_norm",
    "recipe.clip_value",
    "recipe.patience_nonfinite",
    "recipe.evaluate_every",
)


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


@dataclass(frozen=True)
class Run:
    """Whose position it is: its parts by name, what was changed on the way, and the config that it was made of."""

    parts: dict[str, dict[str, str]]
    config: dict[str, Any] | None = None
    changes: tuple[dict[str, Any], ...] = ()


def save_position(path: Path, position: Position, run: Run) -> None:
    """Write the position, and whose it is; the old file stays until all is written."""
    arrays = {
        f"{name}_{k}": np.asarray(to_host(leaf))
        for name in _TREES
        for k, leaf in enumerate(ad.leaves(getattr(position, name)))
    }
    about = {"format": FORMAT, "parts": run.parts, "changes": run.changes, "best_value": position.best_value}
    about |= {} if run.config is None else {"config": run.config}
    about |= {name: getattr(position, name) for name in _COUNTERS}
    write_npz(path, arrays, about)


def load_position(path: Path, template: Position, run: Run, changed: tuple[str, ...]) -> tuple[Position, Run]:
    """Return the position of this very run, in the trees of `template`, and the run with all changes up to now.

    ValueError on anything else: where a part differs that is not among those that were `changed`, it is named.
    """
    arrays, about = read_npz(path, _WHERE, formats=(FORMAT,))
    differing = differing_parts(about.get("parts"), run.parts)
    refuse_other_run(_WHERE, path, differing, changed, CHANGEABLE)
    try:
        trees = {name: _tree(arrays, name, getattr(template, name)) for name in _TREES}
        if arrays:
            raise ValueError(f"{', '.join(arrays)} does not belong to it")
        for name in _COUNTERS:
            if type(about[name]) is not int or about[name] < 0:
                raise ValueError(f"{name} is {about[name]!r}")
        if type(about["best_value"]) is not float:
            raise ValueError(f"best_value is {about['best_value']!r}")
        if not isinstance(about["changes"], list):
            raise ValueError(f"changes is {about['changes']!r}")
    except (KeyError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        bad_value(_WHERE, "checkpoint", f"{path}, which was edited ({what})", "a checkpoint as it was written", _REMEDY)
    counters = {name: about[name] for name in (*_COUNTERS, "best_value")}
    changes = (*about["changes"], *([{"after": about["episode"], "parts": differing}] if differing else ()))
    return replace(template, **trees, **counters), replace(run, changes=changes)


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
