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

from analysis.framework import contract, store

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
    found |= {_label(path): _read(path) for path in (*_FRAMEWORK.glob("*.py"), *store.shared_sources())}
    try:
        path = contract.load(name).source
    except Exception as error:  # its import runs whatever the experiment imports
        return found | {f"analysis/{name}.py": f"cannot be loaded ({type(error).__name__}: {error})"}
    return found | {_label(path): _read(path)}


def digest(fingerprint: dict[str, str]) -> str:
    """Return one hash of a fingerprint."""
    return store.digest(json.dumps(fingerprint, sort_keys=True).encode())


def differences(wanted: dict[str, str], found: dict[str, str]) -> str:
    """Say in what two fingerprints differ, by at most three examples."""
    differing = [name for name in sorted(wanted | found) if wanted.get(name) != found.get(name)]
    shown = [_difference(name, wanted.get(name, "none"), found.get(name, "none")) for name in differing[:3]]
    return ", ".join(shown) + f" and {len(differing) - 3} more" * (len(differing) > 3)


def _difference(name: str, wanted: str, found: str) -> str:
    for value in (found, wanted):
        if " " in value:  # a sentence, not a digest
            return f"{name} {value}"
    return f"{name} is another file" if name.endswith(".py") else f"{name} {found} there, {wanted} here"


def _label(path: Path) -> str:
    return path.relative_to(store.ROOT).as_posix() if path.is_relative_to(store.ROOT) else path.name


def _read(path: Path) -> str:
    now = store.digest(path.read_bytes())
    if _first_read.setdefault(str(path), now) != now:
        return f"was changed after process {os.getpid()} on {platform.node()} read it"
    return now


@functools.cache
def _versions() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])
    packages = {package: version for package, version in store.versions().items() if package not in _HARMLESS}
    return packages | {"python": python}
