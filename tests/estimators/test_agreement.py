"""Reverse = forward = closed form = finite differences, fused = tape, batch = loop, whatever the plan."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad import ClosedForm, DiagonalQuadratic, Final, Forward, GradientDescent, LogFinal, Quadratic, Reverse, parts
from metagrad.xp import GRADIENT_TOLERANCE
from tests.strategies import OBJECTIVES, horizons, objectives, phi_of, quadratics, random_quadratic, step_sizes

KINDS = ["shared", "coordinate", "task", "schedule", "schedule_task"]
TOLERANCE = GRADIENT_TOLERANCE["float64"]


def worst_difference(a, b):
    """Return the largest relative difference of two Scaled arrays, against the size of the array's largest entry."""
    difference, size = (a - b).log2abs(), np.maximum(a.log2abs(), b.log2abs())
    top = size.max()
    return 0.0 if np.isneginf(top) else float(np.exp2(difference.max() - top))


def conditioning(task, eta, steps, objective):
    """Return how much a relative error of one unit in a_i = 1 - eta lambda_i is magnified by t and by cancellation.

    G' sums terms of both signs: what it loses is the ratio of the sum of magnitudes to the magnitude of the sum. A
    mode near a_i = 0 magnifies the rounding of eta by 1/|a_i|.
    """
    lam = task.eigenvalues if isinstance(task, DiagonalQuadratic) else np.linalg.eigvalsh(task.H)
    a = np.abs(1 - np.max(eta) * lam)
    return 10 * steps / min(1.0, float(np.max(a))) if a.size else 1.0


@given(quadratics, step_sizes, horizons, objectives, st.sampled_from(KINDS), st.sampled_from(["full", "stop_gradient"]))
def test_reverse_is_forward(task, eta, steps, objective, kind, gradient):
    optimizer, phi, per_task = phi_of(kind, task, steps, eta)
    runs = [
        method(gradient=gradient, per_task=per_task)(task, optimizer, objective, phi, steps=steps)
        for method in (Reverse, Forward)
    ]
    scale = conditioning(task, phi.eta, steps, objective)
    assert worst_difference(runs[0].value, runs[1].value) <= scale * TOLERANCE
    # stop-gradient: sums of terms of both signs that may cancel; measured against the largest entry
    assert worst_difference(runs[0].grad.eta, runs[1].grad.eta) <= scale * TOLERANCE * (1 + cancellation(runs))


def cancellation(runs):
    """A meta-gradient that cancels to almost nothing has few digits: bound by the spread of its size."""
    return 1e3 if min(float(r.grad.eta.log2abs().max()) for r in runs) < -20 else 0.0


@given(quadratics, step_sizes, horizons, objectives)
def test_reverse_is_closed_form(task, eta, steps, objective):
    optimizer, phi, _ = phi_of("task", task, steps, eta)
    ours = Reverse(per_task=True)(task, optimizer, objective, phi, steps=steps)
    exact = ClosedForm(per_task=True)(task, optimizer, objective, phi, steps=steps)
    for a, b in ((ours.value, exact.value), (ours.grad.eta, exact.grad.eta)):
        assert worst_difference(a, b) <= conditioning(task, eta, steps, objective) * 1e-12


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaling", ["auto", "adjoint", "none"])
def test_fused_step_is_the_tapes_step(objective, kind, scaling):
    for diagonal in (False, True):
        task = random_quadratic(3, 4, seed=1, diagonal=diagonal)
        optimizer, phi, per_task = phi_of(kind, task, 12, 0.7)
        for gradient in ("full", "stop_gradient"):
            for method in (Reverse, Forward):
                estimator = method(gradient=gradient, scaling=scaling, per_task=per_task)
                fused, taped = (
                    replace(estimator, fused=f)(task, optimizer, objective, phi, steps=12) for f in (True, False)
                )
                assert worst_difference(fused.value, taped.value) <= TOLERANCE
                assert worst_difference(fused.grad.eta, taped.grad.eta) <= TOLERANCE


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_value_is_the_plain_loop(objective):
    task = random_quadratic(2, 3, seed=2)
    eta, steps = 0.4, 7
    w, terms = task.w0, []
    for _ in range(steps):
        w = w - eta * task.gradient(w, None)
        terms.append(objective.measure.of(task, w, None))
    terms = np.array(terms)
    rho = getattr(objective, "rho", None)
    if rho is not None:
        expected = rho ** np.arange(1, steps + 1) @ terms
    elif type(objective).__name__ == "Mean":
        expected = terms.mean(axis=0)
    elif type(objective).__name__ == "MeanLog":
        expected = np.log(terms).mean(axis=0)
    else:
        expected = np.log(terms[-1]) / steps if parts.takes_a_logarithm(objective) else terms[-1]
    found = Reverse()(task, GradientDescent(), objective, GradientDescent.Phi(eta), steps=steps)
    np.testing.assert_allclose(found.value.to_float(), expected, rtol=1e-13)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_finite_difference(objective, kind):
    task = random_quadratic(3, 4, seed=3, diagonal=True)
    optimizer, phi, per_task = phi_of(kind, task, 6, 0.5)
    estimator = Reverse(per_task=per_task)
    found = estimator(task, optimizer, objective, phi, steps=6).grad.eta.to_float()
    eta = np.asarray(phi.eta)

    def total(values):
        value = estimator(task, optimizer, objective, type(phi)(values), steps=6).value.to_float()
        return value.sum() if per_task else value.mean()

    for entry in np.ndindex(eta.shape):
        h = np.zeros_like(eta)
        h[entry] = 1e-5
        slope = (total(eta + h) - total(eta - h)) / 2e-5
        assert slope == pytest.approx(found[entry], rel=1e-6, abs=1e-8 * np.abs(found).max())


@given(st.integers(1, 60), st.integers(2, 70), objectives)
def test_the_checkpoint_plan_is_irrelevant_bit_for_bit(steps, room, objective):
    task = random_quadratic(2, 3, seed=4)
    state = task.w0.nbytes + 2 * 8
    few, all_kept = (
        Reverse(memory=memory)(task, GradientDescent(), objective, GradientDescent.Phi(1.3), steps=steps)
        for memory in (room * state, 1 << 30)
    )
    for a, b in ((few.value, all_kept.value), (few.grad.eta, all_kept.grad.eta)):
        assert np.array_equal(a.mantissa, b.mantissa)
        assert np.array_equal(a.exponent, b.exponent)


@given(quadratics, step_sizes, horizons, objectives)
def test_scaled_is_plain_where_plain_is_finite(task, eta, steps, objective):
    optimizer, phi, _ = phi_of("shared", task, steps, eta)
    plain, scaled = (Reverse(scaling=s)(task, optimizer, objective, phi, steps=steps) for s in ("none", "auto"))
    if plain.ok:
        assert worst_difference(plain.grad.eta, scaled.grad.eta) <= conditioning(task, eta, steps, objective) * 1e-12


@pytest.mark.parametrize("kind", ["task", "schedule_task"])
def test_batch_is_a_loop_over_tasks(kind):
    batch = random_quadratic(4, 3, seed=5)
    optimizer, phi, _ = phi_of(kind, batch, 9, 0.6)
    together = Reverse(per_task=True)(batch, optimizer, LogFinal(), phi, steps=9)
    for b in range(4):
        alone = Quadratic(batch.H[b], batch.w0[b])
        eta = phi.eta[..., b : b + 1]
        one = Reverse(per_task=True)(alone, optimizer, LogFinal(), type(phi)(eta), steps=9)
        assert worst_difference(one.grad.eta, together.grad.eta[..., b : b + 1]) <= TOLERANCE
        assert worst_difference(one.value, together.value[b : b + 1]) <= TOLERANCE


def test_shared_gradient_is_the_mean_over_tasks():
    task = random_quadratic(5, 3, seed=6)
    shared = Reverse()(task, GradientDescent(), Final(), GradientDescent.Phi(0.5), steps=20)
    each = Reverse(per_task=True)(task, GradientDescent(), Final(), GradientDescent.Phi(np.full(5, 0.5)), steps=20)
    assert worst_difference(shared.grad.eta.reshape((1,)), each.grad.eta.mean().reshape((1,))) <= TOLERANCE
