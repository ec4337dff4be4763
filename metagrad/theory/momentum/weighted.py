"""Sums over the run under momentum: Phi = sum_{k=1..t} rho^k f(w_k) and its derivatives in eta and beta, exactly.

The squares of a mode go by the symmetric square of its step, v_k = (r_k^2, r_k r_{k-1}, r_{k-1}^2):

    v_{k+1} = A v_k,   A = (tau^2, -2 tau delta, delta^2;  tau, -delta, 0;  1, 0, 0),

so that sum_{k=1..t} rho^k v_k = rho (I + B + ... + B^{t-1}) v_1 with B = rho A, and the sum of powers doubles:

    T_n = I + B + ... + B^{n-1},   T_2n = T_n + B^n T_n,   T_{n+1} = I + B T_n.

With Taylor coefficients in h and beta in place of numbers, and 106 bits (`_wide`); nothing is divided by, so that a
double root, or rho z^2 = 1, is a point as any other. Derived; checked by tests against sums in exact fractions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.momentum._wide import Wide, join, stack
from metagrad.theory.momentum.iterates import RULES, Rule, check_digits
from metagrad.theory.momentum.last_iterate import Slope
from metagrad.theory.momentum.lucas import LARGEST_STEPS
from metagrad.theory.numbers.checks import (
    Floats,
    bad_value,
    check_choice,
    check_kind,
    check_together,
    finite_floats,
    number,
    one_horizon,
)
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, log_kappa

_CHUNK = 1 << 12


def weighted_sum(
    rule: Rule,
    spectrum: Spectrum,
    eta: ArrayLike,
    beta: ArrayLike,
    steps: int,
    rho: float,
    *,
    measure: Measure = "loss",
) -> SignedLog:
    """Return Phi = sum_{k=1..t} rho^k f(w_k), for one horizon t up to 2^27 and one rho > 0.

    >>> one = Spectrum.diagonal([1.0], [1.0])
    >>> weighted_sum("heavy_ball", one, 0.5, 0.5, 2, 1.0).to_float()  # r_1 = 1/2, r_2 = 0
    array(0.125)
    """
    at = spectrum, eta, beta, steps, rho
    return _sums("weighted_sum", rule, at, measure, False)[0]


def d_weighted_sum(
    rule: Rule,
    spectrum: Spectrum,
    eta: ArrayLike,
    beta: ArrayLike,
    steps: int,
    rho: float,
    *,
    measure: Measure = "loss",
) -> Slope:
    """Return Phi_eta and Phi_beta."""
    at = spectrum, eta, beta, steps, rho
    return Slope(*_sums("d_weighted_sum", rule, at, measure, True)[1:])


def _sums(
    function: str,
    rule: Rule,
    at: tuple[Spectrum, ArrayLike, ArrayLike, int, float],
    measure: Measure,
    slopes: bool,
) -> list[SignedLog]:
    """Return Phi, and its derivatives where they are asked for."""
    spectrum, eta, beta, steps, rho = at
    check_choice(function, "rule", rule, RULES)
    check_kind(function, "spectrum", spectrum, Spectrum)
    step, decay = finite_floats(function, "eta", eta), finite_floats(function, "beta", beta)
    t, factor = one_horizon(function, steps), number(function, "rho", rho)
    if t > LARGEST_STEPS:
        bad_value(function, "steps", t, "an integer from 1 to 2^27")
    if factor <= 0:
        bad_value(function, "rho", factor, "a number above 0")
    check_together(function, spectrum=spectrum.batch_shape, eta=step.shape, beta=decay.shape)
    kappa = log_kappa(spectrum, measure)
    arrays = np.broadcast_arrays(step[..., None], spectrum.eigenvalues, decay[..., None], kappa)
    check_digits(function, arrays[0], arrays[1], arrays[2], arrays[3])
    shape = arrays[0].shape
    one, modes, damping = (np.ravel(x) for x in arrays[:3])
    chunks = [slice(at, at + _CHUNK) for at in range(0, max(1, one.size), _CHUNK)]
    parts = [_squares(rule, one[c], modes[c], damping[c], t, factor, slopes) for c in chunks]
    weights, found = Wide.from_log(np.asarray(arrays[3], np.float64)), []
    for k in range(len(parts[0])):
        total = join([part[k] for part in parts])
        term = Wide(total.high.reshape(shape), total.low.reshape(shape), total.power.reshape(shape))
        term = Wide.of(arrays[1]) * term if k == 1 else term
        found.append((weights * term).sum().to_log())
    return found


def _squares(
    rule: Rule, eta: Floats, eigenvalues: Floats, beta: Floats, steps: int, rho: float, slopes: bool
) -> list[Wide]:
    """Return sum_{k=1..t} rho^k r_k^2 of each mode, and its derivatives in h and beta."""
    jets = 3 if slopes else 1
    b, h = Wide.of(beta), Wide.of(eta) * Wide.of(eigenvalues)
    one, zero = Wide.of(np.ones(eta.shape)), Wide.of(np.zeros(eta.shape))

    def jet(value: Wide, in_h: Wide, in_beta: Wide) -> Wide:
        return stack([value, in_h, in_beta][:jets])

    heavy, left, more = rule == "heavy_ball", one - h, one + b
    tau = jet(more - h, -one, one) if heavy else jet(more * left, -more, left)
    delta = jet(b, zero, one) if heavy else jet(b * left, -b, left)
    first = tau - (delta if rule == "nesterov" else jet(b, zero, one))  # r_1 = P_1 - c P_0
    unit, nothing = jet(one, zero, zero), jet(zero, zero, zero)
    rows = [
        [_times(tau, tau), -_times(tau, delta).doubled(), _times(delta, delta)],
        [tau, -delta, nothing],
        [unit, nothing, nothing],
    ]
    scale = Wide.of(np.asarray(rho))
    B = stack([stack([x * scale for x in row], 1) for row in rows], 1)  # (jets, 3, 3, modes)
    identity = stack([stack([unit if i == j else nothing for j in range(3)], 1) for i in range(3)], 1)
    total, power = identity, B  # T_1 and B^1
    for bit in bin(steps)[3:]:
        total, power = total + _product(power, total), _product(power, power)
        if bit == "1":
            total, power = identity + _product(B, total), _product(power, B)
    start = stack([stack([x], 1) for x in (_times(first, first), first, unit)], 1)  # v_1, a column
    found = _product(total, start)[:, 0, 0] * scale
    return [found[k] for k in range(jets)]


def _times(x: Wide, y: Wide) -> Wide:
    """Return the product of two jets, whose coefficients 1, h, beta lead."""
    if x.shape[0] == 1:
        return x * y
    value = x[:1] * y[:1]
    return join([value, x[:1] * y[1:] + x[1:] * y[:1]])


def _product(x: Wide, y: Wide) -> Wide:
    """Return the product of two matrices of jets, (jets, 3, 3, modes) and (jets, 3, columns, modes)."""
    terms = _times(x[:, :, :, None], y[:, None])  # (jets, row, summed, column, modes)
    return terms[:, :, 0] + terms[:, :, 1] + terms[:, :, 2]
