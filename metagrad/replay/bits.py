"""Whether two results have the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.xp import device_of, to_host


def same_bits(a: Tree, b: Tree, *, any_nan: bool = False) -> bool:
    """Whether two trees have the same structure, and leaves of the same kind, shape, dtype and bits.

    `any_nan`: every NaN is the same one.
    """
    xs, ys = ad.leaves(a), ad.leaves(b)
    if len(xs) != len(ys) or ad.paths(a) != ad.paths(b):
        return False
    return all(_same(_plain(x), _plain(y)) if any_nan else _same(x, y) for x, y in zip(xs, ys, strict=True))


def _plain(x: Any) -> Any:
    """Return x with one NaN for all."""
    if getattr(getattr(x, "dtype", None), "kind", "") == "f" and np.isnan(x).any():
        return np.where(np.isnan(x), x.dtype.type(np.nan), x)
    return x


def _same(x: Any, y: Any) -> bool:
    if (xp := device_of(x)) is not None and xp is device_of(y):
        x, y = to_host(x), to_host(y)
    if isinstance(x, np.ndarray | np.generic) and isinstance(y, np.ndarray | np.generic):
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    return type(x) is type(y) and bool(x == y)
