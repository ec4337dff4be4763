"""Coordinates in which a hyper-parameter with a range may be any number: the maps, and where they may lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad import is_branch, leaves, paths, sigmoid, unflatten
from metagrad.errors import bad_type, bad_value
from metagrad.optimizers._safe import Decay
from metagrad.protocols import Tree
from metagrad.xp import Array, is_array, namespace


class Map(NamedTuple):
    """The hyper-parameter `value(x)` of a coordinate x, its inverse, its derivatives in x, and what it reaches.

    `slope`, `bend`: the first and the second derivative; `reaches`: examples; `bounds`: in words.
    """

    prefix: str
    value: Callable[[Any], Any]
    coordinate: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    bend: Callable[[Any], Any]
    reaches: tuple[float, ...]
    bounds: str


def _decay(c: Any) -> Decay:
    return Decay(sigmoid(c), sigmoid(-c))


def _bell(c: Any) -> Any:
    return sigmoid(c) * sigmoid(-c)


def _softplus(a: Any) -> Any:
    return np.logaddexp(a, 0.0)


def _logit(beta: Array) -> Array:
    return np.log(beta) - np.log1p(-beta)


def _inverse_softplus(x: Array) -> Array:
    return x + np.log(-np.expm1(-x))


# In this order, the first whose examples a rule takes is its default.
MAPS = {
    "identity": Map("", lambda x: x, lambda x: x, np.ones_like, np.zeros_like, (-2.0, 0.5, 2.0), "of any size"),
    "log": Map("log_", np.exp, np.log, np.exp, np.exp, (0.5, 2.0), "above 0"),
    "logit": Map("logit_", _decay, _logit, _bell, lambda c: _bell(c) * (sigmoid(-c) - sigmoid(c)), (0.5,), "in (0, 1)"),
    "softplus": Map("inverse_softplus_", _softplus, _inverse_softplus, sigmoid, _bell, (0.5, 2.0), "above 0"),
}


def within(kind: str, value: Any) -> Array:
    """Return where a value of the map `kind` is one that its dtype did not round to a bound of its range."""
    if isinstance(value, Decay):
        return (value.beta > 0) & (value.rest > 0)
    if kind == "identity":
        return np.isfinite(value)
    return (value > 0) & (value < (1.0 if kind == "logit" else np.inf))


def guarded(kind: str, value: Any) -> Any:
    """Return the value, NaN where it is not `within`: a bound is no hyper-parameter, and a rule might stand still."""
    holds = within(kind, value)
    if isinstance(value, Decay):
        return Decay(*[np.where(holds, part, np.nan) for part in value])
    return np.where(holds, value, np.nan)


def value_at(kind: str, x: Any) -> Any:
    """Return the hyper-parameter of a coordinate, a `Decay` of the logit; one out of range may be inf or a bound."""
    with np.errstate(over="ignore", under="ignore"):  # what leaves the range is looked at
        return MAPS[kind].value(x)


def slope_at(kind: str, x: Any) -> Any:
    """Return the derivative of the hyper-parameter in its coordinate x."""
    with np.errstate(over="ignore", under="ignore"):
        return MAPS[kind].slope(x)


def bend_at(kind: str, x: Any) -> Any:
    """Return the second derivative of the hyper-parameter in its coordinate x."""
    with np.errstate(over="ignore", under="ignore"):
        return MAPS[kind].bend(x)


def plain(value: Any) -> Any:
    """Return the hyper-parameter without the rest of a `Decay`."""
    return value.beta if isinstance(value, Decay) else value


def mapped(of: Callable[[Any], Any], x: Tree) -> Any:
    """Return what `of` returns for the leaves of x, as a tree like x: one `Decay` of trees, where they are Decays."""
    if not is_branch(x):
        return of(x)
    found = [of(leaf) for leaf in leaves(x)]
    if isinstance(found[0], Decay):
        return Decay(*[unflatten(x, part) for part in zip(*found, strict=True)])
    return unflatten(x, found)


def as_given(kind: str, x: Any) -> Any:
    """Return the hyper-parameter of a coordinate in its dtype, a float for a float."""
    found = plain(value_at(kind, x))
    return float(found) if isinstance(x, float) else namespace(x).asarray(found)


def coordinates_of(name: str, kind: str, value: Tree) -> Any:
    """Return the coordinates of a hyper-parameter, a number, an array or a tree of them."""
    flat = zip(paths(value), leaves(value), strict=True)
    return unflatten(value, [_coordinate(name + path, kind, leaf) for path, leaf in flat])


def _coordinate(name: str, kind: str, value: Any) -> Any:
    """Return the coordinate of a hyper-parameter, a float for a float; ValueError where it would not be finite."""
    xp = namespace(value)
    with np.errstate(all="ignore"):
        found = MAPS[kind].coordinate(xp.asarray(value))
    if not bool(xp.all(xp.isfinite(found))):
        bounds = MAPS[kind].bounds
        bad_value("Unconstrained.free", name, value, f"a number {bounds}", "Or hold it with `fixed`.")
    return xp.asarray(found) if is_array(value) else float(found)


def check_number(where: str, called: str, x: Any) -> Any:
    """Return x as a float or an array; TypeError unless it is one of floats."""
    if not isinstance(x, float) and getattr(getattr(x, "dtype", None), "kind", "") != "f":
        bad_type(where, called, f"a {type(x).__name__}", "a float or a float array", "Write 1.0 for 1.")
    return x if isinstance(x, float) or is_array(x) else float(x)


def check_coordinate(where: str, name: str, path: str, kind: str, x: Any, *, with_rest: bool) -> None:
    """Raise ValueError unless x is finite and its dtype can hold the hyper-parameter, or of a decay the rest."""
    called, xp = MAPS[kind].prefix + name + path, namespace(x)
    if not bool(xp.all(xp.isfinite(xp.asarray(x)))):
        bad_value(where, called, x, "a finite coordinate")
    found = value_at(kind, x)
    if not bool(xp.all(within(kind, found if with_rest else plain(found)))):
        dtype = np.dtype(getattr(x, "dtype", np.float64)).name
        bad_value(where, called, x, f"a coordinate whose {name}, {MAPS[kind].bounds}, {dtype} can hold")
