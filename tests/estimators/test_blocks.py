"""Compiled blocks of steps on quadratics against the tape: every loop, every rest of a row, in and out of range."""

from __future__ import annotations

import numpy as np
import pytest

import metagrad as mg
from metagrad.kernels import block_descent

pytest.importorskip("numba")

SIZES = [7, 8, 13, 20, 35, 190, 261]
CLOSE = {"float64": 1e-11, "float32": 2e-4}


def task_of(batch, d, dtype, seed, shared=False):
    rng = np.random.default_rng([seed, batch, d])
    X = rng.standard_normal((batch, d, d))
    H = np.matmul(X.transpose(0, 2, 1), X) / d
    H = (H + H.transpose(0, 2, 1)) / 2
    return mg.Quadratic((H[0] if shared else H).astype(dtype), rng.standard_normal((batch, d)).astype(dtype))


def both(task, eta, steps, **options):
    return [
        mg.Reverse(fused=fused, **options)(
            task, mg.GradientDescent(), mg.LogFinal(), mg.GradientDescent.Phi(eta), steps=steps
        )
        for fused in (True, False)
    ]


def test_each_size_has_the_loop_that_it_is_meant_for():
    kinds = {d: block_descent._kind_of(np.zeros((d, d))) for d in SIZES}
    assert kinds[7] == "dense"
    assert {kinds[d] for d in SIZES[1:-2]} == {"tiled"}
    assert kinds[190] == kinds[261] == "symmetric"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("d", SIZES)
def test_value_gradient_and_digits_are_those_of_the_tape(d, dtype, seed):
    steps = 6
    for scaling in ("none", "auto"):
        ours, tape = both(task_of(3, d, dtype, seed), 0.3, steps, scaling=scaling, rescue="never")
        far = max(float(ours.value.relative_difference(tape.value).max()), 0.0)
        assert far < CLOSE[dtype]
        assert float(ours.grad.eta.relative_difference(tape.grad.eta)) < CLOSE[dtype]
        np.testing.assert_array_equal(ours.status, tape.status)
        np.testing.assert_allclose(ours.end.w, tape.end.w, rtol=0, atol=CLOSE[dtype] * np.abs(tape.end.w).max())


@pytest.mark.parametrize("d", [5, 20, 190])
def test_one_matrix_for_all_tasks(d):
    ours, tape = both(task_of(4, d, "float64", 2, shared=True), 0.3, 9)
    assert float(ours.grad.eta.relative_difference(tape.grad.eta)) < CLOSE["float64"]


@pytest.mark.parametrize("d", [5, 20, 190])
@pytest.mark.parametrize("scaling", ["none", "adjoint", "auto"])
def test_runs_that_leave_the_range_end_as_those_of_the_tape(d, scaling):
    task = task_of(3, d, "float64", 3)
    task = mg.Quadratic(task.H * np.array([1.0, 1e3, 1e6])[:, None, None], task.w0)
    ours, tape = both(task, 1.0, 60, scaling=scaling, rescue="never", per_task=False)
    # Whether infinities of both signs meet in a sum, which is a NaN, is up to the order in which a library adds.
    codes = [
        np.where(e.status == mg.Status.STATE_NAN.code, mg.Status.STATE_OVERFLOW.code, e.status) for e in (ours, tape)
    ]
    np.testing.assert_array_equal(*codes)
    np.testing.assert_array_equal(ours.status_step, tape.status_step)
    kept = np.isfinite(tape.value.mantissa)
    np.testing.assert_array_equal(np.isfinite(ours.value.mantissa), kept)
    assert np.all(ours.value[kept].relative_difference(tape.value[kept]) < 1e-9)
    assert np.isfinite(ours.grad.eta.mantissa) == np.isfinite(tape.grad.eta.mantissa)


@pytest.mark.parametrize("d", [5, 20, 190])
def test_less_memory_gives_the_same_bits(d):
    task, rule, phi = task_of(2, d, "float64", 4), mg.GradientDescent(), mg.GradientDescent.Phi(0.2)
    state = 2 * d * 8 + 16
    found = [
        mg.Reverse(memory=memory)(task, rule, mg.LogFinal(), phi, steps=30)
        for memory in (1 << 30, 9 * state, 4 * state)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.value.mantissa, found[0].value.mantissa)
        np.testing.assert_array_equal(other.grad.eta.mantissa, found[0].grad.eta.mantissa)


def test_a_row_that_is_not_passed_by_is_caught():
    task = task_of(2, 20, "float64", 5)
    H = task.H.copy()
    H[:, -1, -1] += 1e-6
    ours, _ = both(task, 0.3, 6)
    other, _ = both(mg.Quadratic(H, task.w0), 0.3, 6)
    assert float(ours.grad.eta.relative_difference(other.grad.eta)) > 1e-9
