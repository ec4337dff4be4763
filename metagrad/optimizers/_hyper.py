"""Hyper-parameters: what is checked of them, and how they meet the arrays of a tree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad import is_branch, leaves, paths, stop_gradient, tree_map, unflatten
from metagrad.checks import FLOAT_DTYPE, shown
from metagrad.errors import bad_type, bad_value
from metagrad.optimizers._safe import Decay
from metagrad.protocols import Tree
from metagrad.xp import Array, FloatInfo, float_info, is_array, namespace


class Range(NamedTuple):
    """What a hyper-parameter is called, where it may lie, and the ends of that in the numbers of a dtype."""

    noun: str
    bounds: str
    holds: Callable[[Array], Array]
    ends: Callable[[FloatInfo], tuple[float, float]]
    remedy: str = ""


def _above_zero(info: FloatInfo) -> tuple[float, float]:
    """Return the smallest normal number and the largest one: the closed set of all that is above 0 and finite."""
    return 2.0**info.min_exponent, _largest(info)


def _from_zero(info: FloatInfo) -> tuple[float, float]:
    return 0.0, _largest(info)


def _largest(info: FloatInfo) -> float:
    return (2.0 - info.eps) * 2.0 ** (info.max_exponent - 1)


STEP_SIZE = Range(
    "step size",
    "above 0",
    lambda x: x > 0,
    _above_zero,
    "For step sizes at or below zero call an estimator directly, metagrad.Reverse()(...).",
)
DECAY = Range("decay", "in [0, 1)", lambda x: (x >= 0) & (x < 1), lambda info: (0.0, 1.0 - info.eps / 2))
WEIGHT_DECAY = Range("decay", "of at least 0", lambda x: x >= 0, _from_zero)
LIMIT = Range("limit", "above 0", lambda x: x > 0, _above_zero)
SPREAD = Range("standard deviation", "of at least 0", lambda x: x >= 0, _from_zero)
UNBOUNDED = Range("number", "of any size", lambda x: abs(x) < math.inf, lambda info: (-_largest(info), _largest(info)))
FACTOR = Range("factor", "above 0", lambda x: x > 0, _above_zero)
POWER = Range("power", "above 0", lambda x: x > 0, _above_zero)
WARM = Range("number of steps", "above 0", lambda x: x > 0, _above_zero)
EPS = Range("number", "above 0", lambda x: x > 0, _above_zero, "It is what keeps 0/0 away where a gradient is zero.")


def check_phi(kind: Any, phi: Any, where: str, ranges: dict[str, Range]) -> Any:
    """Return phi as the NamedTuple `kind`, a bare number or array becoming its first field.

    TypeError unless every field is a float or a float array; ValueError unless it is finite and within its range.
    """
    if is_branch(phi) and not isinstance(phi, kind):
        bad_type(where, "phi", f"a {type(phi).__name__}", f"{kind.__qualname__}({', '.join(kind._fields)})")
    full = phi if isinstance(phi, kind) else kind(phi)
    return kind(*[check_field(where, name, getattr(full, name), ranges[name]) for name in kind._fields])


def check_field(where: str, name: str, value: Any, within: Range) -> Any:
    """Return one hyper-parameter, a number, an array or a tree of them, as a float or arrays; raise as `check_phi`."""
    is_number = type(value) is np.ndarray and value.ndim == 0 and value.dtype.kind == "f"
    number = value.item() if is_number else value
    if type(number) is float and math.isfinite(number) and within.holds(number):  # the usual case, at once
        return value
    if is_branch(value):  # one for each array of w
        if not leaves(value):
            bad_type(
                where, name, f"{value!r}, with nothing in it", f"a floating-point {within.noun}, or a tree of them"
            )
        return tree_map(lambda x: check_field(where, name, x, within), value)
    if isinstance(value, bool | int) or (is_array(value) and value.dtype.kind != "f"):
        is_other = is_array(value) and value.dtype.kind not in "iub"
        came = f"an array of {value.dtype}" if is_other else f"{value!r}, an integer"
        remedy = f"Give {FLOAT_DTYPE}." if is_other else "Write 1.0 for 1."
        bad_type(where, name, came, f"a floating-point {within.noun}", remedy)
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


def project(phi: Any, ranges: dict[str, Range]) -> Any:
    """Return the nearest phi within the ranges, in the numbers of its dtype: what `check_phi` takes. NaN stays NaN.

    A step size goes no lower than the smallest normal number, which moves nothing but is no 0, and no higher than the
    largest; a decay no higher than the largest number below 1.
    """
    return type(phi)(*[project_field(getattr(phi, name), ranges[name]) for name in phi._fields])


def project_field(value: Any, within: Range) -> Any:
    """Return the nearest of one hyper-parameter, a number, an array or a tree of them, within its range."""

    def nearest(x: Any) -> Any:
        low, high = within.ends(float_info(getattr(x, "dtype", "float64")))
        return np.minimum(np.maximum(x, low), high)

    return tree_map(nearest, value)


def beside(phi: Any, leaf: Array) -> Any:
    """Return the hyper-parameters phi in shapes that broadcast against `leaf` (B, ...).

    What is given task by task comes with as many axes as the largest array of w, (B, 1, 1) say: for an array with
    fewer axes, axes of length 1 behind the task axis go. Rules whose w may be a tree of several arrays need it.
    ValueError where a shape does not fit.
    """
    if not hasattr(phi, "_fields") or not hasattr(leaf, "shape"):
        name, given = ("leaf", leaf) if hasattr(phi, "_fields") else ("phi", phi)
        bad_type("beside", name, shown(given), "an array of w" if name == "leaf" else "the `Phi` of a rule")
    return type(phi)(*[_fitted(phi, k, x, leaf) for k, x in enumerate(phi)])


def check_fits(phi: Any, w: Tree) -> None:
    """Raise ValueError unless every hyper-parameter fits the arrays of w: a kernel would not see that it does not."""
    if not hasattr(phi, "_fields") or all(isinstance(x, float) for x in phi):
        return
    for leaf in leaves(w):
        for k, x in enumerate(phi):
            if not is_branch(x):
                _fitted(phi, k, x, leaf)


def _fitted(phi: Any, k: int, x: Any, leaf: Array) -> Any:
    axes = getattr(x, "ndim", 0)
    if axes == 0:
        return x if not is_branch(x) else _fitted_decay(phi, k, x, leaf)
    surplus = axes - leaf.ndim
    if surplus > 0 and x.shape[1 : 1 + surplus] == (1,) * surplus:
        x = x.reshape(x.shape[:1] + x.shape[1 + surplus :])
        axes = leaf.ndim
    if axes > leaf.ndim or any(n not in (1, m) for n, m in zip(x.shape[::-1], leaf.shape[::-1], strict=False)):
        remedy = "For one a task give per_task=True; for one a step use Scheduled."
        expected = f"one number, or an array that broadcasts against w of shape {leaf.shape}"
        bad_value(_title(phi), _name_in(phi, k), f"of shape {x.shape}", expected, remedy)
    return x


def _fitted_decay(phi: Any, k: int, x: Any, leaf: Array) -> Any:
    if not isinstance(x, Decay):  # a tree, where w is one array
        came = f"a tree with {', '.join(paths(x)) or 'nothing'}"
        bad_value(_title(phi), _name_in(phi, k), came, f"one number, or an array, as w is an array {leaf.shape}")
    return Decay(*[_fitted(phi, k, part, leaf) for part in x])


def _title(phi: Any) -> str:
    return type(phi).__qualname__


def _name_in(phi: Any, k: int) -> str:
    return str(getattr(phi, "_fields", range(len(phi)))[k])


def each_leaf(update: Callable[..., tuple[Any, ...]], phi: Any, w: Tree, *others: Tree) -> tuple[Tree, ...]:
    """Return the trees of what update(p, w, ...) returns for the arrays of w and of the others, which are built alike.

    p are the hyper-parameters of an array, as they fit it: a field of phi may be one for all arrays, or a tree like w,
    one for each (a step size a layer).
    """
    if not hasattr(phi, "_fields"):
        bad_type("a rule's step", "phi", f"a {type(phi).__name__}", "the `Phi` of the rule", "Write rule.Phi(...).")
    if not is_branch(w):
        return update(beside(phi, w), w, *others)
    flat = leaves(w)
    own = [_one_each(name, x, w, len(flat)) for name, x in zip(phi._fields, phi, strict=True)]
    columns = [leaves(other) for other in others]
    rows = [
        update(beside(type(phi)(*[x[k] for x in own]), leaf), leaf, *[column[k] for column in columns])
        for k, leaf in enumerate(flat)
    ]
    return tuple(unflatten(w, column) for column in zip(*rows, strict=True))


def _one_each(name: str, x: Any, w: Tree, count: int) -> list[Any]:
    if isinstance(x, Decay):
        if not is_branch(x.beta):
            return [x] * count
        columns = [_one_each(name, part, w, count) for part in x]
        return [Decay(beta, rest) for beta, rest in zip(*columns, strict=True)]
    if not is_branch(x):
        return [x] * count
    mine, theirs = paths(x), paths(w)
    if mine != theirs:
        expected = f"one number, or a tree like w, with {', '.join(theirs)}"
        bad_value("a rule's step", f"phi.{name}", f"a tree with {', '.join(mine)}", expected)
    return leaves(x)


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
    return tree_map(lambda leaf: namespace(leaf).full_like(leaf, value), stop_gradient(w))
