"""What a pullback's program computes beside the adjoint: the adjoint with the term's gradient, and sums for digits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.xp import Array

Pair = tuple[Tree, Tree]  # (w, state)


def with_term(pulled: Pair, slope: Tree, factor: Array) -> Pair:
    """Return an adjoint with what a term gives to that of w, slope times factor (B,)."""
    w_bar = pulled[0]
    if type(w_bar) is np.ndarray and type(slope) is np.ndarray:
        return w_bar + slope * along_tasks(factor, slope), pulled[1]
    return ad.tree_map(lambda x, s: x + s * along_tasks(factor, s) if is_float(x) else x, w_bar, slope), pulled[1]


class Sums(NamedTuple):
    """Sums over the entries of |adjoint w| at a step, w that before it, (B,), or of several, (n, B).

    By them the growth of roundings is judged (`metagrad.unroll.growth`).
    """

    pulled: Array  # of the adjoint that the step was pulled back to
    given: Array  # of the one after the step
    after: Array | None  # of the first with a term


def products(a: Array, w: Array, lead: int = 1) -> Array:
    """Return sum_i |a_i w_i| over all axes but the first `lead`, in the order in which a program does it, too."""
    size = np.abs(a * w)
    return size.reshape((*size.shape[:lead], -1)).sum(axis=lead) if size.ndim > lead else size


def sums_of(adjoint: Tree, w: Tree) -> Array:
    """Return the sum of |adjoint w| over all entries, (B,)."""
    found = ad.leaves(ad.tree_map(lambda a, x: products(a, x) if is_float(a) else None, adjoint, w))
    return sum(found[1:], found[0])


def is_float(x: Any) -> bool:
    """Whether x is an array of floats with axes."""
    return getattr(getattr(x, "dtype", None), "kind", "") == "f" and np.ndim(x) > 0


def along_tasks(factor: Array, leaf: Array) -> Array:
    """Return `factor` (B,) shaped to broadcast against `leaf` (B, ...)."""
    return factor.reshape(factor.shape + (1,) * (leaf.ndim - 1))
