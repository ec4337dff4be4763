"""One large quadratic goes through blocks of symmetric products: the same numbers and Status as the tape's."""

import numpy as np
import pytest

from metagrad import Final, GradientDescent, LogFinal, Quadratic, Reverse, Scheduled
from metagrad.kernels import SymmetricDescent, block_kernel
from metagrad.xp import GRADIENT_TOLERANCE

D = 130  # beyond the sizes that compiled loops are for


def large_task(dtype, seed=0):
    stream = np.random.default_rng(seed)
    X = stream.normal(size=(D, D))
    return Quadratic((X.T @ X / D)[None].astype(dtype), stream.normal(size=(1, D)).astype(dtype))


def both(task, optimizer, objective, eta, steps, **options):
    phi = GradientDescent.Phi(eta)
    return [Reverse(fused=fused, **options)(task, optimizer, objective, phi, steps=steps) for fused in (True, False)]


def assert_equal_to_rounding(a, b, dtype, steps):
    assert float(a.relative_difference(b).max()) <= steps * GRADIENT_TOLERANCE[dtype]


def test_one_large_quadratic_has_a_kernel_of_its_own():
    task, phi = large_task("float64"), GradientDescent.Phi(np.asarray(0.1))
    kernel = block_kernel(task, GradientDescent(), phi, "full", scale_state=True, scale_adjoint=True)
    assert isinstance(kernel, SymmetricDescent)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaling", ["auto", "adjoint", "none"])
@pytest.mark.parametrize("objective", [Final(), LogFinal()], ids=["final", "log_final"])
def test_the_blocks_agree_with_the_tape(dtype, scaling, objective):
    blocks, tape = both(large_task(dtype), GradientDescent(), objective, 0.3, 12, scaling=scaling)
    for a, b in ((blocks.value, tape.value), (blocks.grad.eta, tape.grad.eta)):
        assert_equal_to_rounding(a, b, dtype, 12)


def test_a_schedule_gives_an_entry_a_step():
    eta = np.linspace(0.1, 0.4, 9)
    blocks, tape = both(large_task("float64"), Scheduled(GradientDescent()), LogFinal(), eta, 9)
    assert_equal_to_rounding(blocks.grad.eta, tape.grad.eta, "float64", 9)


@pytest.mark.parametrize("eta", [0.1, 20.0], ids=["falling", "rising"])
def test_far_outside_the_range_the_exponents_carry_on(eta):
    blocks, tape = both(large_task("float32"), GradientDescent(), Final(), eta, 300)
    assert blocks.status.tolist() == tape.status.tolist() == [0]
    assert_equal_to_rounding(blocks.grad.eta, tape.grad.eta, "float32", 300)


def test_plain_floats_break_down_at_the_same_step():
    blocks, tape = both(large_task("float32"), GradientDescent(), Final(), 20.0, 300, scaling="none")
    assert blocks.status.tolist() == tape.status.tolist() != [0]
    assert blocks.status_step.tolist() == tape.status_step.tolist()


def test_the_checkpoint_plan_changes_no_bit():
    task, phi = large_task("float32"), GradientDescent.Phi(20.0)
    few, many = (
        Reverse(memory=memory)(task, GradientDescent(), LogFinal(), phi, steps=40)
        for memory in (6 * task.w0.nbytes, 1 << 30)
    )
    for a, b in ((few.value, many.value), (few.grad.eta, many.grad.eta)):
        assert np.array_equal(a.mantissa, b.mantissa)
        assert np.array_equal(a.exponent, b.exponent)
