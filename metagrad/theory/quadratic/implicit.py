"""The derivative of an objective at an inner optimum in a penalty: unrolled, implicit, and how far both are off.

Inner loss and objective are quadratics (ridge regression, tuned on held-out data, is one):

    f(w) = w'Hw/2 - b'w + (m/2) |w|^2,  m = e^theta,       F(w) = w'Mw/2 - q'w.

With A = H + m I, w* = A^{-1} b, r(w) = Mw - q and J(w) = -m A^{-1} w the derivative is r(w*)'J(w*). Gradient descent
has w_T = w* + e, e = P^T (w_0 - w*), P = I - eta A, and

    implicit, at w_T:  r(w_T)'J(w_T),   off by   r(w*)'J(e) + (Me)'J(w_T),
    unrolled:          r(w_T)'dw_T,     off by   r(w*)'D + (Me)'(J(w*) + D),
                                        D = -P^T J(w*) - T eta m P^{T-1}(w_0 - w*).

Both vanish like mu^T, mu = max |1 - eta (lambda + m)|, but the unrolled one has a factor T more. All errors are
computed without the difference of two numbers that agree.

From what is known at any w, without the optimum (`error_bound`): for an inner loss that is alpha-strongly convex,
|w - w*| <= s = |g(w)|/alpha, and with c = dg/dtheta

    |error| <= s (k_d + k_c |r|/alpha + (|c| + k_c s)(k_H |r|/alpha^2 + k_F/alpha)) + residual |c| |r|/alpha,

k the Lipschitz constants in w of dF/dtheta, c, the Hessian and r, residual = |r - Hv|/|r| of the linear system. It
follows by adding and taking away c'H^{-1}r at both points, one factor at a time; Pedregosa 2016 (theorem 1) has its
order, |error| = O(|g| + residual). Series: Lorraine, Vicol and Duvenaud 2020, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, count, finite_floats, number, step_counts


@dataclass(frozen=True)
class PenalisedQuadratic:
    """H (d, d) symmetric and positive semi-definite, b (d,), M (d, d) symmetric, q (d,), and the start w_0 (d,).

    ValueError for other shapes, for matrices that are not symmetric, and for an H with an eigenvalue below zero.

    >>> problem = PenalisedQuadratic([[1.0]], [2.0], [[1.0]], [0.0], [0.0])
    >>> float(problem.gradient(0.0))  # w* = 2/(1 + m), F = w*^2/2
    -0.5
    """

    H: ArrayLike
    b: ArrayLike
    M: ArrayLike
    q: ArrayLike
    w0: ArrayLike

    def __post_init__(self) -> None:
        """Check shapes and symmetry; the arrays are kept as float64."""
        for name in ("H", "b", "M", "q", "w0"):
            object.__setattr__(self, name, finite_floats("PenalisedQuadratic", name, getattr(self, name)))
        d = np.shape(self.b)[0] if np.ndim(self.b) == 1 else 0
        for name, shape in {"b": (d,), "q": (d,), "w0": (d,), "H": (d, d), "M": (d, d)}.items():
            if not d or np.shape(getattr(self, name)) != shape:
                expected = "b, q, w0 of shape (d,), H and M of shape (d, d)"
                bad_value("PenalisedQuadratic", name, f"of shape {np.shape(getattr(self, name))}", expected)
        for name in ("H", "M"):
            matrix = np.asarray(getattr(self, name))
            if not np.abs(matrix - matrix.T).max() <= 1e-12 * np.abs(matrix).max():
                bad_value("PenalisedQuadratic", name, "a matrix that is not symmetric", "a symmetric one")
        if self._modes[0].min() < -1e-12 * np.abs(self._modes[0]).max():
            came = f"a matrix with the eigenvalue {self._modes[0].min():.3g}"
            bad_value("PenalisedQuadratic", "H", came, "one without eigenvalues below zero")

    @cached_property
    def _modes(self) -> tuple[Floats, Floats]:
        values, vectors = np.linalg.eigh(np.asarray(self.H))
        return values, vectors

    def curvatures(self, log_penalty: float) -> Floats:
        """Return the eigenvalues of A, (d,), ascending: alpha is the first."""
        found: Floats = np.maximum(self._modes[0], 0) + np.exp(number("curvatures", "log_penalty", log_penalty))
        return found

    def optimum(self, log_penalty: float) -> Floats:
        """Return w*, (d,)."""
        return self._inverse(np.asarray(self.b), log_penalty)

    def gradient(self, log_penalty: float) -> float:
        """Return dF(w*)/dtheta."""
        w = self.optimum(log_penalty)
        return float(self._outer(w) @ self._moved(w, log_penalty))

    def scale(self, log_penalty: float) -> float:
        """Return |r(w*)| |J(w*)|, the most that the gradient could be: it is small where the two are orthogonal."""
        w = self.optimum(log_penalty)
        return float(np.linalg.norm(self._outer(w)) * np.linalg.norm(self._moved(w, log_penalty)))

    def iterate(self, log_penalty: float, eta: float, steps: ArrayLike) -> Floats:
        """Return w_T of gradient descent, (..., d) for steps (...)."""
        found: Floats = self.optimum(log_penalty) + self._distance("iterate", log_penalty, eta, steps)
        return found

    def implicit_error(self, log_penalty: float, eta: float, steps: ArrayLike) -> Floats:
        """Return by how much the implicit gradient at w_T is off, like steps; ValueError where eta is not stable."""
        best, e = self.optimum(log_penalty), self._distance("implicit_error", log_penalty, eta, steps)
        outer = self._outer(best)
        second: Floats = np.sum((e @ np.asarray(self.M)) * self._moved(best + e, log_penalty), axis=-1)
        first: Floats = self._moved(e, log_penalty) @ outer
        return first + second

    def unrolled_error(self, log_penalty: float, eta: float, steps: ArrayLike) -> Floats:
        """Return by how much the gradient through T steps is off, like steps; ValueError where eta is not stable."""
        best, e = self.optimum(log_penalty), self._distance("unrolled_error", log_penalty, eta, steps)
        t = step_counts("unrolled_error", steps)[..., None]
        moved, (a, vectors) = self._moved(best, log_penalty), self._factors(log_penalty, eta)
        start = (np.asarray(self.w0) - best) @ vectors
        late = -(a**t) * (moved @ vectors) - t * eta * np.exp(log_penalty) * a ** (t - 1) * start
        D = late @ vectors.T
        second: Floats = np.sum((e @ np.asarray(self.M)) * (moved + D), axis=-1)
        first: Floats = D @ self._outer(best)
        return first + second

    def bound(self, log_penalty: float, eta: float, steps: ArrayLike) -> Floats:
        """Return `error_bound` at w_T, from what is known there, like steps."""
        e = self._distance("bound", log_penalty, eta, steps)
        w, A = self.optimum(log_penalty) + e, self.curvatures(log_penalty)
        vectors, m = self._modes[1], np.exp(log_penalty)
        return error_bound(
            np.linalg.norm((e @ vectors) * A, axis=-1),
            float(A[0]),
            outer=np.linalg.norm(self._outer(w), axis=-1),
            cross=m * np.linalg.norm(w, axis=-1),
            lipschitz=Lipschitz(float(np.linalg.norm(np.asarray(self.M), 2)), float(m)),
        )

    def series_error(self, log_penalty: float, step: float, terms: ArrayLike) -> Floats:
        """Return by how much a Neumann series of so many terms is off at w*: c'(I - step A)^J A^{-1} r, like terms."""
        best, J = self.optimum(log_penalty), step_counts("series_error", terms)[..., None]
        factors = (1 - number("series_error", "step", step) * self.curvatures(log_penalty)) ** J
        v, c = (x @ self._modes[1] for x in (self._inverse(self._outer(best), log_penalty), best))
        found: Floats = np.exp(log_penalty) * np.sum(factors * v * c, axis=-1)
        return found

    def conjugate_gradients_error(self, log_penalty: float, products: int) -> Floats:
        """Return by how much conjugate gradients are off at w* after 1..`products` products, (products,).

        The k-th iterate is that of the Krylov space of k vectors, kept orthogonal to rounding.
        """
        A, best = self.curvatures(log_penalty), self.optimum(log_penalty)
        r, c = (x @ self._modes[1] for x in (self._outer(best), best))
        basis, errors, last = np.zeros((len(A), 0)), [], r
        for _ in range(count("conjugate_gradients_error", "products", products)):
            for _ in range(2):  # twice is enough
                last = last - basis @ (basis.T @ last)
            size = np.linalg.norm(last)
            if size > 1e-14 * np.abs(A).max() * np.linalg.norm(r):
                basis = np.column_stack([basis, last / size])
            v = basis @ np.linalg.solve(basis.T @ (A[:, None] * basis), basis.T @ r)
            errors.append(np.exp(log_penalty) * c @ (r / A - v))
            last = A * basis[:, -1]
        return np.array(errors)

    def _outer(self, w: Floats) -> Floats:
        found: Floats = w @ np.asarray(self.M) - np.asarray(self.q)
        return found

    def _inverse(self, x: Floats, log_penalty: float) -> Floats:
        vectors = self._modes[1]
        found: Floats = ((x @ vectors) / self.curvatures(log_penalty)) @ vectors.T
        return found

    def _moved(self, w: Floats, log_penalty: float) -> Floats:
        """Return J(w)."""
        found: Floats = -np.exp(log_penalty) * self._inverse(w, log_penalty)
        return found

    def _factors(self, log_penalty: float, eta: float) -> tuple[Floats, Floats]:
        return 1 - eta * self.curvatures(log_penalty), self._modes[1]

    def _distance(self, function: str, log_penalty: float, eta: float, steps: ArrayLike) -> Floats:
        """Return w_T - w*, (..., d); ValueError unless it vanishes."""
        a, vectors = self._factors(log_penalty, number(function, "eta", eta))
        if not (eta > 0 and np.abs(a).max() < 1):
            largest = self.curvatures(log_penalty)[-1]
            bad_value(function, "eta", eta, f"a step size above 0 and below 2/{largest:.6g}, at which w_T tends to w*")
        t = step_counts(function, steps)[..., None]
        found: Floats = (a**t * ((np.asarray(self.w0) - self.optimum(log_penalty)) @ vectors)) @ vectors.T
        return found


@dataclass(frozen=True)
class Lipschitz:
    """The Lipschitz constants in w of dF/dw, of dg/dtheta, of the Hessian and of dF/dtheta: numbers or arrays, >= 0.

    TypeError and ValueError for others.
    """

    outer: ArrayLike
    cross: ArrayLike = 0.0
    hessian: ArrayLike = 0.0
    direct: ArrayLike = 0.0

    def __post_init__(self) -> None:
        """Check the constants; they are kept as float64."""
        for name in ("outer", "cross", "hessian", "direct"):
            object.__setattr__(self, name, _positive("Lipschitz", name, getattr(self, name)))


def error_bound(
    slope: ArrayLike,
    convexity: ArrayLike,
    *,
    outer: ArrayLike,
    cross: ArrayLike,
    lipschitz: Lipschitz,
    residual: ArrayLike = 0.0,
) -> Floats:
    """Return a bound of the error of the implicit gradient at a w that is no optimum; all arguments broadcast.

    `slope`: |g(w)|; `convexity`: alpha > 0; `outer`: |dF/dw| and `cross`: |dg/dtheta| at w, for a theta of many numbers
    the largest singular value; `residual`: |r - Hv|/|r|. ValueError for numbers below zero, and unless alpha > 0.

    >>> float(error_bound(0.1, 1.0, outer=2.0, cross=1.0, lipschitz=Lipschitz(outer=1.0)))
    0.1
    """
    check_kind("error_bound", "lipschitz", lipschitz, Lipschitz)
    alpha = _positive("error_bound", "convexity", convexity)
    if not (alpha > 0).all():
        bad_value("error_bound", "convexity", 0.0, "above 0")
    given = {"slope": slope, "outer": outer, "cross": cross, "residual": residual}
    g, r, c, left = (_positive("error_bound", name, x) for name, x in given.items())
    k_F, k_c, k_H, k_d = (
        np.asarray(x) for x in (lipschitz.outer, lipschitz.cross, lipschitz.hessian, lipschitz.direct)
    )
    s = g / alpha
    away = k_d + k_c * r / alpha + (c + k_c * s) * (k_H * r / alpha**2 + k_F / alpha)
    return np.asarray(s * away + left * c * r / alpha, np.float64)


def _positive(function: str, name: str, value: ArrayLike) -> Floats:
    """Return what is no number below zero, as float64, or raise."""
    floats = finite_floats(function, name, value)
    if floats.size and floats.min() < 0:
        bad_value(function, name, floats.min(), "0 or more")
    if not floats.size:
        bad_value(function, name, "empty", "a number, or an array of some")
    return floats


__all__ = ["Lipschitz", "PenalisedQuadratic", "error_bound"]
