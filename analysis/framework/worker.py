"""What a worker of a cluster does with a shard, and how it is known to compute what the client would compute."""

from __future__ import annotations

import functools
import json
import os
import platform
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.framework import contract, depends, sources, store
from metagrad import files

_FRAMEWORK = Path(__file__).parent
_HARMLESS = ("metagrad", "matplotlib")  # metagrad is compared file by file, and no shard draws

_first_read: dict[str, str] = {}
_one_at_a_time = threading.Lock()


def compute(wanted: str, work: Callable[..., bytes], name: str, *arguments: Any) -> tuple[str, str, Any]:
    """Return ("data", worker, bytes of work(name, *arguments)), or why there are none, in plain values.

    ("other", worker, its fingerprint) where that is not the `wanted` one, ("error", worker, (message, trace)) where
    the work went wrong. One shard at a time: a worker's threads share their BLAS, and nobody promised more.
    """
    from distributed import get_worker

    address = get_worker().address
    with _one_at_a_time:
        found = fingerprint(name)
        if digest(found) != wanted:
            return "other", address, found
        try:
            return "data", address, work(name, *arguments)
        except Exception as error:
            return "error", address, (f"{type(error).__name__}: {error}", traceback.format_exc())


def fingerprint(name: str) -> dict[str, str]:
    """Return what the numbers of an experiment depend on: digests of its source, versions of its libraries.

    A file that was changed after this process read it equals no other: what is in memory is the old one.
    """
    found = dict(_versions())
    # before the experiment is loaded, so that what is read here is what will be imported
    found |= {depends.label(path): _read(path) for path in _shared()}
    try:
        path = contract.load(name).source
    except Exception as error:  # its import runs whatever the experiment imports
        return found | {f"analysis/{name}.py": f"cannot be loaded ({type(error).__name__}: {error})"}
    return found | {depends.label(x): _read(x) for x in (path, *depends.weights_of(path))}


def _shared() -> list[Path]:
    private = (store.ROOT / "analysis").glob("_[!_]*.py")
    return [*_FRAMEWORK.glob("*.py"), *private, *depends.shared_sources()]


def digest(fingerprint: dict[str, str]) -> str:
    """Return one hash of a fingerprint."""
    return files.sha256(json.dumps(fingerprint, sort_keys=True).encode())


def _read(path: Path) -> str:
    now = sources.digest(path)
    if _first_read.setdefault(str(path), now) != now:
        return f"was changed after process {os.getpid()} on {platform.node()} read it"
    return now


@functools.cache
def _versions() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])
    packages = {package: version for package, version in store.versions().items() if package not in _HARMLESS}
    return packages | {"python": python}
