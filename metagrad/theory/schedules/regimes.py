"""With noise and without weight decay: when step sizes alone reach the best polynomial, and the boundary, exactly.

By the theorem of `optimal` the best q has R = pi_T/pi_T(-delta), so that without decay the residual of descent is

    P(s) = 1 - s q(s) = (delta + s R(s))/(s + delta) = [delta pi_T(-delta) + s pi_T(s)]/[pi_T(-delta) (s + delta)],

of degree T with P(0) = 1. A schedule without decay makes prod_k (1 - eta_k s), of real zeros 1/eta_k. So step sizes
alone reach the least risk of T steps exactly where the T zeros of P are real.

Theorem. Let z_1 < .. < z_T be the zeros of pi_T, g(s) = s pi_T(s), and m the least of the extrema |g| in the gaps
(z_1, z_2), (z_3, z_4), .. (every second one, T//2 of them). The zeros of P are real exactly for

    delta |pi_T(-delta)| <= m,

and the left side grows with delta. So for each spectrum and T >= 2 there is one boundary delta*_T; at T = 1 a single
step is always enough, and without noise steps are. In the limit d/n -> gamma the boundary is a function of gamma and T
alone, and the noise at it is sigma^2 = delta*_T(gamma) signal/gamma.

Proof. The zeros of P are those of g(s) - g(-delta) but -delta itself. g has the T + 1 real zeros 0, z_1, .., z_T, so
one extremum in each gap between neighbours and none elsewhere, and is monotonic left of 0 and right of z_T. The level
c = g(-delta) has the sign of g left of 0, which g has again in the gaps (z_1, z_2), (z_3, z_4), .. and, for odd T,
right of z_T. Each such gap has two solutions of g = c (a double one counted twice) where its extremum is at least |c|,
and none otherwise; right of z_T there is one for odd T, left of 0 there is -delta. With all gaps these are T + 1
solutions, which is the degree; with one gap too low there are fewer. |g(-delta)| = delta prod_k (z_k + delta) grows.

Since |pi_T(-delta)| grows like rho^{-T} and m does not, delta*_T -> 0: with any noise, many steps need the decay. The
theorem is derived here; checked by tests against discriminants (`symbolic`) and the eigenvalues of a matrix below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, number
from metagrad.theory.schedules._checks import checked_steps
from metagrad.theory.schedules._extrema import between, halved, log_magnitude
from metagrad.theory.schedules.average_case import AverageCase
from metagrad.theory.schedules.orthogonal import recurrence, zeros

_LOG_RANGE = 400.0


def boundary_decay(problem: AverageCase, steps: int) -> float:
    """Return delta*_T: up to this noise/signal the best T steps need no weight decay; inf for T = 1.

    Only the spectrum of the problem counts, not its noise. `boundary_noise` is the noise at which a limit gets there.

    >>> round(boundary_decay(AverageCase.limit(0.5, 2), 2), 6)
    0.290994
    """
    check_kind("boundary_decay", "problem", problem, AverageCase)
    if checked_steps("boundary_decay", steps) == 1:
        return np.inf
    found = zeros(problem, steps)
    _, peaks = _peaks(found)

    def below(log_delta: Floats) -> NDArray[np.bool_]:
        return np.asarray(_log_level(found, np.exp(log_delta)) < peaks.min())

    scale = np.log(found[-1])
    low, high = np.array([scale - _LOG_RANGE]), np.array([scale + _LOG_RANGE])
    return float(np.exp(halved(low, high, below)[0]))


def needs_decay(problem: AverageCase, steps: int) -> bool:
    """Tell whether the best polynomial of T steps has complex zeros, so that step sizes alone fall short of it.

    >>> problem = AverageCase.limit(0.5, 2, sigma=1.0)
    >>> needs_decay(problem, 1), needs_decay(problem, 2)
    (False, True)
    """
    check_kind("needs_decay", "problem", problem, AverageCase)
    return problem.decay > boundary_decay(problem, steps)


def best_steps_alone(problem: AverageCase, steps: int) -> Floats:
    """Return the steps (T,), largest first, that reach the least risk without weight decay, where there are any.

    ValueError where the zeros are complex; `descent.best_without_decay` has the best real steps there.

    >>> best_steps_alone(AverageCase.limit(0.25, 2), 2).round(6)
    array([1.333333, 0.571429])
    """
    check_kind("best_steps_alone", "problem", problem, AverageCase)
    found = zeros(problem, steps)
    if problem.decay == 0:
        return np.asarray(1 / found, np.float64)
    limit = boundary_decay(problem, steps)
    if problem.decay > limit:
        remedy = (
            f"The best polynomial of {steps} steps has complex zeros. Take optimal.best_schedule with weight decay "
            f"{problem.decay:.6g}, which attains it."
        )
        came = f"of noise/signal {problem.decay:.6g}"
        bad_value("best_steps_alone", "problem", came, f"at most {limit:.6g} for {steps} steps without decay", remedy)
    level = float(_log_level(found, np.array([problem.decay]))[0])
    whole = np.concatenate([[0.0], found])
    tops, _ = _peaks(found)
    low, high = found[0:-1:2], found[1::2]

    def above(at: Floats) -> NDArray[np.bool_]:
        return log_magnitude(whole, at) > level

    def under(at: Floats) -> NDArray[np.bool_]:
        return log_magnitude(whole, at) < level

    places = [halved(low, tops, under), halved(tops, high, above)]
    if steps % 2:
        end = found[-1:] + max(found[-1], problem.decay) + np.exp(min(level / (steps + 1), _LOG_RANGE))
        places.append(halved(found[-1:], end, under))
    return np.asarray(1 / np.sort(np.concatenate(places)), np.float64)


def polynomial_zeros(problem: AverageCase, steps: int) -> NDArray[np.complex128]:
    """Return the T zeros of the best residual without decay, real or complex: what 1/eta would have to be.

    They are the eigenvalues but -delta of [[J, u], [v', 0]], J the Jacobi matrix, u and v along its last and first
    axes, whose characteristic polynomial is s pi_T(s) plus a constant. Good for some tens of steps: `steps` <= 100.

    >>> polynomial_zeros(AverageCase.limit(0.5, 2, sigma=1.0), 2).round(4)
    array([1.75-0.6614j, 1.75+0.6614j])
    """
    check_kind("polynomial_zeros", "problem", problem, AverageCase)
    size = checked_steps("polynomial_zeros", steps, 100, "Longer schedules: see needs_decay.")
    diagonal, sides = recurrence(problem, size)
    matrix = np.zeros((size + 1, size + 1))
    matrix[:size, :size] = np.diag(diagonal) + np.diag(sides, 1) + np.diag(sides, -1)
    if problem.decay > 0:
        log = float(_log_level(zeros(problem, size), np.array([problem.decay]))[0]) - float(np.sum(np.log(sides)))
        matrix[size - 1, size] = np.exp(log / 2)
        matrix[size, 0] += (1 if size % 2 else -1) * np.exp(log / 2)
    found = np.linalg.eigvals(matrix)
    return np.asarray(np.sort_complex(np.delete(found, np.argmin(np.abs(found + problem.decay)))), np.complex128)


def boundary_noise(gamma: float, steps: int, *, signal: float = 1.0) -> float:
    """Return the variance sigma^2 of the noise at the boundary in the limit d/n -> gamma; inf for T = 1.

    >>> round(boundary_noise(0.5, 4), 6)
    0.155353
    """
    problem = AverageCase.limit(gamma, steps, signal=number("boundary_noise", "signal", signal))
    return boundary_decay(problem, steps) * problem.signal / float(gamma)


def _peaks(found: Floats) -> tuple[Floats, Floats]:
    """Return the extrema of g in every second gap of the zeros of pi_T, and log|g| there."""
    whole = np.concatenate([[0.0], found])
    tops = between(whole)[1::2]
    return tops, log_magnitude(whole, tops)


def _log_level(found: Floats, delta: Floats) -> Floats:
    """Return log|g(-delta)| = log delta + sum_k log(z_k + delta)."""
    return np.asarray(np.log(delta) + np.sum(np.log(found + delta[:, None]), axis=1), np.float64)
