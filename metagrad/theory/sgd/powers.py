"""SGD's moments after very many steps with a constant step size, by powers of one matrix.

A step is linear in v = (S_ij for i <= j, m_i, 1), with D = d(d+1)/2 + d + 1 entries, and quadratic in eta:
v+ = (I - eta P + eta^2 Q) v. P and Q come from feeding the unit vectors of v to the recursion of `Recursion`. Then
O(log t) products of D x D matrices reach any horizon (`linear_power`), which beats t steps for small d or large t.
Where S does not depend on m and 1 (no noise, or the full batch) it has its own powers, so that it may vanish beside
them. Derived; checked by tests against the recursion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metagrad.theory.numbers.checks import Floats
from metagrad.theory.numbers.linear_power import Dual, apply_powers
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.sgd.problem import Measure
from metagrad.theory.sgd.recursion import Moments, Recursion, total

_ENTRIES = 2**17
"""Entries of the matrices that are multiplied at once: as many as stay in a cache."""


def at_steps(
    recursion: Recursion, measures: Sequence[Measure], etas: Floats, steps: Floats
) -> tuple[SignedLog, SignedLog]:
    """Return values and eta-derivatives (G, K, M) for step sizes (G,), steps (K,) and M measures."""
    P, Q, linear = _matrices(recursion)
    z, weights = _packed(*recursion.start), np.stack([_weights(measure) for measure in measures], axis=1)
    split = 0 if recursion.coupled else len(z) - len(recursion.h) - 1
    found: list[tuple[SignedLog, SignedLog]] = []
    chunk = max(1, _ENTRIES // len(z) ** 2)
    for first in range(0, len(etas), chunk):
        eta = etas[first : first + chunk, None, None]
        A = Dual(np.eye(len(z)) - eta * (P + linear) + eta**2 * Q, 2 * eta * Q - P - linear)
        parts = [
            apply_powers(Dual(*(x[:, block, block] for x in A)), z[block], steps, weights[block])
            for block in (slice(0, split), slice(split, None))
        ]
        value, slope = (total(list(pair)) for pair in zip(*parts, strict=True))
        found.append((value, slope))
    return _joined([value for value, _ in found]), _joined([slope for _, slope in found])


def _matrices(recursion: Recursion) -> tuple[Floats, Floats, Floats]:
    """Return P and Q on the rows of S, and the matrix of Hm - g on the rows of m, each (D, D).

    The unit vectors go in as tangents, which the constant 1 does not reach; its own column is the response of zero.
    """
    d = len(recursion.h)
    rows, columns = np.triu_indices(d)
    moments = len(rows)
    size = moments + d
    S, m = np.zeros((2, size, d, d)), np.zeros((2, size, d))
    index = np.arange(moments)
    S[1, index, rows, columns] = S[1, index, columns, rows] = 1.0
    m[1, moments + np.arange(d), np.arange(d)] = 1.0
    none = np.zeros(size, np.int64)
    P, Q, drift = recursion.parts(Moments(S, m, none, none))
    found = np.zeros((3, size + 1, size + 1))
    of_S, of_m = slice(0, moments), slice(moments, size)
    responses = (P[..., rows, columns], of_S), (Q[..., rows, columns], of_S), (drift, of_m)
    for matrix, (response, block) in zip(found, responses, strict=True):
        matrix[block, :-1], matrix[block, -1] = response[1].T, response[0, 0]
    return found[0], found[1], found[2]


def _packed(m: Floats, S: Floats) -> Floats:
    return np.concatenate([S[np.triu_indices(len(m))], m, [1.0]])


def _weights(measure: Measure) -> Floats:
    """Return the measure as a linear form in v; S_ij with i < j stands for two entries of S."""
    form = _packed(-measure.p, measure.A - np.diag(np.diag(measure.A)) / 2)
    form[-1] = measure.q / 2
    return form


def _joined(numbers: list[SignedLog]) -> SignedLog:
    return SignedLog(np.concatenate([x.sign for x in numbers]), np.concatenate([x.log for x in numbers]))
