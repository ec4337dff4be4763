"""What heavy ball and Nesterov make of one mode: r_t = w_t/w_0 and its derivatives in h = eta lambda and beta.

    heavy ball   w_{k+1} = w_k - eta grad f(w_k) + beta (w_k - w_{k-1})
                 tau = 1 + beta - h,  delta = beta
    Nesterov     w_{k+1} = y_k - eta grad f(y_k),  y_k = w_k + beta (w_k - w_{k-1})
                 tau = (1 + beta)(1 - h),  delta = beta (1 - h)

from w_{-1} = w_0 (Polyak 1964; Nesterov 1983 with a constant beta). Nesterov has two iterates to be measured, w_t and
the point y_t where the next gradient is taken; libraries, the engine here among them, hold y_t as their parameters.
With P, Q, S of `lucas`, and D = 1 - tau x + delta x^2:

| rule              | r_t                    | generating function | d/dh                    | d/dbeta            |
|-------------------|------------------------|---------------------|-------------------------|--------------------|
| `heavy_ball`      | P_t - beta P_{t-1}     | (1 - beta x)/D      | -(Q_t - beta Q_{t-1})   | -h Q_{t-1}         |
| `nesterov`        | P_t - delta P_{t-1}    | (1 - delta x)/D     | -(Q_t - beta Q_{t-1})   | -h (1 - h) Q_{t-1} |
| `nesterov_ahead`  | P_t - beta P_{t-1}     | (1 - beta x)/D      | the chain rule          | -h Q_t             |

The short derivatives follow from 1 - tau + delta = h. Derived; `symbolic` derives them again from the recursions.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from metagrad.theory.momentum._wide import Wide
from metagrad.theory.momentum.lucas import sequences
from metagrad.theory.numbers.checks import Floats, bad_value

Rule = Literal["heavy_ball", "nesterov", "nesterov_ahead"]
RULES = ("heavy_ball", "nesterov", "nesterov_ahead")
_CHUNK = 1 << 13  # modes at once: what they take stays in the cache
_CANCELS = 1e12  # beta/h up to which 66 of 106 bits are left


class Iterates(NamedTuple):
    """r_t of all modes, and the derivatives in h and beta that were asked for, each of shape (..., d)."""

    r: Wide
    h: Wide | None = None
    beta: Wide | None = None
    h_h: Wide | None = None
    h_beta: Wide | None = None
    beta_beta: Wide | None = None


def check_digits(function: str, eta: Floats, eigenvalues: Floats, beta: Floats, log_kappa: Floats) -> None:
    """Raise ValueError where |beta| > 1 and beta/h cancels the digits of a mode that counts; arrays of one shape."""
    with np.errstate(over="ignore", under="ignore"):
        h = eta * eigenvalues
    cancels = (np.abs(beta) > 1) & (np.abs(beta) / _CANCELS > np.abs(h)) & (log_kappa > -np.inf)
    if np.any(cancels):
        came = f"{beta[cancels][0]:.6g} beside h = {h[cancels][0]:.6g}"
        bad_value(function, "beta", came, f"a number within 1, or within {_CANCELS:g} h in every mode")


def iterates(rule: Rule, eta: Floats, eigenvalues: Floats, beta: Floats, steps: int, order: int) -> Iterates:
    """Return r_t and its derivatives up to `order` (0, 1, 2); the three arrays have one shape.

    eta, the eigenvalues and beta count as exact numbers: h is their product without rounding.
    """
    shape = eta.shape
    a, b, c = (np.ravel(x) for x in (eta, eigenvalues, beta))
    chunks = [slice(at, at + _CHUNK) for at in range(0, max(1, a.size), _CHUNK)]
    parts = [_iterates(rule, a[part], b[part], c[part], steps, order) for part in chunks]
    return Iterates(*(_joined(part, shape) for part in zip(*parts, strict=True) if part[0] is not None))


def _joined(parts: tuple[Wide, ...], shape: tuple[int, ...]) -> Wide:
    names = ("high", "low", "power")
    return Wide(*(np.concatenate([getattr(part, name) for part in parts]).reshape(shape) for name in names))


def _iterates(rule: Rule, eta: Floats, eigenvalues: Floats, beta: Floats, steps: int, order: int) -> Iterates:
    b, h, one = Wide.of(beta), Wide.of(eta) * Wide.of(eigenvalues), Wide.of(np.ones(beta.shape))
    left = one - h
    tau, delta = (one + b - h, b) if rule == "heavy_ball" else ((one + b) * left, b * left)
    P, P1, P2, P3 = sequences(tau, delta, steps, order)
    r = P[0] - (delta if rule == "nesterov" else b) * P1[0]
    if order == 0:
        return Iterates(r)
    if rule == "heavy_ball":
        return _heavy_ball(order, r, h, b, (P, P1, P2))
    return (_nesterov if rule == "nesterov" else _ahead)(order, r, h, b, (P, P1, P2, P3))


def _heavy_ball(order: int, r: Wide, h: Wide, b: Wide, P: tuple[Wide, ...]) -> Iterates:
    Q, Q1 = P[0][1], P[1][1]
    first = r, b * Q1 - Q, -(h * Q1)
    if order == 1:
        return Iterates(*first)
    S, S1, S2 = (x[2].doubled() for x in P)  # dQ_n/ddelta = -S_{n-1}
    return Iterates(*first, S - b * S1, h * S1 - Q1, h * (S2 - S1))


def _nesterov(order: int, r: Wide, h: Wide, b: Wide, P: tuple[Wide, ...]) -> Iterates:
    one = Wide.of(np.ones(h.shape))
    left, Q, Q1 = one - h, P[0][1], P[1][1]
    first = r, b * Q1 - Q, -(h * left * Q1)
    if order == 1:
        return Iterates(*first)
    S, S1, S2, _ = (x[2].doubled() for x in P)
    slope, slope1 = b * S1 - (one + b) * S, b * S2 - (one + b) * S1  # dQ_n/dh for n = t, t - 1
    h_beta = (h.doubled() - one) * Q1 - h * left * slope1
    return Iterates(*first, b * slope1 - slope, h_beta, h * left * left * (S2 - S1))


def _ahead(order: int, r: Wide, h: Wide, b: Wide, P: tuple[Wide, ...]) -> Iterates:
    one = Wide.of(np.ones(h.shape))
    left, more, square = one - h, one + b, b * b
    Q, Q1, Q2, _ = (x[1] for x in P)
    # dP_n/dh = beta Q_{n-1} - (1 + beta) Q_n
    first = r, b * (one + more) * Q1 - more * Q - square * Q2, -(h * Q)
    if order == 1:
        return Iterates(*first)
    S, S1, S2, S3 = (x[2].doubled() for x in P)
    # d2P_n/dh2 = (1 + beta)^2 S_n - 2 beta (1 + beta) S_{n-1} + beta^2 S_{n-2}
    h_h = _twice(more, b, S, S1, S2) - b * _twice(more, b, S1, S2, S3)
    h_beta = h * (more * S - b * S1) - Q
    return Iterates(*first, h_h, h_beta, h * left * (S1 - S))


def _twice(more: Wide, b: Wide, S: Wide, before: Wide, earlier: Wide) -> Wide:
    return more * more * S - (b * more).doubled() * before + b * b * earlier
