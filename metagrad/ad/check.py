"""Checking derivatives: reverse against finite differences, forward against reverse, and the Hessian's symmetry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad.ad.api import grad, jvp, vjp
from metagrad.ad.tree import Tree, leaves, tree_map


@dataclass(frozen=True)
class Report:
    """The largest relative errors found: of J'u against finite differences, of <u, Jv> = <J'u, v>, of H = H'."""

    finite_difference: float
    adjoint: float
    hessian: float


def check_gradients(
    f: Callable[..., Any], args: tuple[Tree, ...], *, order: int = 2, tolerance: float = 1e-6, seed: int = 0
) -> Report:
    """Check the derivatives of `f` at `args`, trees of float64 arrays, to `order` 1 or 2; AssertionError where off.

    Along random directions v and for random cotangents u: <u, J v> by central differences with h = 1e-6, by the
    tangent and by the cotangent; for order 2 the same of the gradient, and v'Hw = w'Hv.
    """
    rng = np.random.default_rng(seed)
    first, adjoint = _first_order(f, args, rng, tolerance, "order 1")
    hessian = 0.0
    if order >= 2:

        def slope(*xs: Tree) -> Tree:
            weight = np.cos(np.arange(np.size(leaves(f(*args))[0]))).reshape(np.shape(leaves(f(*args))[0]))
            return _gradients(lambda *ys: np.sum(f(*ys) * weight), xs)

        second, again = _first_order(slope, args, rng, tolerance, "order 2")
        first, adjoint = max(first, second), max(adjoint, again)
        v, w = _like(args, rng), _like(args, rng)
        vHw = _inner(v, jvp(slope, args, w)[1])
        wHv = _inner(w, jvp(slope, args, v)[1])
        hessian = _compare("v'Hw", vHw, "w'Hv", wHv, tolerance, "order 2")
    return Report(first, adjoint, hessian)


def _gradients(f: Callable[..., Any], xs: tuple[Tree, ...]) -> Tree:
    return tuple(grad(f, argnums=i)(*xs) for i in range(len(xs)))


def _first_order(
    f: Callable[..., Any], args: tuple[Tree, ...], rng: np.random.Generator, tolerance: float, what: str
) -> tuple[float, float]:
    out, pullback = vjp(f, *args)
    u, v, h = _like(out, rng), _like(args, rng), 1e-6
    ahead = f(*tree_map(lambda x, d: x + h * d, args, v))
    behind = f(*tree_map(lambda x, d: x - h * d, args, v))
    difference = _inner(u, tree_map(lambda a, b: (a - b) / (2 * h), ahead, behind))
    forward, reverse = _inner(u, jvp(f, args, v)[1]), _inner(pullback(u), v)
    return (
        _compare("reverse", reverse, "finite difference", difference, tolerance, what),
        _compare("reverse", reverse, "forward", forward, 1e-9, what),
    )


def _like(tree: Tree, rng: np.random.Generator) -> Tree:
    return tree_map(lambda x: rng.standard_normal(np.shape(x)), tree)


def _inner(a: Tree, b: Tree) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(leaves(a), leaves(b), strict=True)))


def _compare(name_a: str, a: float, name_b: str, b: float, tolerance: float, what: str) -> float:
    error = abs(a - b) / max(abs(a), abs(b), 1e-3)
    if not error <= tolerance:
        raise AssertionError(f"{what}: {name_a} gives {a!r}, {name_b} gives {b!r}: relative difference {error:.3g}")
    return error
