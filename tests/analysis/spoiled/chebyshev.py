"""What would be wrong with Chebyshev's schedule and its orders."""

import numpy as np

from metagrad.theory.schedules.chebyshev import ORDERS


def corruptions(config, arrays):
    fractal, large = ORDERS.index("fractal"), ORDERS.index("large_first")
    worst = arrays["worst"]
    prefix, suffix, dense = (arrays[name].copy() for name in ("prefix", "suffix", "dense"))
    grows, leaks = prefix.copy(), dense.copy()
    grows[0, fractal] = 3.0  # a prefix of 1000 at condition 100
    prefix[:, large], suffix[:, large] = 2.0, 0.0
    leaks[-1, fractal] = -6.0
    trace = arrays["trace"].copy()
    trace[:, 0] = 1e-3  # it began at the end
    engine64, engine32, plain = (arrays["engine"].copy() for _ in range(3))
    engine64[1, large, 0, 0] = 1e-6
    engine32[-1, fractal, 1, 0] = 0.1
    plain[[0, -1], large, 1, 1] = plain[[-1, 0], large, 1, 1]  # plain floats have the largest, and lose the smallest
    return {
        "learned_float64": {"worst": worst * np.array([1 + 1e-5, 1.0])},
        "learned_float32": {"worst": worst + np.array([0.0, 1e-4])},
        "line": {"trace": trace},
        "fractal": {"prefix": grows},
        "ordered": {"prefix": prefix, "suffix": suffix},
        "scaled_float64": {"engine": engine64},
        "scaled_float32": {"engine": engine32},
        "plain": {"engine": plain},
        "dense_fractal": {"dense": leaks},
        "dense_other": {"dense": dense - 5.0},
    }
