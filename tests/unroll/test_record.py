"""Sizes along a run: those of the formula, far beyond the range of floats, whatever the memory."""

import numpy as np
import pytest

import metagrad as mg
from tests.strategies import random_quadratic


@pytest.mark.parametrize("eta", [0.05, 0.9, 3.1])
def test_sizes_of_state_and_adjoint_of_one_mode(eta):
    """w_t = a^t w_0 and lambda_t = a^(2T - t) h w_0 for the loss h w^2/2, a = 1 - eta h."""
    h, steps = 0.8, 1500
    task = mg.DiagonalQuadratic(np.array([h]), np.array([[1.5], [-0.5]]))
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), eta, steps=steps, record=True)
    w0, t, growth = np.abs(task.w0[:, 0]), np.arange(steps + 1)[:, None], np.log2(abs(1 - eta * h))
    np.testing.assert_allclose(found.record.state.log2abs(), np.log2(w0) + t * growth, rtol=1e-11, atol=1e-9)
    adjoint = np.log2(h * w0) + (2 * steps - t) * growth
    np.testing.assert_allclose(found.record.adjoint.log2abs(), adjoint, rtol=1e-11, atol=1e-9)


def test_a_record_changes_no_bit_and_needs_no_memory():
    task, rule = random_quadratic(3, 4, seed=1), mg.Momentum()
    phi = mg.Momentum.Phi(0.1, 0.5)
    plain = mg.meta_gradient(task, rule, mg.MeanLog(), phi, steps=60)
    few, many = (
        mg.meta_gradient(task, rule, mg.MeanLog(), phi, steps=60, record=True, memory=m) for m in (3000, 1 << 30)
    )
    assert plain.record is None
    for a, b in zip(few.record, many.record, strict=True):
        np.testing.assert_array_equal(a.mantissa, b.mantissa)
        assert a.shape == (61, 3)
    assert many.grad.eta == plain.grad.eta
