"""The Marchenko-Pastur momentum method: the best first-order method on average, a step size and a momentum per step.

The eigenvalues of X'X/n, X (n, d) standard normal, d/n -> gamma, follow the law of Marchenko and Pastur. Of all w_t
whose residual is a polynomial in H, R(H) (w_0 - w*) with R(0) = 1, the least E ||w_t - w*||^2 has the polynomials
that are orthogonal for s dMP(s): Chebyshev's of the second kind (Pedregosa and Scieur 2020, who choose the criterion
likewise). Their recurrence is heavy ball with parameters that change,

    w_{k+1} = w_k - eta_k grad f(w_k) + beta_k (w_k - w_{k-1}),   eta_k = m_{k+1}/m_{k+2},   beta_k = gamma m_k/m_{k+2},

m_j = 1 + gamma + ... + gamma^{j-1}, m_0 = 0, and the risk after t steps is r2 gamma^t/m_{t+1}, r2 = E ||w_0 - w*||^2,
for gamma > 1 with the atom. As k grows (eta, beta) -> (1, gamma), and (1, 1)/gamma for gamma > 1: Polyak's, as b =
sqrt beta and the edges of the law are (1 +- b)^2. Derived; checked by tests against the step-size schedule with the
same polynomial.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.least_squares.checks import checked_ratio
from metagrad.theory.least_squares.marchenko_pastur import atom, rule, unfitted
from metagrad.theory.momentum.last_iterate import objective
from metagrad.theory.numbers.checks import Floats, bad_value, number, one_horizon
from metagrad.theory.quadratic.spectrum import Spectrum


def coefficients(gamma: float, steps: int) -> tuple[Floats, Floats]:
    """Return eta_k and beta_k, k = 0..t-1, each of shape (t,); gamma > 0.

    >>> [x.round(4).tolist() for x in coefficients(0.5, 3)]
    [[0.6667, 0.8571, 0.9333], [0.0, 0.2857, 0.4]]
    """
    t, ratio = one_horizon("coefficients", steps), _one("coefficients", gamma)
    log = np.array([_log_geometric(ratio, j) for j in range(t + 2)])
    return np.exp(log[1:-1] - log[2:]), ratio * np.exp(log[:-2] - log[2:])


def limit_coefficients(gamma: ArrayLike) -> tuple[Floats, Floats]:
    """Return the limits of eta_k and beta_k: 1 and gamma, or 1/gamma both.

    >>> [float(x) for x in limit_coefficients(4.0)]
    [0.25, 0.25]
    """
    ratio = checked_ratio("limit_coefficients", gamma)
    return np.asarray(1 / np.maximum(1.0, ratio), np.float64), np.asarray(np.minimum(ratio, 1 / ratio), np.float64)


def risk(gamma: float, steps: int, *, r2: float = 1.0) -> float:
    """Return E ||w_t - w*||^2 of the method, r2 gamma^t/m_{t+1}: the least of all first-order methods.

    >>> risk(1.0, 3), round(risk(0.5, 2), 12)
    (0.25, 0.142857142857)
    """
    t, ratio, size = one_horizon("risk", steps), _one("risk", gamma), number("risk", "r2", r2)
    return float(size * np.exp(t * np.log(ratio) - _log_geometric(ratio, t + 1)))


def constant_risk(gamma: float, eta: ArrayLike, beta: ArrayLike, steps: int, *, r2: float = 1.0) -> Floats:
    """Return E ||w_t - w*||^2 of heavy ball with constant eta and beta under the same law, exactly.

    r_t^2 is a polynomial of degree 2t in s, which is 1 at s = 0: the rule of t + 1 nodes takes (r_t^2 - 1)/s exactly,
    and what it misses of 1/s is known (`least_squares.marchenko_pastur`).
    """
    t, ratio, size = (
        one_horizon("constant_risk", steps),
        _one("constant_risk", gamma),
        number("constant_risk", "r2", r2),
    )
    nodes, weights = rule(ratio, t + 1)
    spectrum = Spectrum(nodes, weights / nodes)
    fitted = objective("heavy_ball", spectrum, eta, beta, t, measure="squared_norm").to_float(ieee=True)
    return np.asarray(size * (fitted + float(unfitted(ratio, t + 1)[1])), np.float64)


def best_constant(gamma: float, steps: int) -> tuple[float, float, float]:
    """Return the constant eta and beta of the least risk at horizon t, and that risk for r2 = 1; gamma <= 1."""
    t, ratio = one_horizon("best_constant", steps), _one("best_constant", gamma)
    if float(atom(ratio)) > 0:
        bad_value("best_constant", "gamma", gamma, "at most 1: an atom at 0 is out of the reach of any method")
    from metagrad.theory.momentum.optimal import best

    nodes, weights = rule(ratio, t + 1)
    found = best("heavy_ball", Spectrum(nodes, weights / nodes), t, measure="squared_norm")
    return float(found.eta), float(found.beta), float(constant_risk(ratio, found.eta, found.beta, t))


def _one(function: str, gamma: float) -> float:
    ratio = number(function, "gamma", gamma)
    return float(checked_ratio(function, ratio))


def _log_geometric(ratio: float, count: int) -> float:
    """Return log(1 + gamma + ... + gamma^{count-1}); -inf for count = 0."""
    if count == 0:
        return -np.inf
    x = np.log(ratio)
    if x == 0:
        return float(np.log(count))
    large = max(x, 0.0) * (count - 1)
    return float(large + np.log(np.expm1(-abs(x) * count) / np.expm1(-abs(x))))
