"""The powers of a 2 x 2 matrix with trace tau and determinant delta, and their tau-derivatives: Lucas sequences.

With the roots z1, z2 of z^2 - tau z + delta,

    U_n = (z1^n - z2^n)/(z1 - z2),   V_n = z1^n + z2^n,   P_n = U_{n+1},

and 1/(1 - tau x + delta x^2) = sum_n P_n x^n. From there dP_n/ddelta = -dP_{n-1}/dtau, so that the derivatives in tau
are all there is to find:

    Q_n = dP_n/dtau   has the generating function   x/(1 - tau x + delta x^2)^2      Q_n = sum_k P_k P_{n-1-k}
    S_n = dQ_n/dtau                               2 x^2/(1 - tau x + delta x^2)^3.

For delta > 0, P_n = delta^{n/2} U_n(tau/(2 sqrt delta)) with the Chebyshev polynomial of the second kind. That
formula has a case for every kind of roots, and its derivatives divide by what vanishes at a double root. Here it is

    U_2n = U_n V_n,            2 U_{n+1} = tau U_n + V_n,
    V_2n = V_n^2 - 2 delta^n,  2 V_{n+1} = (tau^2 - 4 delta) U_n + tau V_n

(Lucas 1878), with Taylor coefficients in tau in place of numbers, and 106 bits: no roots, no division, no case, and a
double root is a point as any other. n costs log2(n) doublings. The error relative to max_k |P_k z^{n-k}| is of order
n^2 2^-104, 1e-19 at n = 10^6. Derived; checked by tests against 150-digit roots (`symbolic`).
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.momentum._wide import Wide, join, stack

LARGEST_STEPS = 2**27
"""The horizon up to which n^2 2^-104 stays below the rounding of a float."""
_LEFT = {0: [0], 1: [0, 0, 1], 2: [0, 0, 0, 1, 1, 2]}  # the factors of all products of coefficients, see `_product`
_RIGHT = {0: [0], 1: [0, 1, 0], 2: [0, 1, 2, 0, 1, 0]}


def sequences(tau: Wide, delta: Wide, steps: int, order: int) -> tuple[Wide, Wide, Wide, Wide]:
    """Return P_t, P_{t-1}, P_{t-2}, P_{t-3} with their Taylor coefficients in tau: shapes (order + 1, ...).

    `order`: 0 for P alone, 1 with Q, 2 with S/2. `steps`: t, from 1 to 2^27. P_n is 0 for n < 0.
    """
    one, zero = Wide.of(np.ones(tau.shape)), Wide.of(np.zeros(tau.shape))
    trace = stack([tau, one, zero][: order + 1])
    square = tau * tau - delta.doubled(2)
    discriminant = stack([square, tau.doubled(), one][: order + 1])
    U, V = stack([zero] * (order + 1)), stack([one.doubled(), zero, zero][: order + 1])
    nothing, first = U, max(steps - 2, 0)
    power = one  # delta^n
    for bit in bin(first)[2:]:
        both = _product(stack([U, V], 1), stack([V, V], 1), order)
        U, V = both[:, 0], both[:, 1]
        V = join([V[:1] - power.doubled()[None], V[1:]])
        power = power * power
        if bit == "1":
            U, V = _next(U, V, trace, discriminant, order)
            power = power * delta
    found = [U]
    for _ in range(first, steps + 1):
        U, V = _next(U, V, trace, discriminant, order)
        found.insert(0, U)
    return found[0], found[1], found[2], found[3] if steps > 1 else nothing


def _next(U: Wide, V: Wide, trace: Wide, discriminant: Wide, order: int) -> tuple[Wide, Wide]:
    """Return U_{n+1} and V_{n+1}."""
    moved = _product(stack([U, U, V], 1), stack([trace, discriminant, trace], 1), order)
    return (moved[:, 0] + V).doubled(-1), (moved[:, 1] + moved[:, 2]).doubled(-1)


def _product(x: Wide, y: Wide, order: int) -> Wide:
    """Return the Taylor coefficients of a product; they lead, and are cut off behind `order`."""
    terms = x[_LEFT[order]] * y[_RIGHT[order]]
    if order == 0:
        return terms
    if order == 1:
        return join([terms[:1], terms[1:2] + terms[2:]])
    crossed = terms[[1, 2]] + terms[[3, 5]]
    return join([terms[:1], crossed[:1], crossed[1:] + terms[4:5]])
