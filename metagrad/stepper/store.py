"""Where a loop stands, on disk: the state of its rule, the time, and whose it is. Numbers and texts alone."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_type, bad_value
from metagrad.files import read_npz, write_npz
from metagrad.fingerprint import fingerprint, is_cached
from metagrad.guard import frozen
from metagrad.protocols import Tree
from metagrad.stepper.layout import Layout
from metagrad.xp import is_array, namespace, to_host

_FORMAT = 1
_CODE = "data and code"
_DEPTH, _MOST_PIECES = 2, 50  # of an object that is no dataclass: how much of it a message can name
_KINDS = "fiub"
_ANEW = "Give the file of this very loop, or start anew without it."


def save(path: Path, t: int, state: Tree, first: list[str], identity: dict[str, Any], layout: Layout | None) -> None:
    """Write the state after t updates, and whose it is; before the first one there is no state yet.

    `first`: the paths of the state that `init` of the rule made, by which it is rebuilt.
    """
    if ad.paths(state) != first:
        came = f"one of {len(ad.paths(state))} leaves, of {len(first)} after `init`"
        bad_type("Stepper.save", "the state of the rule", came, "one that keeps its structure")
    arrays = {f"state_{k}": _saved(leaf, at) for k, (at, leaf) in enumerate(_leaves(state))}
    about: dict[str, Any] = {"format": _FORMAT, "t": t, "identity": identity, "paths": ad.paths(state)}
    about |= {"params": None if layout is None else _shapes(layout)}
    write_npz(path, arrays, about)


def load(
    path: Path, where: str, identity: dict[str, Any], layout: Layout, template: Callable[[], Tree]
) -> tuple[int, Tree]:
    """Return the time and the state of this very loop, in the tree that `template` makes; ValueError for another."""
    arrays, about = read_npz(path, where, argument="path", what="state of a Stepper", formats=(_FORMAT,))
    t, saved, params = about.get("t"), about.get("identity"), about.get("params")
    if type(t) is not int or t < 0 or not isinstance(saved, dict) or (t > 0) != (params is not None):
        bad_value(where, "path", f"{path}, which is no state of a Stepper", "what Stepper.save wrote", _ANEW)
    if saved.keys() != identity.keys():
        came = f"{path}, which does not say of the rule what this version of metagrad compares"
        bad_value(where, "path", came, f"a file that says {', '.join(identity)}", _ANEW)
    found = _difference("", saved, identity)
    found = found if found or params is None else _difference("params", params, _shapes(layout))
    if found:
        came = f"{path}, of another loop ({_told(*found)})"
        bad_value(where, "path", came, "one of the same rule, meta-parameters, horizon and shapes", _ANEW)
    if not t:
        return 0, None
    like = template()
    wanted = [(at, leaf) for at, leaf in _leaves(like)]
    if about.get("paths") != [at for at, _ in wanted] or set(arrays) != {f"state_{k}" for k in range(len(wanted))}:
        came = f"{path}, whose state has other leaves than `init` of the rule makes"
        bad_value(where, "path", came, "a rule whose state keeps its structure", _ANEW)
    restored = [_restored(path, where, at, leaf, arrays[f"state_{k}"]) for k, (at, leaf) in enumerate(wanted)]
    return t, frozen(ad.unflatten(like, restored))


def identity(rule: Any, phi: Tree, steps: int | None) -> dict[str, Any]:
    """Return whose state it is. Code has another fingerprint in another version of Python, which is a part of it."""
    whose: dict[str, Any] = {"python": "{}.{}".format(*sys.version_info), "rule": described(rule)}
    return whose | {"phi": described(phi), "steps": steps, f"rule.{_CODE}": fingerprint(rule)}


def described(part: Any, depth: int | None = None) -> Any:
    """Return what a rule or its meta-parameters are made of, as JSON can keep it: kinds, numbers, digests.

    Of objects, classes and functions there is the fingerprint too, which has their data and code, and before it the
    pieces, by which a message can say what differs: the fields of a dataclass, the attributes of another object, those
    within `depth`; None for all.
    """
    if is_array(part) or isinstance(part, np.generic):
        host = np.asarray(to_host(part))
        digest = hashlib.sha256(np.ascontiguousarray(host).tobytes()).hexdigest()[:16]
        return f"{host.dtype.name}{list(host.shape)} {digest}"
    if isinstance(part, str | int | float | bool | None):
        return repr(part)
    if depth is not None and (depth == 0 or (isinstance(part, dict | tuple | list) and len(part) > _MOST_PIECES)):
        return _named(part, {})
    below = None if depth is None else depth - 1
    if isinstance(part, dict):
        return {repr(key): described(x, below) for key, x in sorted(part.items(), key=repr)}
    if isinstance(part, tuple | list):
        return [described(x, below) for x in part]
    return _named(part, {name: described(x, left) for name, x, left in _pieces(part, below)})


def _pieces(part: Any, depth: int | None) -> list[tuple[str, Any, int | None]]:
    """Return the pieces of an object with their names, and how deep each of them is looked into."""
    if isinstance(part, type | FunctionType | ModuleType):
        return []
    if is_dataclass(part):
        return [(one.name, getattr(part, one.name), depth) for one in fields(part)]
    attributes = {name: x for name, x in getattr(part, "__dict__", {}).items() if not is_cached(type(part), name)}
    return [(name, attributes[name], _DEPTH if depth is None else depth) for name in sorted(attributes)[:_MOST_PIECES]]


def _named(part: Any, pieces: dict[str, Any]) -> dict[str, Any]:
    kind = part if hasattr(part, "__qualname__") else type(part)
    return {"is": _name(kind)} | pieces | {_CODE: fingerprint(part)[:16]}


def _name(part: Any) -> str:
    return f"{part.__module__}.{part.__qualname__}"


def _shapes(layout: Layout) -> dict[str, str]:
    pairs = zip(layout.paths, layout.shapes, strict=True)
    return {at: f"{layout.dtype}{list(shape)}" for at, shape in pairs}


def _leaves(state: Tree) -> list[tuple[str, Any]]:
    return list(zip(ad.paths(state), ad.leaves(state), strict=True))


def _saved(leaf: Any, at: str) -> np.ndarray:
    is_number = isinstance(leaf, bool | int | float | np.generic)
    found = np.asarray(to_host(leaf)) if is_array(leaf) or is_number else None
    if found is None or found.dtype.kind not in _KINDS or np.dtype(found.dtype.str) != found.dtype:
        came = f"a {type(leaf).__name__}" if found is None else f"of {found.dtype}"
        bad_type("Stepper.save", f"the state{at} of the rule", came, "numbers and arrays of numbers")
    return found


def _restored(path: Path, where: str, at: str, leaf: Any, saved: np.ndarray) -> Any:
    """Return what was saved as the kind of the leaf in its place: a Python number, or an array where it is."""
    like = np.asarray(to_host(leaf)) if is_array(leaf) or isinstance(leaf, np.generic) else np.asarray(leaf)
    if (like.shape, like.dtype) != (saved.shape, saved.dtype):
        came = f"{path}, with {saved.dtype}{list(saved.shape)} for the state{at}"
        bad_value(where, "path", came, f"{like.dtype}{list(like.shape)}, as `init` of the rule makes it", _ANEW)
    if is_array(leaf):
        return namespace(leaf).asarray(saved)
    return saved[()] if isinstance(leaf, np.generic) else type(leaf)(saved.item())


def _difference(at: str, there: Any, here: Any) -> tuple[str, str, str] | None:
    """Return the path of the first piece that differs, with what it is there and here; None where nothing does."""
    if there == here:
        return None
    if isinstance(there, dict) and isinstance(here, dict) and there.keys() == here.keys():
        pieces = [_difference(f"{at}.{key}", there[key], here[key]) for key in here]
        return next(found for found in pieces if found)
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pieces = [_difference(f"{at}[{k}]", a, b) for k, (a, b) in enumerate(zip(there, here, strict=True))]
        return next(found for found in pieces if found)
    return at, _short(there), _short(here)


def _told(at: str, there: str, here: str) -> str:
    """Say what differs; where nothing but numbers within, or code, then that."""
    at = at.strip(".")
    place = at.removesuffix(f".{_CODE}")
    return f"{at} is {there} there, {here} here" if place == at and there != here else f"{place} has another {_CODE}"


def _short(x: Any) -> str:
    text = x["is"] if isinstance(x, dict) and "is" in x else str(x)
    return text if len(text) <= 80 else f"{text[:77]}..."
