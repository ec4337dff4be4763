"""What a result depends on, each part by name: its sizes, seed and device, the files it is computed from, libraries."""

from __future__ import annotations

import ast
import dataclasses
import json
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.framework import sources, store
from metagrad import files

_METAGRAD = store.ROOT / "metagrad"
_LIBRARIES = ("numpy", "scipy", "sympy", "numba")
_GPU_LIBRARIES = ("cupy-cuda12x", "cupy-cuda13x")
_FILES = (".py", ".cu", ".npz")
_SHOWN = 3


def parts_of(source: Path, config: Any, seed: int, device: str) -> dict[str, str]:
    """Return the value, the version or the digest of every part that the result of an experiment depends on.

    `source`: the file of the experiment; `config`: its sizes, a dataclass.
    """
    sizes = {f"config.{name}": _text(value) for name, value in dataclasses.asdict(config).items()}
    read = [source, *private_modules(source), *shared_sources(), *weights_of(source)]
    return (
        sizes | {"seed": str(seed), "device": device} | _versions(device) | {label(x): sources.digest(x) for x in read}
    )


def key_of(parts: dict[str, str]) -> str:
    """Return one hash of all parts."""
    return files.sha256(json.dumps(parts, sort_keys=True).encode())[:32]


def shared_sources() -> list[Path]:
    """Return the files every result depends on: all code of metagrad."""
    return [*_METAGRAD.rglob("*.py"), *(_METAGRAD / "kernels").glob("*.cu")]


def weights_of(source: Path) -> list[Path]:
    """Return the trained weights that an experiment can load: all that ship, where its code names `load_trained`."""
    code = [path.read_text(encoding="utf-8") for path in (source, *private_modules(source))]
    loads = any("load_trained" in text for text in code)
    return sorted((_METAGRAD / "trained").glob("*.npz")) if loads else []


def private_modules(source: Path) -> list[Path]:
    """Return the private modules beside experiments (`analysis._name`) that a file imports, itself or by another."""
    found: dict[Path, None] = {}
    waiting = [source]
    while waiting:
        new = [path for path in _imported(waiting.pop()) if path not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return sorted(found)


def _imported(source: Path) -> list[Path]:
    folder = store.ROOT / "analysis"
    names = _private_names(source.read_text(encoding="utf-8"))
    return [folder / f"{name}.py" for name in names if (folder / f"{name}.py").is_file()]


@lru_cache(maxsize=256)  # by the text itself: a result is looked at several times, and each time its source is parsed
def _private_names(text: str) -> frozenset[str]:
    """Return the names with an underscore that Python source imports."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("analysis"):
            names |= set((node.module or "").split(".")) | {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {part for alias in node.names for part in alias.name.split(".")}
    return frozenset(name for name in names if name.startswith("_"))


def _versions(device: str) -> dict[str, str]:
    """Return the versions of what computes; the last number of Python's version changes no results."""
    found = store.versions()
    gpu = {name: found[name] for name in _GPU_LIBRARIES if device == "gpu" and name in found}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python} | {name: found.get(name, "none") for name in _LIBRARIES} | gpu


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def label(path: Path) -> str:
    """Return the name of a file in messages: its path in the project, or its name outside of it."""
    whole = path.as_posix()
    for root in (_METAGRAD.parent, store.ROOT):
        within = whole.removeprefix(f"{root.as_posix()}/")  # `relative_to` of pathlib is slow for so many files
        if within != whole:
            return within
    return path.name


def differences(wanted: dict[str, str], found: dict[str, str], there: str = "there", here: str = "here") -> str:
    """Say in what the parts that were found `there` differ from those wanted `here`, by at most three examples.

    What is not code comes first. A value with a space is the sentence that says what is wrong with a file.
    """
    differing = [name for name in wanted | found if wanted.get(name) != found.get(name)]
    differing.sort(key=lambda name: (name.endswith(".py"), name))
    shown = [
        _difference(name, wanted.get(name, "none"), found.get(name, "none"), there, here) for name in differing[:_SHOWN]
    ]
    return ", ".join(shown) + f" and {len(differing) - _SHOWN} more" * (len(differing) > _SHOWN)


def _difference(name: str, wanted: str, found: str, there: str, here: str) -> str:
    if not name.endswith(_FILES):
        return f"{name} {found} {there}, {wanted} {here}"
    for value in (found, wanted):
        if " " in value:
            return f"{name} {value}"
    if "none" in (wanted, found):
        return f"{name} is missing {there if found == 'none' else here}"
    return f"{name} is another file"
