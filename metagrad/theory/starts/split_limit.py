"""The error of a start learned with and without a split, for many samples and inputs, d/n -> gamma: also with ridge.

The table of `split` with c = 1, where tr f(S)/d tends to the integral of f over the Marchenko-Pastur law, so that
m(f, g) = m(f) m(g) and 1/n_2 falls away, d/n_2 does not:

    without a split     V = [signal^2 m(s^2 b^4) + sigma^2 gamma m(s b^4)]/m(s b^2)^2
    with n_1 + n_2      V = [signal^2 (m(b^4) + g_2 m(b^2)^2) + sigma^2 (g_1 (m(b^2 q) + g_2 m(b^2) m(q)) + g_2 m(b^2))]
                            /m(b^2)^2,      q = (1 - b)^2/s, the law that of g_1

g_1 = d/n_1, g_2 = d/n_2. b = (1 - alpha s)^k for k steps of size alpha, b = delta/(s + delta) for ridge regression
towards the start with the decay delta: w = argmin |Xw - y|^2/(2n) + (delta/2)|w - phi|^2, as in Bai et al. 2021.
What no way of learning from the same samples can beat, of all that are linear in y and right in the mean, is the
generalised least squares estimate (Gauss and Markov), V = 1/m(s/(signal^2 s + sigma^2 gamma)); without noise that is
signal^2 max(1, gamma). The integrals are Gauss-Chebyshev sums: exact for steps, and with an error that is exponentially
small in sqrt(delta) times the nodes for ridge. Derived; checked by tests against `split` at n, d -> infinity and
against adaptive integration.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from metagrad.theory.least_squares.marchenko_pastur import rule
from metagrad.theory.numbers.checks import Floats, bad_value, number, one_horizon

_NODES = 4000


def steps_limit(
    gamma: float, alpha: float, steps: int, *, share: float | None = None, sigma: float = 0.0, signal: float = 1.0
) -> float:
    """Return V of k = `steps` steps of size alpha. `share`: None, or the part n_1/n that is adapted to, 0 to 1.

    >>> round(steps_limit(1.0, 0.0, 1, share=0.0), 12), round(steps_limit(1.0, 0.0, 1), 12)
    (2.0, 2.0)
    """
    size, k = number("steps_limit", "alpha", alpha), one_horizon("steps_limit", steps)
    return _limit(
        "steps_limit", gamma, lambda s: (1 - size * s) ** k, k * (6 if share is None else 4), share, sigma, signal
    )


def ridge_limit(
    gamma: float, decay: float, *, share: float | None = None, sigma: float = 0.0, signal: float = 1.0
) -> float:
    """Return V of ridge regression towards the start, `decay` = delta >= 1e-4. `share`: as in `steps_limit`.

    >>> round(ridge_limit(1.0, 1.0), 6), round(ridge_limit(1.0, 1.0, share=0.5), 6)
    (1.226099, 3.474874)
    """
    delta = number("ridge_limit", "decay", decay)
    if delta < 1e-4:
        bad_value("ridge_limit", "decay", delta, "a number of at least 1e-4", "The sums need a decay to converge.")
    return _limit("ridge_limit", gamma, lambda s: delta / (s + delta), _NODES, share, sigma, signal)


def least_error(gamma: float, *, sigma: float = 0.0, signal: float = 1.0) -> float:
    """Return V of the best linear unbiased estimate of the mean of the tasks.

    >>> round(least_error(0.5), 9), round(least_error(2.0), 9)
    (1.0, 2.0)
    """
    ratio, noise, size = _checked("least_error", gamma, sigma, signal)
    if not size:
        bad_value("least_error", "signal", size, "a number above 0")
    if not noise:
        return size**2 * max(1.0, ratio)
    s, weights = rule(ratio, _NODES)
    return float(1 / (weights @ (1 / (size**2 * s + noise**2 * ratio))))


def _limit(
    where: str,
    gamma: float,
    kept: Callable[[Floats], Floats],
    nodes: int,
    share: float | None,
    sigma: float,
    signal: float,
) -> float:
    ratio, noise, size = _checked(where, gamma, sigma, signal)
    if share is None:
        s, weights = rule(ratio, nodes + 2)
        b = kept(s)
        kappa = weights @ b**2
        return float((size**2 * (weights @ (s * b**4)) + noise**2 * ratio * (weights @ b**4)) / kappa**2)
    part = number(where, "share", share)
    if not 0 <= part < 1:
        bad_value(where, "share", part, "a share from 0 to below 1", "None is for no split.")
    held = ratio / (1 - part)
    if part == 0:
        return float(size**2 * (1 + held) + noise**2 * held)
    first = ratio / part
    s, weights = rule(first, nodes + 2)
    b = kept(s)
    q = (1 - b) ** 2 / s

    def mean(f: Floats, at_zero: float) -> float:
        """Return the integral of f over the law, its atom at 0 included."""
        return float(at_zero + weights @ ((f - at_zero) / s))

    kept2, kept4, moved, both = mean(b**2, 1.0), mean(b**4, 1.0), mean(q, 0.0), mean(b**2 * q, 0.0)
    of_signal = kept4 + held * kept2**2
    of_noise = first * (both + held * kept2 * moved) + held * kept2
    return float((size**2 * of_signal + noise**2 * of_noise) / kept2**2)


def _checked(where: str, gamma: ArrayLike, sigma: float, signal: float) -> tuple[float, float, float]:
    ratio, noise, size = number(where, "gamma", gamma), number(where, "sigma", sigma), number(where, "signal", signal)
    if ratio <= 0:
        bad_value(where, "gamma", ratio, "a number above 0")
    for name, value in (("sigma", noise), ("signal", size)):
        if value < 0:
            bad_value(where, name, value, "a number of at least 0")
    return ratio, noise, size
