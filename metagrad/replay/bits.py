"""Whether two results have the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree


def same_bits(a: Tree, b: Tree) -> bool:
    """Whether two trees have the same structure, and leaves of the same kind, shape, dtype and bits."""
    xs, ys = ad.leaves(a), ad.leaves(b)
    return len(xs) == len(ys) and all(map(_same, xs, ys)) and ad.paths(a) == ad.paths(b)


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray | np.generic) and isinstance(y, np.ndarray | np.generic):
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    return type(x) is type(y) and bool(x == y)
