"""Results on disk: arrays in npz, everything about them in a JSON sidecar, written atomically, never unpickled."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from metagrad import files

ROOT = Path(__file__).resolve().parent.parent.parent

_PACKAGES = ("metagrad", "numpy", "scipy", "sympy", "matplotlib", "numba", "ml-dtypes", "scikit-learn")
_PACKAGES += ("cupy-cuda12x", "cupy-cuda13x")


class StoreError(Exception):
    """A result that cannot be read or written; the message says what to do."""


def prepare_folder(path: Path) -> None:
    """Create the folder and prove that it can be written to; StoreError before any work is done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise StoreError(f"--out {path} cannot be written to ({error.strerror}); choose another folder.") from error


def load_arrays(path: Path, expected_hash: str | None = None) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file, or None if it is missing, damaged, or not the one that was hashed."""
    try:
        data = path.read_bytes()
        if expected_hash is not None and files.sha256(data) != expected_hash:
            return None
        return files.npz_arrays(data)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def save_shard(path: Path, data: bytes) -> None:
    """Write a shard and its hash beside it: without a hash that fits, the shard counts as missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_together({path: data, path.with_suffix(".sha256"): files.sha256(data).encode()})


def load_shard(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a shard, or None if it is missing or not the one that was hashed."""
    try:
        expected = path.with_suffix(".sha256").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return load_arrays(path, expected)


def provenance() -> dict[str, Any]:
    """Return the versions, the commit and whether the tree was changed, and the machine's kind."""
    return {
        "versions": versions(),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
    } | {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed of those that compute or draw."""
    return dict(_versions())


@functools.cache  # what this process has imported stays what it was, and reading the metadata takes long
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else ""
