"""Checking derivatives: reverse against finite differences, forward against reverse, and the Hessian's symmetry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.ad.api import jvp, vjp
from metagrad.ad.tree import Tree, leaves, tree_map, unflatten
from metagrad.errors import bad_value
from metagrad.xp import GRADIENT_TOLERANCE

_STEP = 2.0**-10  # near eps**(1/5), which is best for a difference of order 4
_CANCELLED = 2.0**-10  # beside which a rounding over _STEP is within the tolerance
_MOST_ENTRIES = 64  # of a leaf; more are sampled


@dataclasses.dataclass(frozen=True)
class Report:
    """The largest relative errors found: of J'u against finite differences, of <u, Jv> = <J'u, v>, of H = H'."""

    finite_difference: float
    adjoint: float
    hessian: float


def check_gradients(
    f: Callable[..., Any],
    args: tuple[Tree, ...],
    *,
    order: int = 2,
    tolerance: float = 1e-8,
    seed: int = 0,
    name: str = "f",
) -> Report:
    """Check the derivatives of `f` at `args` to `order` 1 or 2; AssertionError with `name`, leaf, entry and numbers.

    `args` are trees of float64 arrays or floats around which f is smooth. For random u, each entry of J'u against
    the central difference of order 4 of <u, f>, relative to the largest entry of J'u plus |u|'|f|, which limits what
    the difference resolves; <u, Jv> against <J'u, v> to rounding, that of terms as large as |u|'|f| |v|/|x| which may
    have cancelled. For order 2 the same of the map x -> J(x)'u, and
    the symmetry of its Jacobian. Source: derived, checked by tests.

    >>> check_gradients(lambda w: w**3, (np.array([1.0, 2.0]),)).finite_difference < 1e-10
    True
    """
    if order not in (1, 2):
        bad_value("check_gradients", "order", order, "1 or 2")
    rng = np.random.default_rng(seed)
    report, size = _first_order(f, args, rng, tolerance, name)
    if order == 1:
        return report
    u = _like(f(*args), rng)

    def slope(*xs: Tree) -> Tree:
        return vjp(f, *xs)[1](u)

    # What cancels in the gradient is as large as what f is made of: its rounding, over the step of the difference.
    second, _ = _first_order(slope, args, rng, tolerance, f"gradient of {name}", floor=_CANCELLED * size)
    return Report(
        max(report.finite_difference, second.finite_difference),
        max(report.adjoint, second.adjoint),
        _asymmetry(slope, args, rng, name, _CANCELLED * size),
    )


def _first_order(
    f: Callable[..., Any],
    args: tuple[Tree, ...],
    rng: np.random.Generator,
    tolerance: float,
    name: str,
    floor: float = 0.0,
) -> tuple[Report, float]:
    out, pullback = vjp(f, *args)
    u, v = _like(out, rng), _like(args, rng)
    gradient = pullback(u)
    worst = 0.0
    size = _inner(tree_map(np.abs, u), tree_map(np.abs, out)) + floor
    for position, found in enumerate(leaves(gradient)):
        largest = float(np.max(np.abs(found), initial=0.0))
        for entry in _entries(np.shape(found), rng):
            expected = _difference(f, args, u, position, entry)
            error = _relative(float(np.asarray(found)[entry]), expected, largest + size)
            if not error <= tolerance:
                raise AssertionError(
                    f"{name}: leaf {position}, entry {entry}: the VJP gives {np.asarray(found)[entry]!r}, the finite "
                    f"difference {expected!r}; relative error {error:.3g}, at most {tolerance:.3g} expected"
                )
            worst = max(worst, error)
    forward, reverse = _inner(u, jvp(f, args, v)[1]), _inner(gradient, v)
    scale = _inner(tree_map(np.abs, gradient), tree_map(np.abs, v)) + size * _relative_size(v, args)
    return Report(worst, _agree(f"{name}: <u, Jv>", forward, "<J'u, v>", reverse, scale), 0.0), size


def _asymmetry(
    slope: Callable[..., Any], args: tuple[Tree, ...], rng: np.random.Generator, name: str, floor: float
) -> float:
    v, w = _like(args, rng), _like(args, rng)
    g, Hv = jvp(slope, args, v)
    Hw = jvp(slope, args, w)[1]
    scale = sum(
        _inner(tree_map(np.abs, H), tree_map(np.abs, b)) + _inner(tree_map(np.abs, g), tree_map(np.abs, a)) * r
        for H, a, b, r in ((Hv, v, w, _relative_size(w, args)), (Hw, w, v, _relative_size(v, args)))
    )
    scale += floor * _relative_size(v, args) * _relative_size(w, args)
    return _agree(f"{name}: v'Hw", _inner(v, Hw), "w'Hv", _inner(w, Hv), scale)


def _relative_size(v: Tree, args: Tree) -> float:
    """Return how large v is beside the arguments x: terms of J v that cancel are as large as f times that."""
    moved, at = ([float(np.max(np.abs(x), initial=0.0)) for x in leaves(tree)] for tree in (v, args))
    return max((a / x for a, x in zip(moved, at, strict=True) if x), default=0.0)


def _difference(f: Callable[..., Any], args: tuple[Tree, ...], u: Tree, position: int, entry: tuple[int, ...]) -> float:
    """Return d<u, f>/dx by (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h."""

    def at(steps: int) -> Tree:
        moved = [np.array(x) for x in leaves(args)]
        moved[position][entry] += steps * _STEP
        return f(*unflatten(args, moved))

    # Differences before products: what f is large by cancels exactly.
    near, far = tree_map(np.subtract, at(1), at(-1)), tree_map(np.subtract, at(2), at(-2))
    return (8 * _inner(u, near) - _inner(u, far)) / (12 * _STEP)


def _entries(shape: tuple[int, ...], rng: np.random.Generator) -> list[tuple[int, ...]]:
    every = list(np.ndindex(shape))
    if len(every) <= _MOST_ENTRIES:
        return every
    return [every[i] for i in rng.choice(len(every), _MOST_ENTRIES, replace=False)]


def _like(tree: Tree, rng: np.random.Generator) -> Tree:
    return tree_map(lambda x: rng.standard_normal(np.shape(x)), tree)


def _inner(a: Tree, b: Tree) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(leaves(a), leaves(b), strict=True)))


def _relative(a: float, b: float, scale: float) -> float:
    return 0.0 if a == b else abs(a - b) / scale if scale else float("inf")


def _agree(name_a: str, a: float, name_b: str, b: float, scale: float) -> float:
    error = _relative(a, b, scale)
    if not error <= GRADIENT_TOLERANCE["float64"]:
        raise AssertionError(f"{name_a} is {a!r}, {name_b} is {b!r}: relative difference {error:.3g}")
    return error
