"""Errors of implicit and unrolled gradients of a penalty: against plain linear algebra, and the bound."""

import numpy as np
import pytest

from metagrad.theory.quadratic.implicit import Lipschitz, PenalisedQuadratic, error_bound


def drawn(seed, d=5, n=9):
    r = np.random.default_rng(seed)
    X, Z = r.standard_normal((n, d)), r.standard_normal((n, d))
    y, t = r.standard_normal(n), r.standard_normal(n)
    return PenalisedQuadratic(X.T @ X / n, X.T @ y / n, Z.T @ Z / n, Z.T @ t / n, r.standard_normal(d))


def written_out(p, theta, eta, steps):
    """Return F' through the optimum, the implicit one at w_T and the unrolled one, step by step, in long doubles."""
    H, b, M, q, w = (np.asarray(x, np.longdouble) for x in (p.H, p.b, p.M, p.q, p.w0))
    m, eta = np.exp(np.longdouble(theta)), np.longdouble(eta)
    A = (H + m * np.eye(len(b))).astype(float)
    dw = 0 * w
    for _ in range(steps):
        dw = dw - eta * (H @ dw + m * dw + m * w)
        w = w - eta * (H @ w + m * w - b)

    def at(w):
        return float((M @ w - q).astype(float) @ -np.linalg.solve(A, (m * w).astype(float)))

    best = np.linalg.solve(A, b.astype(float))
    return at(best), at(w), float((M @ w - q) @ dw)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_errors_against_steps_that_are_taken(seed, steps):
    problem, theta = drawn(seed), -1.0
    eta = 1.3 / problem.curvatures(theta)[-1]
    true, implicit, unrolled = written_out(problem, theta, eta, steps)
    assert problem.gradient(theta) == pytest.approx(true, rel=1e-11)
    np.testing.assert_allclose(problem.implicit_error(theta, eta, steps), implicit - true, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(problem.unrolled_error(theta, eta, steps), unrolled - true, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_the_slope_of_the_objective(seed):
    problem, h = drawn(seed), 1e-5

    def objective(theta):
        w = problem.optimum(theta)
        return w @ problem.M @ w / 2 - problem.q @ w

    assert problem.gradient(0.3) == pytest.approx((objective(0.3 + h) - objective(0.3 - h)) / (2 * h), rel=1e-7)
    assert abs(problem.gradient(0.3)) <= problem.scale(0.3)
    one = PenalisedQuadratic([[1.0]], [2.0], [[1.0]], [0.0], [0.0])  # in one dimension there is no angle
    assert one.scale(0.0) == pytest.approx(abs(one.gradient(0.0)))


def test_the_unrolled_error_has_a_factor_t_more():
    problem = drawn(1)
    eta = 1 / problem.curvatures(-1.0)[-1]
    steps = np.array([150, 300, 600])
    ratio = problem.unrolled_error(-1.0, eta, steps) / problem.implicit_error(-1.0, eta, steps)
    assert (ratio[2] - ratio[1]) / 300 == pytest.approx((ratio[1] - ratio[0]) / 150, rel=1e-3)


@pytest.mark.parametrize("seed", range(30))
def test_the_bound_holds(seed):
    problem = drawn(seed, d=1 + seed % 6)
    theta = np.random.default_rng(seed).uniform(-4, 2)
    eta = 1.5 / problem.curvatures(theta)[-1]
    steps = np.arange(1, 200)
    bound, error = problem.bound(theta, eta, steps), np.abs(problem.implicit_error(theta, eta, steps))
    assert (error <= bound * (1 + 1e-12)).all()
    w = problem.iterate(theta, eta, steps)
    g = w @ problem.H - problem.b + np.exp(theta) * w
    assert (
        np.linalg.norm(w - problem.optimum(theta), axis=-1)
        <= np.linalg.norm(g, axis=-1) / problem.curvatures(theta)[0] * (1 + 1e-9) + 1e-13
    ).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_holds_where_the_hessian_changes(seed):
    """One dimension, with everything differentiated by hand, and a v that is off."""
    r = np.random.default_rng(seed)
    theta, shift, residual = r.uniform(0.1, 0.8), r.uniform(-1, 1), r.uniform(-0.1, 0.1)
    # f = cosh(w) - theta sin(w) : g = sinh w - theta cos w, H = cosh w + theta sin w >= 0.2, dg/dtheta = -cos w
    # F = (w - shift)^2/2 + theta w: dF/dw = w - shift + theta, dF/dtheta = w

    def implicit(w, off=0.0):
        H = np.cosh(w) + theta * np.sin(w)
        return w + np.cos(w) * (1 + off) * (w - shift + theta) / H

    best = 0.0
    for _ in range(100):
        best -= (np.sinh(best) - theta * np.cos(best)) / (np.cosh(best) + theta * np.sin(best))
    w = best + r.uniform(-0.5, 0.5)
    bound = error_bound(
        abs(np.sinh(w) - theta * np.cos(w)),
        1 - theta,
        outer=abs(w - shift + theta),
        cross=abs(np.cos(w)),
        lipschitz=Lipschitz(1.0, 1.0, np.sinh(2.0) + theta, 1.0),
        residual=abs(residual),
    )
    assert abs(implicit(w, residual) - implicit(best)) <= bound


@pytest.mark.parametrize("seed", range(3))
def test_series_and_conjugate_gradients(seed):
    problem, theta = drawn(seed), -2.0
    A = problem.H + np.exp(theta) * np.eye(5)
    best = problem.optimum(theta)
    r, c = problem.M @ best - problem.q, np.exp(theta) * best
    step = 1.2 / problem.curvatures(theta)[-1]
    v = term = step * r
    for J in range(1, 6):
        assert problem.series_error(theta, step, J) == pytest.approx(-c @ v - problem.gradient(theta), rel=1e-9)
        term = term - step * A @ term
        v = v + term
    v, residual = 0 * r, r
    p = residual
    for error in problem.conjugate_gradients_error(theta, 5):
        alpha = residual @ residual / (p @ A @ p)
        v, after = v + alpha * p, residual - alpha * A @ p
        p = after + after @ after / (residual @ residual) * p
        residual = after
        assert error == pytest.approx(-c @ v - problem.gradient(theta), rel=1e-8, abs=1e-11)
    assert np.abs(problem.conjugate_gradients_error(theta, 9)[5:]).max() < 1e-12


ONE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PenalisedQuadratic(ONE, [1.0], ONE, [1.0, 1.0], [0.0, 0.0]), "expected b, q, w0 of shape"),
        (
            lambda: PenalisedQuadratic([[1.0, 1.0], [0.0, 1.0]], [1.0] * 2, ONE, [1.0] * 2, [0.0] * 2),
            "H is a matrix that",
        ),
        (lambda: PenalisedQuadratic(-ONE, [1.0] * 2, ONE, [1.0] * 2, [0.0] * 2), "eigenvalue -1"),
        (lambda: drawn(0).implicit_error(0.0, 9.0, 3), "eta is 9.0; expected a step size above 0 and below 2/"),
        (lambda: drawn(0).unrolled_error(0.0, 0.0, 3), "eta is 0.0"),
        (lambda: drawn(0).bound(0.0, 0.1, 0), "steps is 0"),
        (
            lambda: error_bound(1.0, 0.0, outer=1.0, cross=1.0, lipschitz=Lipschitz(1.0)),
            "convexity is 0.0; expected above 0",
        ),
        (
            lambda: error_bound(1.0, 1.0, outer=-1.0, cross=1.0, lipschitz=Lipschitz(1.0)),
            "outer is -1.0; expected 0 or more",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
