"""Results on disk: arrays in npz, everything about them in a JSON sidecar, written atomically, never unpickled."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent

_PACKAGES = ("metagrad", "numpy", "scipy", "sympy", "matplotlib", "numba", "ml-dtypes", "scikit-learn")
_PACKAGES += ("cupy-cuda12x", "cupy-cuda13x")


class StoreError(Exception):
    """A result that cannot be read or written; the message says what to do."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: the old file stays until the new one is complete."""
    write_together({path: data})


def write_together(files: dict[Path, bytes]) -> None:
    """Write files that belong together: all old ones stay until all new ones are complete on the disk."""
    # plain files, not tempfile's, which nobody but their owner may read
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, data in files.items():
            with temporaries[path].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            temporary.replace(path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def to_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the arrays as an npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.asarray(array) for name, array in sorted(arrays.items())})
    return buffer.getvalue()


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def digest(data: bytes) -> str:
    """Return the sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def prepare_folder(path: Path) -> None:
    """Create the folder and prove that it can be written to; StoreError before any work is done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise StoreError(f"--out {path} cannot be written to ({error.strerror}); choose another folder.") from error


def key_of(config: Any, seed: int, device: str, sources: Iterable[Path]) -> str:
    """Return the hash of everything a result depends on: config, seed, device, and the source that computes it."""
    hasher = hashlib.sha256()
    hasher.update(json.dumps([dataclasses.asdict(config), seed, device, np.__version__], sort_keys=True).encode())
    for path in sorted(sources):
        data = path.read_bytes()
        hasher.update(f"{path.name} {len(data)} ".encode() + data)
    return hasher.hexdigest()[:32]


def sources_of(source: Path) -> list[Path]:
    """Return the files a result depends on: the experiment's own `source`, and what experiments share."""
    return [source, *shared_sources()]


def shared_sources() -> list[Path]:
    """Return the files every result depends on: all of metagrad, and the private modules beside the experiments."""
    return [*(ROOT / "metagrad").rglob("*.py"), *(ROOT / "analysis").glob("_[!_]*.py")]


def load_arrays(path: Path, expected_hash: str | None = None) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file, or None if it is missing, damaged, or not the one that was hashed."""
    try:
        data = path.read_bytes()
        if expected_hash is not None and digest(data) != expected_hash:
            return None
        return from_bytes(data)
    except (OSError, ValueError, KeyError, EOFError, zipfile_error()):
        return None


def save_shard(path: Path, data: bytes) -> None:
    """Write a shard and its hash beside it: without a hash that fits, the shard counts as missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_together({path: data, path.with_suffix(".sha256"): digest(data).encode()})


def load_shard(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a shard, or None if it is missing or not the one that was hashed."""
    try:
        expected = path.with_suffix(".sha256").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return load_arrays(path, expected)


def zipfile_error() -> type[Exception]:
    """Return the exception of a damaged archive."""
    from zipfile import BadZipFile

    return BadZipFile


def load_sidecar(path: Path) -> dict[str, Any] | None:
    """Return a sidecar, or None if it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return None


def provenance() -> dict[str, Any]:
    """Return the versions, the commit and whether the tree was changed, and the machine's kind."""
    return {
        "versions": versions(),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
    } | {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed of those that compute or draw."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else ""
