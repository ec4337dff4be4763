"""Where a meta-training run stands, on disk: one npz file, replaced atomically, and a line of JSON an episode."""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value
from metagrad.protocols import Tree
from metagrad.xp import to_host

_WHERE = "Trainer.run"
_REMEDY = "Remove the file to start anew, or give another one."
_COUNTERS = ("episode", "rows", "since", "nonfinite", "stopped")


@dataclass(frozen=True)
class Position:
    """Meta-parameters, state of the outer optimizer, the best so far, and counters."""

    phi: Tree
    outer: Tree
    best: Tree
    best_value: float = math.inf
    episode: int = 0
    rows: int = 0
    since: int = 0
    nonfinite: int = 0
    stopped: bool = False


def save_position(path: Path, position: Position, key: str, config: dict[str, Any] | None) -> None:
    """Write the position, and the config that describes the run, if any; the old file stays until all is written."""
    arrays = {
        f"{name}_{k}": np.asarray(to_host(leaf))
        for name in ("phi", "outer", "best")
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
    trees = {name: _tree(arrays, name, getattr(template, name)) for name in ("phi", "outer", "best")}
    counters = {name: about[name] for name in (*_COUNTERS, "best_value")}
    return replace(template, **trees, **counters)


def _tree(arrays: dict[str, np.ndarray], name: str, template: Tree) -> Tree:
    """Return the tree, each leaf of the kind (array, Python number) and on the device of the template's."""
    leaves: list[Any] = []
    for k, leaf in enumerate(ad.leaves(template)):
        saved = arrays[f"{name}_{k}"]
        if isinstance(leaf, int | float) and not hasattr(leaf, "dtype"):
            leaves.append(type(leaf)(saved.item()))
        else:
            leaves.append(saved if isinstance(leaf, np.ndarray | np.generic) else type(leaf)(saved))
    return ad.unflatten(template, leaves)


def write_npz(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write arrays and a JSON description in one step."""
    text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, about=text, **arrays)  # type: ignore[arg-type]  # numpy's stub takes no keywords of arrays
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_npz(path: Path, where: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description; ValueError, naming the file, where it is damaged or of another kind."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(bytes(arrays.pop("about")))
        if about["format"] != 1:
            raise ValueError(f"format {about['format']}")
    except FileNotFoundError:
        bad_value(where, "checkpoint", f"{path}, which does not exist", "a file", "Look at the path.")
    except Exception as error:  # a damaged archive provokes anything, up to "encrypted" and "unknown compression"
        bad_value(where, "checkpoint", f"{path}, which cannot be read ({error})", "a checkpoint", _REMEDY)
    return arrays, about


def append(path: Path | None, row: dict[str, Any]) -> None:
    """Add one line of JSON."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def cut(path: Path | None, rows: int) -> None:
    """Keep the first `rows` lines: those that belong to the position that the run goes on from."""
    if path is None:
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:rows] if path.exists() else []
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(path)
