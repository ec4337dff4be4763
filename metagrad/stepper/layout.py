"""What the parameters of a loop are: paths, shapes, one dtype, one device; and the way to a task axis of 1 and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad, checks
from metagrad.ad.tree import leaves_as
from metagrad.errors import bad_type, bad_value
from metagrad.guard import frozen
from metagrad.protocols import Tree
from metagrad.xp import Array, Namespace, is_array, module_name, namespace

_ARRAYS = "a float array, or a tree of them (dict, list, tuple, NamedTuple)"


@dataclass(frozen=True)
class Layout:
    """The paths and shapes of the arrays, without a task axis; the name of their one dtype, and their namespace."""

    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    xp: Namespace

    @classmethod
    def of(cls, params: Tree, where: str) -> Layout:
        """Return that of parameters; raise unless they are float arrays of one dtype on one device, with numbers."""
        paths, leaves = ad.paths(params), ad.leaves(params)
        if not leaves:
            bad_type(where, "params", f"{checks.shown(params)}, without arrays", _ARRAYS)
        for path, leaf in zip(paths, leaves, strict=True):
            _check_floats(where, f"params{path}", leaf)
            if leaf.size == 0:
                came = f"of shape {leaf.shape}"
                bad_value(where, f"params{path}", came, "at least one number in every array", "Leave it out.")
        _check_one(where, paths, [leaf.dtype.name for leaf in leaves], "dtype", "Convert it, by x.astype(...).")
        homes = [module_name(namespace(leaf)) for leaf in leaves]
        _check_one(where, paths, homes, "array module", "Move it first; NumPy's scalars are NumPy's.")
        return cls(tuple(paths), tuple(x.shape for x in leaves), leaves[0].dtype.name, namespace(leaves[0]))

    def differing(self, other: Layout) -> tuple[str, str]:
        """Return what this one has and what the other one has, where they first differ."""
        if self.dtype != other.dtype or self.xp is not other.xp:
            return f"of {self.dtype} in {module_name(self.xp)}", f"{other.dtype} in {module_name(other.xp)}"
        if self.paths != other.paths:
            mine, others = (", ".join(one.paths) or "one array" for one in (self, other))
            return f"a tree with {mine}", f"a tree with {others}"
        k = next(k for k, (a, b) in enumerate(zip(self.shapes, other.shapes, strict=True)) if a != b)
        return f"with {self.paths[k] or 'an array'} of shape {self.shapes[k]}", f"shape {other.shapes[k]}"

    def with_task(self, given: Tree, like: Tree, where: str, name: str) -> Tree:
        """Return copies with a task axis of 1 in front, read-only on the host, built like the tree `like`.

        Raise, with the path of the array, where structure, shape, dtype or device is another one, or a number is inf or
        NaN. They are copies because a rule may keep what it sees, and a loop may write into its own arrays.
        """
        found = leaves_as(like, given, where, name, or_none=False)
        built = [self._one(leaf, k, where, name) for k, leaf in enumerate(found)]
        return frozen(ad.unflatten(like, built))

    def _one(self, leaf: Any, k: int, where: str, name: str) -> Array:
        place, shape = f"{name}{self.paths[k]}", self.shapes[k]
        if leaf is None:
            remedy = "Write zeros for parameters without a gradient; wrap the rule in Masked for those that stay."
            bad_type(where, place, "None", f"an array of shape {shape}", remedy)
        _check_floats(where, place, leaf)
        if leaf.shape != shape:
            remedy = (
                "A Stepper takes one set of parameters, without a task axis." if len(leaf.shape) > len(shape) else ""
            )
            bad_value(where, place, f"of shape {leaf.shape}", f"shape {shape}, that of params{self.paths[k]}", remedy)
        if leaf.dtype.name != self.dtype:
            came = f"an array of {leaf.dtype}"
            bad_type(where, place, came, f"{self.dtype}, the dtype of the parameters", f"Use astype({self.dtype!r}).")
        if namespace(leaf) is not self.xp:
            came = f"an array of {module_name(namespace(leaf))}"
            bad_type(where, place, came, f"one of {module_name(self.xp)}, as the parameters are", "Move it first.")
        if not bool(self.xp.isfinite(leaf).all()):
            remedy = "Nothing was changed: leave this step out, or look for what made it."
            bad_value(where, place, "inf or NaN in at least one entry", "finite numbers", remedy)
        return self.xp.array(leaf, dtype=np.dtype(self.dtype), order="C")[None]

    def without_task(self, w: Tree, like: Tree, where: str, name: str) -> Tree:
        """Return arrays of the caller's own, without the task axis; raise where `w` is none of one such task."""
        built = []
        for path, shape, leaf, given in zip(
            self.paths, self.shapes, leaves_as(like, w, where, name, or_none=False), ad.leaves(like), strict=True
        ):
            if getattr(leaf, "shape", None) != (1, *shape) or leaf.dtype.name != self.dtype:
                came = "a " + type(leaf).__name__ if not is_array(leaf) else f"of shape {leaf.shape} and {leaf.dtype}"
                remedy = "Give phi without a task axis: one for all tasks, as per_task=False has it."
                bad_value(where, f"{name}{path}", came, f"shape {(1, *shape)} and {self.dtype}", remedy)
            own = self.xp.array(leaf[0])
            built.append(own[()] if isinstance(given, np.generic) else own)
        return ad.unflatten(like, built)


def _check_floats(where: str, place: str, leaf: Any) -> None:
    if isinstance(leaf, np.ma.MaskedArray | np.matrix):
        remedy = "Use np.asarray; keep a mask beside the arrays, or wrap the rule in Masked."
        bad_type(where, place, f"a {type(leaf).__name__}", "a plain array", remedy)
    if not is_array(leaf) and not isinstance(leaf, np.generic):
        remedy = "Write np.asarray(x, dtype=...)."
        if hasattr(leaf, "detach"):
            remedy = "Give tensor.detach().numpy(), which shares the memory of the tensor."
        bad_type(where, place, f"{checks.shown(leaf)}, a {type(leaf).__name__}", _ARRAYS, remedy)
    if leaf.dtype.name not in checks.FLOATS:
        came = f"an array of {leaf.dtype}"
        bad_type(where, place, came, f"an array of {checks.FLOAT_DTYPE}", "Use x.astype(np.float32), say.")


def _check_one(where: str, paths: list[str], found: list[str], what: str, remedy: str) -> None:
    for path, one in zip(paths, found, strict=True):
        if one != found[0]:
            came = f"of {one} while params{paths[0]} is of {found[0]}"
            bad_type(where, f"params{path}", came, f"one {what} for all parameters", remedy)
