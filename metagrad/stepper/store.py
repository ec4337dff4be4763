"""Where a loop stands, on disk: the state of its rule, the time, and whose it is. Numbers and texts alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.errors import bad_type, bad_value
from metagrad.files import read_npz, write_npz
from metagrad.fingerprint import Part, differing_parts, named_parts, told
from metagrad.guard import frozen
from metagrad.protocols import Tree
from metagrad.stepper.layout import Layout
from metagrad.xp import is_array, namespace, to_host

_FORMAT = 1
_KINDS = "fiub"
_ANEW = "Give the file of this very loop, or start anew without it."


def save(path: Path, t: int, state: Tree, first: list[str], owner: Owner, layout: Layout | None) -> None:
    """Write the state after t updates, and whose it is; before the first one there is no state yet.

    `first`: the paths of the state that `init` of the rule made, by which it is rebuilt.
    """
    if ad.paths(state) != first:
        came = f"one of {len(ad.paths(state))} leaves, of {len(first)} after `init`"
        bad_type("Stepper.save", "the state of the rule", came, "one that keeps its structure")
    arrays = {f"state_{k}": _saved(leaf, at) for k, (at, leaf) in enumerate(_leaves(state))}
    write_npz(path, arrays, {"format": _FORMAT, "t": t, "of": owner.parts(layout), "paths": ad.paths(state)})


def load(path: Path, where: str, owner: Owner, layout: Layout, template: Callable[[], Tree]) -> tuple[int, Tree]:
    """Return the time and the state of this very loop, in the tree that `template` makes; ValueError for another."""
    arrays, about = read_npz(path, where, argument="path", what="state of a Stepper", formats=(_FORMAT,))
    t, saved = about.get("t"), about.get("of")
    if type(t) is not int or t < 0 or not isinstance(saved, dict):
        bad_value(where, "path", f"{path}, which is no state of a Stepper", "what Stepper.save wrote", _ANEW)
    if differing := differing_parts(saved, owner.parts(layout if t else None)):
        came = f"{path}, of another loop ({'; '.join(told(name, *two) for name, two in differing.items())})"
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


class Owner(NamedTuple):
    """Whose state it is: the rule, its meta-parameters and the horizon."""

    rule: Any
    phi: Tree
    steps: int | None

    def parts(self, layout: Layout | None) -> dict[str, Part]:
        """Return what a file says of them and of the shapes of params, before the first update None."""
        parts = {"rule": self.rule, "phi": self.phi, "steps": self.steps}
        if layout is not None:
            pairs = zip(layout.paths, layout.shapes, strict=True)
            parts |= {f"params{at}": f"{layout.dtype}{list(shape)}" for at, shape in pairs}
        return named_parts(parts)


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
