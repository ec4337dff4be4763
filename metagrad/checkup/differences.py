"""Derivatives along a line against finite differences, with steps and tolerances that fit the dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import float_info

_SURE = 10.0  # what differences are off by may be this much more than it looks
_STEPS = (1.0, 0.5, 0.25)


class Agreement(NamedTuple):
    """How far a derivative and the differences agree: digits, the two numbers where they do so least, and whether."""

    digits: float
    came: float
    expected: float
    ok: bool
    resolved: bool  # whether the differences tell anything


def along(function: Callable[[Tree], Any], at: Tree, direction: Tree, derivative: Any, scale: Any) -> Agreement:
    """Compare `derivative`, that of `function` along `direction`, with differences; (B,) or numbers.

    Central differences of order 4 at three steps near eps**(1/5), which is the best one for that order. What they are
    off by is judged by how far they agree among each other, and by what rounding makes of them. In float32 and float16
    the function is asked in float64, where it gives that. `scale`: what the difference is relative to.
    """
    narrow = next(leaf for leaf in ad.leaves(at) if _is_float(leaf)).dtype
    wide = _widened(function, at)
    place, dtype = (at, narrow) if wide is None else (wide, np.dtype(np.float64))
    h = float_info(dtype).eps ** 0.2
    found, rounding = [], 0.0
    for part in _STEPS:
        values = [_float64(function(_stepped(place, direction, k * part * h))) for k in (1, -1, 2, -2)]
        rounding = float_info(dtype).eps * np.max(np.abs(values), axis=0) / (part * h)
        found.append((8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * part * h))
    best = found[1]
    off = np.max(np.abs([one - best for one in found]), axis=0) + 4 * rounding
    came, scale = _float64(derivative), np.maximum(_float64(scale), np.abs(best))
    apart = np.abs(came - best)
    allowed = _SURE * off + 10 * float_info(narrow).eps ** 0.5 * scale
    known = np.isfinite(best) & np.isfinite(off) & np.isfinite(came)
    worst = int(np.argmax(np.where(known, apart / np.where(allowed > 0, allowed, 1.0), 0.0)))
    relative = np.where(known & (scale > 0), apart / np.where(scale > 0, scale, 1.0), 0.0)
    digits = min(-np.log10(float_info(narrow).eps), -np.log10(max(float(relative.max()), 1e-17)))
    fails = known & (apart > allowed)
    resolved = bool((known & (off < 0.1 * scale) | (scale == 0)).any())
    return Agreement(float(max(digits, 0.0)), float(came[worst]), float(best[worst]), not fails.any(), resolved)


def _float64(x: Any) -> Any:
    return np.atleast_1d(np.asarray(x, dtype=np.float64))


def _is_float(leaf: Any) -> bool:
    return getattr(getattr(leaf, "dtype", None), "kind", "") == "f"


def _stepped(at: Tree, direction: Tree, h: float) -> Tree:
    return ad.tree_map(lambda x, v: (x + x.dtype.type(h) * v.astype(x.dtype)) if _is_float(x) else x, at, direction)


def _widened(function: Callable[[Tree], Any], at: Tree) -> Tree | None:
    """Return the place in float64, where the function computes in it then; None where it does not, or at once."""
    if all(leaf.dtype == np.float64 for leaf in ad.leaves(at) if _is_float(leaf)):
        return None
    wide = ad.tree_map(lambda x: x.astype(np.float64) if _is_float(x) else x, at)
    try:
        found = function(wide)
    except Exception:  # code that takes its own dtype alone, whatever it raises: looked at in that one
        return None
    return wide if getattr(found, "dtype", None) == np.float64 and np.all(np.isfinite(found)) else None


def signs(tree: Tree, draw: np.random.Generator, size: Callable[[Any], Any]) -> Tree:
    """Return a direction like a tree of floats: signs at random, times the size of each entry."""
    return ad.tree_map(
        lambda x: (
            (draw.choice([-1.0, 1.0], np.shape(x)) * size(np.asarray(x, dtype=np.float64))) if _is_float(x) else x
        ),
        tree,
    )


def product(a: Tree, b: Tree) -> Any:
    """Return the inner product of two trees, task by task, and that of their sizes."""
    pairs = [(np.asarray(x, float), np.asarray(y, float)) for x, y in zip(ad.leaves(a), ad.leaves(b), strict=True)]
    rows = [(x * y).reshape(len(x), -1) for x, y in pairs if x.ndim]
    return sum(r.sum(axis=1) for r in rows), sum(np.abs(r).sum(axis=1) for r in rows)


__all__ = ["Agreement", "along", "is_float_array", "product", "signs"]
