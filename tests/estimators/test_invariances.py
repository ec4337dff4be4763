"""Identities that every meta-gradient of gradient descent on a quadratic obeys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import DiagonalQuadratic, Final, GradientDescent, LogFinal, Quadratic, Reverse, Scheduled
from metagrad.xp import rng
from tests.estimators.test_agreement import worst_difference
from tests.strategies import horizons, objectives, quadratics, random_quadratic, step_sizes

Phi = GradientDescent.Phi


def solve(task, objective, eta, steps, **options):
    return Reverse(**options)(task, GradientDescent(), objective, Phi(eta), steps=steps)


@given(st.permutations(range(4)), st.permutations(range(3)), objectives)
def test_permuting_tasks_and_coordinates(tasks, coordinates, objective):
    task = random_quadratic(4, 3, seed=1, diagonal=True)
    moved = DiagonalQuadratic(task.eigenvalues[tasks][:, coordinates], task.w0[tasks][:, coordinates])
    a, b = solve(task, objective, 0.6, 15), solve(moved, objective, 0.6, 15)
    assert worst_difference(a.value[list(tasks)], b.value) <= 1e-13
    assert worst_difference(a.grad.eta.reshape((1,)), b.grad.eta.reshape((1,))) <= 1e-12


@given(st.integers(0, 2**31), objectives)
def test_orthogonal_change_of_basis(seed, objective):
    task = random_quadratic(2, 4, seed=seed)
    Q = np.linalg.qr(rng(seed, "basis").standard_normal((4, 4)))[0]
    H = Q @ task.H @ Q.T
    moved = Quadratic((H + H.swapaxes(1, 2)) / 2, task.w0 @ Q.T)
    a, b = solve(task, objective, 0.6, 15), solve(moved, objective, 0.6, 15)
    assert worst_difference(a.grad.eta.reshape((1,)), b.grad.eta.reshape((1,))) <= 1e-10


@given(st.floats(1e-3, 1e3), step_sizes, horizons)
def test_time_scale(c, eta, steps):
    """eta -> eta c with H -> H/c: the same trajectory, so G' of the squared norm is divided by c."""
    task = random_quadratic(2, 3, seed=2, diagonal=True)
    slower = DiagonalQuadratic(task.eigenvalues / c, task.w0)
    objective = LogFinal("squared_norm")
    a = solve(task, objective, eta, steps, per_task=False).grad.eta.to_float()
    b = solve(slower, objective, eta * c, steps).grad.eta.to_float() * c
    a_max = np.abs(1 - eta * task.eigenvalues).max(axis=1).min()
    assert a == pytest.approx(b, rel=1e-12 * steps / min(1.0, a_max))


@given(quadratics, step_sizes, st.integers(1, 20), st.integers(1, 20))
def test_splitting_the_horizon(task, eta, first, second):
    """F over s + t steps is F over t steps from w_s; the schedule's gradient splits at s."""
    whole = Reverse()(
        task, Scheduled(GradientDescent()), Final(), Phi(np.full(first + second, eta)), steps=first + second
    )
    w = task.w0
    for _ in range(first):
        w = w - eta * task.gradient(w, None)
    if not np.all(np.abs(w) > 1e-200):
        return
    rest = type(task)(task.H if isinstance(task, Quadratic) else task.eigenvalues, w)
    part = Reverse()(rest, Scheduled(GradientDescent()), Final(), Phi(np.full(second, eta)), steps=second)
    assert worst_difference(part.value, whole.value) <= 1e-11 * (first + second)
    assert worst_difference(part.grad.eta, whole.grad.eta[first:]) <= 1e-10 * (first + second)


@given(st.floats(1e-6, 1e6), horizons)
def test_degree_two_in_w0(s, steps):
    """F is homogeneous of degree 2 in w0, and G' does not see its size."""
    task = random_quadratic(2, 3, seed=3, diagonal=True)
    bigger = DiagonalQuadratic(task.eigenvalues, task.w0 * s)
    a, b = (solve(x, LogFinal(), 0.5, steps).grad.eta.to_float() for x in (task, bigger))
    assert a == pytest.approx(b, rel=1e-11)


def test_the_sum_of_a_schedules_gradient_is_the_gradient_of_the_constant():
    task = random_quadratic(3, 4, seed=4)
    constant = solve(task, LogFinal(), 0.7, 25).grad.eta.to_float()
    each = Reverse()(
        task, Scheduled(GradientDescent()), LogFinal(), Phi(np.full(25, 0.7)), steps=25
    ).grad.eta.to_float()
    assert each.sum() == pytest.approx(constant, rel=1e-12)
    # on a quadratic every step contributes the same (theory.md, T2)
    assert each == pytest.approx(np.full(25, constant / 25), rel=1e-11)
