"""The quadratics of the benchmarks: H = X'X/d with X and w0 standard normal, so that eigenvalues lie in (0, 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def quadratics(batch: int, d: int, seed: int = 0, dtype: Any = np.float64) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return H (B, d, d), exactly symmetric, and w0 (B, d)."""
    stream = np.random.default_rng(np.random.SeedSequence([seed, batch, d]))
    X = stream.standard_normal((batch, d, d))
    H = np.matmul(X.transpose(0, 2, 1), X) / d
    w0 = stream.standard_normal((batch, d))
    return ((H + H.transpose(0, 2, 1)) / 2).astype(dtype), w0.astype(dtype)
