"""The largest step size at which the second moment of SGD stays bounded.

On the range of H, the homogeneous part of the recursion is S -> S - eta L1(S) + eta^2 Q(S), with L1(S) = HS + SH and
Q(S) = c_b (1/n) sum_i x_i x_i' (x_i'S x_i) + (1 - c_b) HSH. Both are self-adjoint, and the map leaves the cone of
positive semidefinite matrices invariant, so that its spectral radius is its largest eigenvalue: it is below 1 for
0 < eta < eta_max and above 1 beyond,

    1/eta_max = lambda_max(L1^{-1/2} Q L1^{-1/2})

(derived; checked by tests against the spectral radius of the whole d^2 x d^2 matrix).
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind
from metagrad.theory.sgd.problem import SgdProblem


def stability_threshold(problem: SgdProblem) -> float:
    """Return eta_max: E||w_t||^2 stays bounded in t for 0 < eta < eta_max, and grows without bound above.

    Exact up to a relative error of 1e-12. ValueError for X = 0, where every step size is stable.

    >>> round(17 * stability_threshold(SgdProblem([[1.0], [2.0]], [1.0, 1.0], batch_size=1)), 9)
    10.0
    """
    check_kind("stability_threshold", "problem", problem, SgdProblem)
    from scipy.sparse.linalg import LinearOperator, eigsh

    rank = int(np.sum(problem.h > 0))
    if rank == 0:
        bad_value("stability_threshold", "X", "zero", "a sample that is not all zeros", "Every step size is stable.")
    rows, eigenvalues = problem.rows[:, :rank], problem.h[:rank]
    root = np.sqrt(eigenvalues[:, None] + eigenvalues)

    def apply(vector: Floats) -> Floats:
        symmetric = vector.reshape(rank, rank) / root
        moved = problem.spread * rows.T @ (np.sum((rows @ symmetric) * rows, axis=1)[:, None] * rows) / len(rows)
        return np.ravel((moved + (1 - problem.spread) * np.outer(eigenvalues, eigenvalues) * symmetric) / root)

    if rank == 1:
        return 1 / float(apply(np.ones(1))[0])
    operator = LinearOperator((rank**2, rank**2), matvec=apply, dtype=np.float64)
    (largest,) = eigsh(operator, k=1, which="LA", v0=np.eye(rank).ravel(), tol=1e-13, return_eigenvectors=False)
    return 1 / float(largest)
