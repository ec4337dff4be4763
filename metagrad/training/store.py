"""Where a meta-training run stands, on disk: one npz file, replaced atomically, and a line of JSON an episode."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value
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


def write_npz(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write arrays and a JSON description in one step, with a checksum of all of them."""
    arrays = arrays | {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    with _replacing(path) as file:
        np.savez(file, digest=_digest(arrays), **arrays)  # type: ignore[arg-type]  # numpy's stub lacks the arrays


def read_npz(path: Path, where: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description; ValueError, naming the file, where it is damaged or of another kind."""
    try:
        arrays = _read(path.read_bytes())
        digest = arrays.pop("digest", None)  # the first files had none
        if digest is not None and not np.array_equal(digest, _digest(arrays)):
            raise ValueError("its content does not match its checksum")
        about = json.loads(bytes(arrays.pop("about")))
        if about["format"] != 1:
            raise ValueError(f"format {about['format']}")
    except FileNotFoundError:
        bad_value(where, "checkpoint", f"{path}, which does not exist", "a file", "Look at the path.")
    except Exception as error:  # a damaged archive provokes anything, up to "encrypted" and "unknown compression"
        bad_value(where, "checkpoint", f"{path}, which cannot be read ({error})", "a checkpoint", _REMEDY)
    return arrays, about


def _read(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file; nothing is unpickled, and nothing unpacked to more than it is."""
    if not content.startswith(b"PK"):
        raise ValueError("it is no npz archive")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        if sum(member.file_size for member in file.zip.infolist()) > len(content):
            raise ValueError("it is compressed, as no file of this project is")
        return {name: file[name] for name in file.files}


def _digest(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the SHA-256 of names, types, shapes and entries."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(sha.digest(), dtype=np.uint8)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write; in the end it takes the place of the one at `path`, which stays where anything fails."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with _naming(path):
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error of writing say which file it was: that of a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def alone(path: Path | None) -> Iterator[None]:
    """Hold `path` for this run: ValueError while another process has it. What a killed one left beside it goes."""
    if path is None:
        yield
        return
    if not path.parent.is_dir():
        bad_value(_WHERE, "checkpoint", path, "a file in a folder that exists", "Make the folder first.")
    with path.with_name(f".{path.name}.lock").open("wb") as file:
        _lock(file, path)
        for left in path.parent.glob(f"{path.name}.*.part"):
            left.unlink(missing_ok=True)
        yield


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given up when the process ends, however it does
    except BlockingIOError:
        remedy = "Wait for the other run, or give another file."
        bad_value(_WHERE, "checkpoint", f"{path}, which another run is writing", "one run a file at a time", remedy)
    except OSError:  # a file system without locks
        return


def append(path: Path | None, row: dict[str, Any]) -> None:
    """Add one line of JSON; inf and NaN, which JSON lacks, as the texts "inf", "-inf" and "nan"."""
    if path is not None:
        with _naming(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_spelled(row), allow_nan=False) + "\n")


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _spelled(x) for name, x in value.items()}
    if isinstance(value, list):
        return [_spelled(x) for x in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def cut(path: Path | None, rows: int) -> None:
    """Keep the first `rows` lines: those that belong to the position that the run goes on from."""
    if path is None:
        return
    lines = path.read_bytes().splitlines(keepends=True)[:rows] if path.exists() else []
    with _replacing(path) as file:
        file.write(b"".join(lines))
