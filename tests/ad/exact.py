"""Derivatives of functions of one number by mpmath, to compare with."""

import mpmath
import numpy as np

from metagrad import ad


def spread(stream, low, high, count=8):
    """Return numbers from low to high, all sizes as often."""
    return 10.0 ** stream.uniform(np.log10(low), np.log10(high), count)


def assert_derivatives_are_exact(function, exact, points, tolerance=(1e-12, 1e-12), digits=700):
    """Hold the first and second derivative against differences of mpmath with so many digits."""
    first = ad.grad(lambda x: np.sum(function(x)))
    second = ad.grad(lambda x: np.sum(first(x)))
    with mpmath.workdps(digits):
        for x, *found in zip(points, first(points), second(points), strict=True):
            at, step = mpmath.mpf(float(x)), abs(mpmath.mpf(float(x))) * mpmath.mpf(10) ** -18
            below, here, above = (exact(at + k * step) for k in (-1, 0, 1))
            right = ((above - below) / (2 * step), (above - 2 * here + below) / step**2)
            for order, (came, expected, most) in enumerate(zip(found, right, tolerance, strict=True), start=1):
                if abs(expected) > 1e-290:  # below, a float has fewer digits
                    error = abs((mpmath.mpf(float(came)) - expected) / expected)
                    assert error <= most, f"order {order} at {x!r}: {came!r}, relative error {float(error):.2g}"
