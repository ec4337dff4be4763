"""Derivatives of functions of trees: vjp, grad, value_and_grad, hvp, jvp. All of them nest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metagrad.ad import ops
from metagrad.ad.tape import Var, touches_older, value_of, walk_back, zeros_of
from metagrad.ad.tree import Tree, leaves, tree_map, unflatten
from metagrad.errors import bad_type, bad_value

Pullback = Callable[..., tuple[Tree, ...]]


def vjp(f: Callable[..., Tree], *args: Tree) -> tuple[Tree, Pullback]:
    """Return f(*args) and its pullback: cotangent of the output -> a tuple of cotangents, one for each argument.

    Arguments and output are trees (tuples, NamedTuples, None) of float arrays or floats; whatever else is in them is a
    constant with cotangent None. `pullback(cotangent)` may be called any number of times; `pullback(cotangent,
    wrt=(0,))` goes back to the named arguments only and gives None for the others.

    >>> y, pullback = vjp(lambda a, b: a * b, np.array(3.0), np.array(4.0))
    >>> float(y), [float(x) for x in pullback(np.array(1.0))]
    (12.0, [4.0, 3.0])
    """
    lifted = [tree_map(_leaf, arg) for arg in args]
    flat = [leaves(tree) for tree in lifted]
    variables = [x for group in flat for x in group if type(x) is Var]
    oldest = min((x.id for x in variables), default=0)
    out = f(*lifted)
    outputs = _with_none(out)
    # an output that was made from anything older than our leaves belongs to an outer derivative as well
    outer = touches_older([x for x in outputs if type(x) is Var], oldest)

    def pullback(cotangent: Tree, wrt: Sequence[int] | None = None) -> tuple[Tree, ...]:
        asked = range(len(args)) if wrt is None else wrt
        targets = [x for i in asked for x in flat[i] if type(x) is Var]
        cotangents = _cotangents(outputs, cotangent)
        found = iter(walk_back(outputs, cotangents, targets, oldest, bare=not outer))

        def result(x: Any) -> Any:
            if type(x) is not Var:
                return None
            cotangent = next(found)
            return zeros_of(x) if cotangent is None else cotangent

        return tuple(tree_map(result, tree) if i in asked else None for i, tree in enumerate(lifted))

    return (out if outer else tree_map(value_of, out)), pullback


def _leaf(x: Any) -> Any:
    if type(x) is Var:
        return Var(x.value, (x,), (lambda g, y, a: g,))
    if isinstance(x, float):
        return Var(np.asarray(x))
    if getattr(getattr(x, "dtype", None), "kind", "") == "f":
        return Var(x)
    return x


def _cotangents(outputs: list[Any], cotangent: Tree) -> list[Any]:
    given = [None] * len(outputs) if cotangent is None else _with_none(cotangent)
    if len(given) != len(outputs):
        bad_value(
            "pullback", "cotangent", f"a tree of {len(given)} leaves", f"one like the output, {len(outputs)} leaves"
        )
    for x, c in zip(outputs, given, strict=True):
        if c is not None and type(x) is Var and np.shape(value_of(c)) != x.shape:
            bad_value("pullback", "cotangent", f"of shape {np.shape(value_of(c))}", f"the output's shape {x.shape}")
    return given


def _with_none(tree: Tree) -> list[Any]:
    return [x for item in tree for x in _with_none(item)] if isinstance(tree, tuple) else [tree]


def value_and_grad(f: Callable[..., Any], argnums: int = 0) -> Callable[..., tuple[Any, Tree]]:
    """Return the function x -> (f(x), gradient of the sum of all entries of f(x) in argument `argnums`).

    For a loss of each task, shape (B,), that sum has the gradient of each task's own loss in its own row.
    """

    def call(*args: Tree) -> tuple[Any, Tree]:
        def of_one(x: Tree) -> Any:
            return f(*args[:argnums], x, *args[argnums + 1 :])

        out, pullback = vjp(of_one, args[argnums])
        if isinstance(out, tuple):
            bad_type("grad", "f", "a function that returns a tuple", "one that returns an array", "Use vjp.")
        return out, pullback(np.ones_like(value_of(out)))[0]

    return call


def grad(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Tree]:
    """Return the gradient of the sum of all entries of f in argument `argnums`, as a function.

    >>> float(grad(grad(lambda x: x**3))(np.array(2.0)))
    12.0
    """
    return lambda *args: value_and_grad(f, argnums)(*args)[1]


def hvp(f: Callable[[Tree], Any], w: Tree, v: Tree) -> Tree:
    """Return H v, H the Hessian of the sum of the entries of f at w: the pullback of the gradient, since H = H'."""
    _, pullback = vjp(grad(f), w)
    return pullback(v)[0]


def jvp(f: Callable[..., Tree], args: tuple[Tree, ...], tangents: tuple[Tree, ...]) -> tuple[Tree, Tree]:
    """Return f(*args) and its derivative along `tangents`, a tree like `args`.

    Reverse over reverse: the pullback u -> J'u is linear, and its own pullback is v -> J v.
    """
    out, pullback = vjp(f, *args)
    transposed = vjp(pullback, tree_map(_zero_or_none, out))[1]
    (tangent,) = transposed(tuple(tree_map(_float_or_none, t, a) for t, a in zip(tangents, args, strict=True)))
    return out, tangent


def _zero_or_none(x: Any) -> Any:
    return zeros_of(x) if getattr(getattr(x, "dtype", None), "kind", "") == "f" or isinstance(x, float) else None


def _float_or_none(tangent: Any, x: Any) -> Any:
    floats = isinstance(x, float) or getattr(getattr(x, "dtype", None), "kind", "") == "f"
    return np.asarray(tangent) if floats and isinstance(tangent, float) else (tangent if floats else None)


__all__ = ["grad", "hvp", "jvp", "leaves", "ops", "tree_map", "unflatten", "value_and_grad", "vjp"]
