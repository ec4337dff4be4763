"""Hyper-parameters: what is checked of them, and how they meet the arrays of a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from metagrad.ad import is_branch, leaves, unflatten
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Tree
from metagrad.xp import Array, is_array, namespace


class Range(NamedTuple):
    """What a hyper-parameter is called, and where it may lie."""

    noun: str
    bounds: str
    holds: Callable[[Array], Array]
    remedy: str = ""


STEP_SIZE = Range(
    "step size",
    "above 0",
    lambda x: x > 0,
    "For step sizes at or below zero call an estimator directly, metagrad.Reverse()(...).",
)
DECAY = Range("decay", "in [0, 1)", lambda x: (x >= 0) & (x < 1))
EPS = Range("number", "above 0", lambda x: x > 0, "It is what keeps 0/0 away where a gradient is zero.")


def check_phi(kind: Any, phi: Any, where: str, ranges: dict[str, Range]) -> Any:
    """Return phi as the NamedTuple `kind`, a bare number or array becoming its first field.

    TypeError unless every field is a float or a float array; ValueError unless it is finite and within its range.
    """
    if is_branch(phi) and not isinstance(phi, kind):
        bad_type(where, "phi", f"a {type(phi).__name__}", f"{kind.__qualname__}({', '.join(kind._fields)})")
    full = phi if isinstance(phi, kind) else kind(phi)
    return kind(*[_checked(where, name, getattr(full, name), ranges[name]) for name in kind._fields])


def _checked(where: str, name: str, value: Any, within: Range) -> Any:
    if isinstance(value, bool | int) or (is_array(value) and value.dtype.kind != "f"):
        bad_type(where, name, f"{value!r}, an integer", f"a floating-point {within.noun}", "Write 1.0 for 1.")
    if not isinstance(value, float) and not is_array(value):
        if not hasattr(value, "dtype"):
            bad_type(where, name, f"a {type(value).__name__}", "a float or an array", f"Pass {name} as a number.")
        value = float(value)
    xp = namespace(value)
    if not bool(xp.all(xp.isfinite(xp.asarray(value)))):
        bad_value(where, name, value, f"a finite {within.noun}")
    if not bool(xp.all(within.holds(xp.asarray(value)))):
        bad_value(where, name, value, f"a {within.noun} {within.bounds}", within.remedy)
    return value


def beside(phi: Any, leaf: Array) -> Any:
    """Return the hyper-parameters phi in shapes that broadcast against `leaf` (B, ...).

    Those given task by task come as (B, 1): they are spread along all axes of the leaf but the first.
    """
    return type(phi)(*[_spread(x, leaf) for x in phi])


def _spread(x: Any, leaf: Array) -> Any:
    if isinstance(x, tuple):  # a decay and its rest
        return beside(x, leaf)
    is_one_a_task = leaf.ndim not in (0, 2) and getattr(x, "shape", ()) == (leaf.shape[0], 1)
    return x.reshape((leaf.shape[0],) + (1,) * (leaf.ndim - 1)) if is_one_a_task else x


def leafwise(update: Callable[..., tuple[Any, ...]], *trees: Tree) -> tuple[Tree, ...]:
    """Return the trees of what `update` returns for the leaves of `trees`, which have one structure."""
    first = trees[0]
    if not is_branch(first):
        return update(*trees)
    rows = [update(*row) for row in zip(*map(leaves, trees), strict=True)]
    return tuple(unflatten(first, column) for column in zip(*rows, strict=True))


def zeros(w: Tree) -> Tree:
    """Return zeros like every array of w."""
    return filled(w, 0.0)


def filled(w: Tree, value: float) -> Tree:
    """Return arrays of one value like every array of w."""
    return unflatten(w, [namespace(leaf).full_like(leaf, value) for leaf in leaves(w)])
