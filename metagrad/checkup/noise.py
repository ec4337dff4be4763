"""Arithmetic with every result moved by one float, up or down at random: it shows how many digits a function loses.

A function that subtracts nearly equal numbers inside returns few digits, however exact its inputs are. Where every
operation is a float off, so that rounding is at work everywhere, two results differ in the digits that are lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.unroll.rescale import is_float_array

_DRAWS = 4
# Functions that add products inside, and are no ufuncs.
_PRODUCTS = frozenset({np.einsum, np.dot, np.inner, np.vdot, np.outer, np.linalg.norm})


class Noisy(np.ndarray):
    """An array whose ufuncs return the float next to their result, above or below."""

    draw: np.random.Generator = np.random.default_rng(0)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute in plain arrays and move the results."""
        plain = [_plain(x) for x in inputs]
        outs = options.pop("out", None)
        if outs is not None:
            options["out"] = tuple(_plain(x) for x in outs)
        found = getattr(ufunc, method)(*plain, **options)
        if outs is not None:
            for out in outs:
                _plain(out)[...] = moved(_plain(out))
            return outs[0] if len(outs) == 1 else outs
        return tuple(map(_noisy, found)) if isinstance(found, tuple) else _noisy(found)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        """Let NumPy compute, and move what comes of products."""
        found = super().__array_function__(function, types, args, options)
        return _noisy(found) if function in _PRODUCTS else found


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, Noisy) else x


def _noisy(x: Any) -> Any:
    if getattr(getattr(x, "dtype", None), "kind", "") != "f":
        return x
    return np.asarray(moved(_plain(x))).view(Noisy)


def moved(x: Any) -> Any:
    """Return the floats next to x, above or below at random; zero stays, which is exact more often than not."""
    up = Noisy.draw.integers(0, 2, np.shape(x)).astype(bool)
    return np.where(
        x == 0, x, np.where(up, np.nextafter(x, np.inf, dtype=x.dtype), np.nextafter(x, -np.inf, dtype=x.dtype))
    )


def digits_kept(function: Callable[[Tree], Tree], w: Tree) -> float:
    """Return how many decimal digits of function(w) rounding inside of it leaves, the least over its tasks.

    Relative to the largest entry of a task, for what leads with tasks.
    """
    exact = [np.asarray(x) for x in ad.leaves(function(w)) if is_float_array(x)]
    worst = 0.0
    for copy in range(_DRAWS):
        Noisy.draw = np.random.default_rng(copy)
        noisy = ad.tree_map(lambda leaf: leaf.view(Noisy) if is_float_array(leaf) else leaf, w)
        found = [_plain(x) for x in ad.leaves(function(noisy))]
        for x, y in zip([f for f in found if is_float_array(f)], exact, strict=True):
            a, b = (v.astype(np.float64).reshape(len(y), -1) for v in (x, y))
            top = np.max(np.abs(b), axis=1)
            apart = np.max(np.abs(a - b), axis=1)
            relative = np.divide(apart, top, out=np.zeros_like(apart), where=(top > 0) & np.isfinite(apart))
            worst = max(worst, float(relative.max(initial=0.0)))
    full = -np.log10(np.finfo(exact[0].dtype).eps)
    return float(full if worst == 0 else max(0.0, min(full, -np.log10(worst))))
