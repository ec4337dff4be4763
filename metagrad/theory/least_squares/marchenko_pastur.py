"""The Marchenko-Pastur law, and quadrature rules that are exact for what gradient descent asks of it.

X (n, d) with independent standard normal entries, d/n -> gamma: the eigenvalues s of X'X/n fill the interval
[(1 - sqrt gamma)^2, (1 + sqrt gamma)^2], and (1/d) sum_j q(s_j) -> integral q dMP, with an atom of 1 - 1/gamma at
s = 0 for gamma > 1.

The measure s dMP(s) = sqrt((s_+ - s)(s - s_-)) ds/(2 pi gamma) has no atom, and is the weight of the Chebyshev
polynomials of the second kind. So with theta_j = j pi/(N + 1), j = 1..N,

    s_j = 1 + gamma + 2 sqrt(gamma) cos theta_j,    w_j = 2 sin^2(theta_j)/(N + 1):
    sum_j w_j q(s_j) = integral q(s) s dMP(s)

exactly, for every polynomial q of degree up to 2N - 1. After t steps everything here is such a polynomial. On 1/s the
rule is not exact, but its error is a geometric sum: with m = 1 + gamma + ... + gamma^N,

    1 - gamma sum_j w_j/s_j = 1/m,    1 - sum_j w_j/s_j = gamma^N/m;

for N -> infinity these are the part of the targets that no w can fit, max(0, 1 - gamma), and the atom. Source:
Marchenko and Pastur 1967 (the law); the rule is Gauss-Chebyshev quadrature, the two sums are derived; checked by tests
against exact moments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.checks import checked_ratio
from metagrad.theory.numbers.checks import Floats, check_memory, count, finite_floats


def edges(gamma: ArrayLike) -> tuple[Floats, Floats]:
    """Return s_- = (1 - sqrt gamma)^2 and s_+ = (1 + sqrt gamma)^2; gamma > 0.

    >>> [float(s) for s in edges(0.25)]
    [0.25, 2.25]
    """
    ratio = checked_ratio("edges", gamma)
    root = np.sqrt(ratio)
    # 1 - sqrt(gamma) = (1 - gamma)/(1 + sqrt(gamma)) keeps its digits next to gamma = 1
    return np.asarray(((1 - ratio) / (1 + root)) ** 2, np.float64), np.asarray((1 + root) ** 2, np.float64)


def atom(gamma: ArrayLike) -> Floats:
    """Return the part of the eigenvalues that are 0: max(0, 1 - 1/gamma)."""
    return np.asarray(np.maximum(0.0, 1 - 1 / checked_ratio("atom", gamma)), np.float64)


def density(s: ArrayLike, gamma: ArrayLike) -> Floats:
    """Return the density of the eigenvalues at s > 0: sqrt((s_+ - s)(s - s_-))/(2 pi gamma s), 0 outside the edges."""
    x, ratio = finite_floats("density", "s", s), checked_ratio("density", gamma)
    low, high = edges(ratio)
    inside = (x > low) & (x < high)
    safe = np.where(inside, x, 1.0)
    shape = np.sqrt(np.maximum((high - safe) * (safe - low), 0.0)) / (2 * np.pi * ratio * safe)
    return np.asarray(np.where(inside, shape, 0.0), np.float64)


def rule(gamma: ArrayLike, size: int) -> tuple[Floats, Floats]:
    """Return the nodes s_j (..., N) and weights w_j (N,) of s dMP(s), N = `size`, exact up to degree 2N - 1.

    The nodes keep their relative accuracy at the lower edge: s_j = (1 - sqrt gamma)^2 + 4 sqrt(gamma) cos^2(theta_j/2).
    ValueError unless gamma > 0 and size >= 1.
    """
    _check_size("rule", size)
    ratio = checked_ratio("rule", gamma)[..., None]
    theta = np.arange(size, 0, -1) * np.pi / (size + 1)
    # cos(theta/2) of theta near pi, and sin(theta), through the distance from pi: no cancellation
    left = np.arange(1, size + 1) * np.pi / (size + 1)
    nodes = edges(ratio)[0] + 4 * np.sqrt(ratio) * np.sin(left / 2) ** 2
    weights = 2 * np.sin(np.minimum(theta, left)) ** 2 / (size + 1)
    return np.asarray(nodes, np.float64), np.asarray(weights, np.float64)


def unfitted(gamma: ArrayLike, size: int) -> tuple[Floats, Floats]:
    """Return 1 - gamma sum_j w_j/s_j and 1 - sum_j w_j/s_j of the rule of N = `size` nodes, without cancellation.

    >>> [float(x) for x in unfitted(1.0, 3)]
    [0.25, 0.25]
    """
    _check_size("unfitted", size)
    log = np.log(checked_ratio("unfitted", gamma))
    with np.errstate(over="ignore", invalid="ignore"):
        targets = np.where(log == 0, 1 / (size + 1), np.expm1(log) / np.expm1((size + 1) * log))
        weights = np.where(log == 0, 1 / (size + 1), np.expm1(-log) / np.expm1(-(size + 1) * log))
    return np.asarray(targets, np.float64), np.asarray(weights, np.float64)


def _check_size(function: str, size: int) -> None:
    nodes = count(function, "size", size)
    check_memory(function, "size", size, nodes, "Long horizons have closed forms of their own: see `generalization`.")
