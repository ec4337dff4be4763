"""One step of gradient descent on one quadratic, and its pullback, compiled (needs the extra `fast`, which is Numba).

    dense      all of H, four rows at a time: for matrices that stay in a cache
    symmetric  one half of H, eight rows at a time: each entry serves twice, so that half of the bytes are read; for
               matrices that do not stay there, where reading is all there is to do
    diagonal   a vector of eigenvalues

A step writes x - rate H x to `out` and returns the sum of its magnitudes; a pullback returns w . (H v) besides.
"""

from __future__ import annotations

from typing import Any

from numba import njit

# Fused multiply-adds and sums in any order; infinities and NaN keep their meaning.
FAST = {"contract", "reassoc", "nsz"}


@njit(inline="always")
def dense_step(H: Any, x: Any, rate: Any, out: Any) -> Any:
    """Write x - rate H x to `out` and return the sum of its magnitudes; four rows at a time, one pass over x."""
    d, zero = x.shape[0], x.dtype.type(0)
    whole, total = d - d % 4, zero
    for i in range(0, whole, 4):
        r0, r1, r2, r3 = H[i], H[i + 1], H[i + 2], H[i + 3]
        s0 = s1 = s2 = s3 = zero
        for j in range(d):
            s0 += r0[j] * x[j]
            s1 += r1[j] * x[j]
            s2 += r2[j] * x[j]
            s3 += r3[j] * x[j]
        y0, y1, y2, y3 = x[i] - rate * s0, x[i + 1] - rate * s1, x[i + 2] - rate * s2, x[i + 3] - rate * s3
        out[i], out[i + 1], out[i + 2], out[i + 3] = y0, y1, y2, y3
        total += (abs(y0) + abs(y1)) + (abs(y2) + abs(y3))
    for i in range(whole, d):
        row, s0 = H[i], zero
        for j in range(d):
            s0 += row[j] * x[j]
        out[i] = x[i] - rate * s0
        total += abs(out[i])
    return total


@njit(inline="always")
def dense_pull(H: Any, v: Any, rate: Any, w: Any, out: Any) -> Any:
    """Write v - rate H v to `out`; return w . (H v) and the sum of the magnitudes of `out`."""
    d, zero = v.shape[0], v.dtype.type(0)
    whole, total, inner = d - d % 4, zero, zero
    for i in range(0, whole, 4):
        r0, r1, r2, r3 = H[i], H[i + 1], H[i + 2], H[i + 3]
        s0 = s1 = s2 = s3 = zero
        for j in range(d):
            s0 += r0[j] * v[j]
            s1 += r1[j] * v[j]
            s2 += r2[j] * v[j]
            s3 += r3[j] * v[j]
        out[i], out[i + 1], out[i + 2], out[i + 3] = s0, s1, s2, s3
    for i in range(whole, d):
        row, s0 = H[i], zero
        for j in range(d):
            s0 += row[j] * v[j]
        out[i] = s0
    for i in range(d):
        product = out[i]
        inner += w[i] * product
        out[i] = v[i] - rate * product
        total += abs(out[i])
    return inner, total


@njit(fastmath=FAST, error_model="numpy")
def symmetric_product(H: Any, x: Any, out: Any) -> None:
    """Write H x to `out`, from the entries of H below the diagonal and those of the 8 by 8 blocks along it."""
    d, zero = x.shape[0], x.dtype.type(0)
    for i in range(d):
        out[i] = zero
    whole = d - d % 8
    for i in range(0, whole, 8):
        r0, r1, r2, r3 = H[i], H[i + 1], H[i + 2], H[i + 3]
        r4, r5, r6, r7 = H[i + 4], H[i + 5], H[i + 6], H[i + 7]
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        x4, x5, x6, x7 = x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zero
        for j in range(i):  # every entry serves in its row and, as that of its mirror image, in its column
            y = x[j]
            s0 += r0[j] * y
            s1 += r1[j] * y
            s2 += r2[j] * y
            s3 += r3[j] * y
            s4 += r4[j] * y
            s5 += r5[j] * y
            s6 += r6[j] * y
            s7 += r7[j] * y
            upper = (r0[j] * x0 + r1[j] * x1) + (r2[j] * x2 + r3[j] * x3)
            out[j] += upper + ((r4[j] * x4 + r5[j] * x5) + (r6[j] * x6 + r7[j] * x7))
        for j in range(i, i + 8):
            y = x[j]
            s0 += r0[j] * y
            s1 += r1[j] * y
            s2 += r2[j] * y
            s3 += r3[j] * y
            s4 += r4[j] * y
            s5 += r5[j] * y
            s6 += r6[j] * y
            s7 += r7[j] * y
        out[i], out[i + 1], out[i + 2], out[i + 3] = s0, s1, s2, s3
        out[i + 4], out[i + 5], out[i + 6], out[i + 7] = s4, s5, s6, s7
    for i in range(whole, d):
        row, xi, s0 = H[i], x[i], zero
        for j in range(i):
            s0 += row[j] * x[j]
            out[j] += row[j] * xi
        out[i] = s0 + row[i] * xi


@njit(fastmath=FAST, error_model="numpy")
def symmetric_step(H: Any, x: Any, rate: Any, out: Any) -> Any:
    """`dense_step` for a large H."""
    symmetric_product(H, x, out)
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        out[i] = x[i] - rate * out[i]
        total += abs(out[i])
    return total


@njit(fastmath=FAST, error_model="numpy")
def symmetric_pull(H: Any, v: Any, rate: Any, w: Any, out: Any) -> Any:
    """`dense_pull` for a large H."""
    symmetric_product(H, v, out)
    inner = total = v.dtype.type(0)
    for i in range(v.shape[0]):
        product = out[i]
        inner += w[i] * product
        out[i] = v[i] - rate * product
        total += abs(out[i])
    return inner, total


@njit(inline="always")
def diagonal_step(eigenvalues: Any, x: Any, rate: Any, out: Any) -> Any:
    """`dense_step` for a diagonal H."""
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        out[i] = x[i] - rate * (eigenvalues[i] * x[i])
        total += abs(out[i])
    return total


@njit(inline="always")
def diagonal_pull(eigenvalues: Any, v: Any, rate: Any, w: Any, out: Any) -> Any:
    """`dense_pull` for a diagonal H."""
    inner = total = v.dtype.type(0)
    for i in range(v.shape[0]):
        product = eigenvalues[i] * v[i]
        inner += w[i] * product
        out[i] = v[i] - rate * product
        total += abs(out[i])
    return inner, total


@njit(fastmath=FAST, error_model="numpy")
def extremes(x: Any) -> Any:
    """Return the smallest and the largest magnitude in x (n,), in one pass; NaN may be passed over."""
    low = high = abs(x[0])
    for i in range(1, x.shape[0]):
        size = abs(x[i])
        low, high = min(low, size), max(high, size)
    return low, high
