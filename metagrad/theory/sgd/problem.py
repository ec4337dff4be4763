"""One least-squares problem under minibatch SGD: the data, the start, the batches, and what is measured of w.

    f(w) = ||Xw - y||^2/(2n),    w+ = w - eta (1/b) sum_{i in batch} x_i (x_i'w - y_i)

Everything is held in the coordinates of X = USV', where H = X'X/n is diagonal and directions in which nothing moves
are exactly zero, and relative to a centre c, the least-squares solution: e = w - c, r = y - Xc, g = X'r/n, so that
small excess losses are not differences of large numbers. Directions with singular values below 10^-2 of the largest
are left out of c: along them e moves little, while c could be huge. Otherwise g is zero, and where the rows of X are
independent r is zero as well. What is left of the cancellation: results lose at most about (10^4/(eta T max h))^2 eps,
and that only if singular values spread over two decades.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_flag, check_kind, finite_floats, number
from metagrad.theory.sgd._checks import check_batch_size, within_range

KEPT = 1e-2


@dataclass(frozen=True, eq=False)
class SgdProblem:
    """SGD on the sample X (n, d), y (n,) from w_0 with batches of `batch_size` indices, drawn afresh at every step.

    `w0` (d,) is the start, zero by default; of a random start it is the mean, and `second_moment` (d, d) is
    E[w_0 w_0']. With `replacement` the indices of a batch are independent; without, they are distinct, which needs
    batch_size <= n. Entries of magnitude 10^-60 to 10^60 (or zero throughout) are accepted, so that no product
    overflows. ValueError for wrong shapes and values that are not finite, TypeError for a batch size that is no
    integer.

    >>> SgdProblem([[1.0], [2.0]], [1.0, 1.0], batch_size=1).spread
    1.0
    """

    X: Floats
    y: Floats
    w0: Floats | None = None
    batch_size: int = 1
    replacement: bool = True
    second_moment: Floats | None = None

    def __post_init__(self) -> None:
        """Validate, and fill in the defaults."""
        X, y = checked_sample("SgdProblem", self.X, self.y)
        n, d = X.shape
        w0 = within_range("SgdProblem", "w0", np.zeros(d) if self.w0 is None else self.w0)
        if w0.shape != (d,):
            bad_value("SgdProblem", "w0", f"of shape {w0.shape}", f"shape ({d},), a coordinate per column of X")
        check_batch_size("SgdProblem", self.batch_size)
        check_flag("SgdProblem", "replacement", self.replacement)
        if not self.replacement and self.batch_size > n:
            expected = f"at most the {n} samples, drawn without replacement"
            remedy = "Draw with replacement, or take a smaller batch."
            bad_value("SgdProblem", "batch_size", self.batch_size, expected, remedy)
        second = np.outer(w0, w0) if self.second_moment is None else _checked_second_moment(self.second_moment, w0)
        for name, value in (("X", X), ("y", y), ("w0", w0), ("second_moment", second)):
            object.__setattr__(self, name, value)

    @property
    def spread(self) -> float:
        """c_b, the weight of the variance between samples in a step: 1/b, or (n-b)/(b(n-1)) without replacement."""
        n, b = len(self.X), int(self.batch_size)
        if self.replacement:
            return 1 / b
        return (n - b) / (b * (n - 1)) if n > b else 0.0

    @cached_property
    def svd(self) -> tuple[Floats, Floats, Floats]:
        """U (n, d), singular values (d,), V (d, d) of X; past the rank, what is rounding noise is exactly zero."""
        U, S, Vt = np.linalg.svd(self.X, full_matrices=False)
        rank, d = int(np.sum(max(self.X.shape) * np.finfo(np.float64).eps * S[0] < S)), self.X.shape[1]
        rest = d - rank
        U, S = np.pad(U[:, :rank], ((0, 0), (0, rest))), np.pad(S[:rank], (0, rest))
        outside = np.linalg.qr(Vt[:rank].T, mode="complete")[0][:, rank:]
        return U, S, np.concatenate([Vt[:rank].T, outside], axis=1)

    @property
    def rows(self) -> Floats:
        """The samples XV (n, d) in the coordinates of V, where H is diagonal."""
        U, S, _ = self.svd
        return U * S

    @property
    def h(self) -> Floats:
        """The eigenvalues (d,) of H = X'X/n, falling."""
        return self.svd[1] ** 2 / len(self.y)

    @cached_property
    def kept(self) -> int:
        """How many singular directions the centre solves for."""
        S = self.svd[1]
        return int(np.sum((S > 0) & (KEPT * S[0] <= S)))

    @cached_property
    def centre(self) -> Floats:
        """The centre V'c (d,): least squares in the kept directions, zero in the others."""
        U, S, _ = self.svd
        found = np.zeros_like(S)
        found[: self.kept] = (U.T @ self.y)[: self.kept] / S[: self.kept]
        return found

    @cached_property
    def r(self) -> Floats:
        """The residual r = y - Xc (n,), without its rounding in the kept directions."""
        U = self.svd[0][:, : self.kept]
        if self.kept == len(self.y):
            return np.zeros_like(self.y)
        rest = self.y - U @ (U.T @ self.y)
        return np.asarray(rest - U @ (U.T @ rest), np.float64)

    @cached_property
    def g(self) -> Floats:
        """The gradient at the centre with its sign turned, V'X'r/n (d,): zero in the kept directions."""
        left = np.where(np.arange(len(self.h)) < self.kept, 0.0, self.rows.T @ self.r)
        return np.asarray(left / len(self.y), np.float64)

    @cached_property
    def start(self) -> tuple[Floats, Floats]:
        """The mean of V'e_0 (d,) and its second moment (d, d)."""
        assert self.w0 is not None
        assert self.second_moment is not None
        V = self.svd[2]
        e = V.T @ self.w0 - self.centre
        covariance = V.T @ (self.second_moment - np.outer(self.w0, self.w0)) @ V
        return e, covariance + np.outer(e, e)


@dataclass(frozen=True, eq=False)
class Measure:
    """A quadratic measure of w, (tr(A S) - 2 p'm + q)/2 on the first two moments m, S of V'e."""

    A: Floats
    p: Floats
    q: float

    def __post_init__(self) -> None:
        """Validate."""
        A, p = (finite_floats("Measure", name, getattr(self, name), copy=False) for name in ("A", "p"))
        if p.ndim != 1 or A.shape != (*p.shape, *p.shape):
            bad_value("Measure", "A", f"of shape {A.shape} with p of shape {p.shape}", "shapes (d, d) and (d,)")
        number("Measure", "q", self.q)

    @classmethod
    def of_rows(cls, rows: Floats, targets: Floats) -> Measure:
        """Return the measure ||rows V'e - targets||^2/2."""
        rows, targets = _checked_rows("Measure.of_rows", rows, targets)
        return cls(rows.T @ rows, rows.T @ targets, float(targets @ targets))


def quadratic_measure(problem: SgdProblem, rows: Floats, targets: Floats) -> Measure:
    """Return the measure ||rows w - targets||^2/2 for any rows (k, d) and targets (k,)."""
    check_kind("quadratic_measure", "problem", problem, SgdProblem)
    rows, targets = _checked_rows("quadratic_measure", rows, targets, len(problem.centre))
    rotated = rows @ problem.svd[2]
    return Measure.of_rows(rotated, targets - rotated @ problem.centre)


def train_measure(problem: SgdProblem) -> Measure:
    """Return the train loss f(w) = ||Xw - y||^2/(2n)."""
    check_kind("train_measure", "problem", problem, SgdProblem)
    return Measure(np.diag(problem.h), problem.g, float(problem.r @ problem.r) / len(problem.y))


def excess_measure(problem: SgdProblem) -> Measure:
    """Return f(w) - min f, free of the cancellation of that difference."""
    check_kind("excess_measure", "problem", problem, SgdProblem)
    roots = np.sqrt(problem.h)
    return Measure.of_rows(np.diag(roots), np.divide(problem.g, roots, out=np.zeros_like(roots), where=roots > 0))


def validation_measure(problem: SgdProblem, X_val: ArrayLike, y_val: ArrayLike) -> Measure:
    """Return the loss ||X_val w - y_val||^2/(2 n_val) on held-out samples X_val (n_val, d), y_val (n_val,)."""
    check_kind("validation_measure", "problem", problem, SgdProblem)
    X, y = checked_sample("validation_loss", X_val, y_val, "X_val", "y_val")
    if X.shape[1] != problem.X.shape[1]:
        expected = f"{problem.X.shape[1]} columns like X"
        bad_value("validation_loss", "X_val", f"of shape {X.shape}", expected)
    scale = 1 / np.sqrt(len(y))
    return quadratic_measure(problem, X * scale, y * scale)


def risk_measure(problem: SgdProblem, w_star: ArrayLike) -> Measure:
    """Return the squared distance ||w - w*||^2 from w_star (d,)."""
    check_kind("risk_measure", "problem", problem, SgdProblem)
    target = within_range("risk", "w_star", w_star)
    if target.shape != problem.centre.shape:
        bad_value("risk", "w_star", f"of shape {target.shape}", f"shape {problem.centre.shape}, like w0")
    return quadratic_measure(problem, np.sqrt(2) * np.eye(len(target)), np.sqrt(2) * target)


def checked_sample(
    function: str, X: ArrayLike, y: ArrayLike, X_name: str = "X", y_name: str = "y"
) -> tuple[Floats, Floats]:
    """Return X (n, d) and y (n,) as float64 arrays with n, d >= 1, or raise."""
    inputs, targets = within_range(function, X_name, X), within_range(function, y_name, y)
    if inputs.ndim != 2 or 0 in inputs.shape:
        bad_value(function, X_name, f"of shape {inputs.shape}", "shape (n, d) with at least one sample and column")
    if targets.shape != inputs.shape[:1]:
        expected = f"shape ({len(inputs)},), a target per row of {X_name}"
        bad_value(function, y_name, f"of shape {targets.shape}", expected)
    return inputs, targets


def _checked_rows(function: str, rows: Floats, targets: Floats, d: int | None = None) -> tuple[Floats, Floats]:
    """Return rows (k, d) and targets (k,), or raise."""
    matrix, aims = (finite_floats(function, *x, copy=False) for x in (("rows", rows), ("targets", targets)))
    if matrix.ndim != 2 or (d is not None and matrix.shape[1] != d):
        bad_value(function, "rows", f"of shape {matrix.shape}", f"shape (k, {'d' if d is None else d})")
    if aims.shape != matrix.shape[:1]:
        bad_value(function, "targets", f"of shape {aims.shape}", f"shape {matrix.shape[:1]}, one a row")
    return matrix, aims


def _checked_second_moment(value: ArrayLike, w0: Floats) -> Floats:
    """Return E[w_0 w_0'] if it is symmetric and at least w_0 w_0', up to rounding."""
    second, d = within_range("SgdProblem", "second_moment", value), len(w0)
    if second.shape != (d, d):
        bad_value("SgdProblem", "second_moment", f"of shape {second.shape}", f"shape ({d}, {d})")
    slack = 16 * d * np.finfo(np.float64).eps * float(np.max(np.abs(second), initial=0.0))
    asymmetry = float(np.max(np.abs(second - second.T)))
    if asymmetry > slack:
        bad_value("SgdProblem", "second_moment", f"asymmetric by {asymmetry:.3g}", "E[w0 w0'], which is symmetric")
    second = (second + second.T) / 2
    smallest = float(np.linalg.eigvalsh(second - np.outer(w0, w0))[0])
    if smallest < -slack:
        expected = "at least w0 w0' (second_moment - w0 w0' is a covariance)"
        bad_value("SgdProblem", "second_moment", f"below w0 w0' by {-smallest:.3g}", expected)
    return second
