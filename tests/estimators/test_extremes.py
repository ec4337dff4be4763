"""Far outside the float range: against 50-digit arithmetic, and what Status says of the plain engine."""

import mpmath
import numpy as np
import pytest

from metagrad import (
    ClosedForm,
    DiagonalQuadratic,
    Final,
    Forward,
    FunctionTask,
    GradientDescent,
    LogFinal,
    Quadratic,
    Reverse,
    Status,
    WeightedSum,
)

Phi = GradientDescent.Phi
EIGENVALUES = np.array([0.3, 0.7, 1.0])
START = np.array([1.0, -0.6, 0.8])


def reference(eta, steps):
    """Return (log2|F'|, sign F', G') with 50 digits, from the exact floats that the engine is given."""
    with mpmath.workdps(50):
        lam, c = [mpmath.mpf(x) for x in EIGENVALUES], [mpmath.mpf(x) ** 2 for x in START]
        a = [1 - mpmath.mpf(eta) * x for x in lam]
        F = sum(ci * li * ai ** (2 * steps) / 2 for ci, li, ai in zip(c, lam, a, strict=True))
        dF = -steps * sum(ci * li**2 * ai ** (2 * steps - 1) for ci, li, ai in zip(c, lam, a, strict=True))
        return float(mpmath.log(abs(dF), 2)), int(mpmath.sign(dF)), float(dF / (F * steps))


@pytest.mark.parametrize("steps", [1000, 100_000])
@pytest.mark.parametrize("eta", [0.01, 0.5, 1.2, 1.9, 3.0])
def test_scaled_engine_agrees_with_fifty_digits(eta, steps):
    task = DiagonalQuadratic(EIGENVALUES, START)
    log2, sign, slope = reference(eta, steps)
    found = Reverse()(task, GradientDescent(), LogFinal(), Phi(eta), steps=steps)
    assert found.ok
    assert float(found.grad.eta.to_float()) == pytest.approx(slope, rel=1e-10)
    if steps == 1000:
        plain = Reverse()(task, GradientDescent(), Final(), Phi(eta), steps=steps).grad.eta
        assert plain.sign() == sign
        assert float(plain.log2abs()) == pytest.approx(log2, rel=1e-12)


@pytest.mark.parametrize(
    ("eta", "dtype"), [(2.75, np.float32), (0.5, np.float32), (2.75, np.float16), (0.5, np.float16)]
)
def test_scaled_engine_in_narrow_dtypes(eta, dtype):
    task = DiagonalQuadratic(EIGENVALUES.astype(dtype), START.astype(dtype))
    found = Reverse()(task, GradientDescent(), LogFinal(), Phi(eta), steps=2000)
    exact = ClosedForm()(task, GradientDescent(), LogFinal(), Phi(float(dtype(eta))), steps=2000)
    tolerance = {np.float32: 1e-4, np.float16: 0.1}[dtype]
    assert found.ok
    assert found.grad.eta.dtype == dtype
    assert float(found.grad.eta.to_float()) == pytest.approx(float(exact.grad.eta.to_float()), rel=tolerance)


@pytest.mark.parametrize(
    ("eta", "expected"),
    [(2.5, "OVERFLOW"), (0.9, "UNDERFLOW")],
)
@pytest.mark.parametrize("method", [Reverse, Forward])
def test_plain_engine_never_returns_a_wrong_number_in_silence(eta, expected, method):
    task = DiagonalQuadratic(EIGENVALUES, START)
    for steps in (100, 400, 1000, 3000, 10_000):
        found = method(scaling="none")(task, GradientDescent(), LogFinal(), Phi(eta), steps=steps)
        slope = reference(eta, steps)[2]
        right = bool(abs(float(found.grad.eta.to_float(out_of_range="ieee")) / slope - 1) < 1e-8)
        assert right or not found.ok
        if not found.ok:
            assert expected in found.report()
            assert "step" in found.report()
    assert not found.ok, "this horizon was meant to be out of range"


def test_the_classic_silent_zero():
    """Expanding, float64: the log objective's gradient comes out as 0.0 with no NaN anywhere; exactly 4/3."""
    task = DiagonalQuadratic(np.array([1.0]), np.array([1.0]))
    plain = Reverse(scaling="none")(task, GradientDescent(), LogFinal(), Phi(2.5), steps=1000)
    assert float(plain.grad.eta.mantissa) == 0.0
    assert not plain.ok
    scaled = Reverse()(task, GradientDescent(), LogFinal(), Phi(2.5), steps=1000)
    assert scaled.ok
    assert float(scaled.grad.eta.to_float()) == pytest.approx(4 / 3, rel=1e-12)


def test_values_of_1e600_and_their_gradients():
    task = DiagonalQuadratic(np.array([1.0]), np.array([1.0]))
    found = Reverse()(task, GradientDescent(), Final(), Phi(3.0), steps=1000)
    assert float(found.value.log2abs()[0]) == pytest.approx(2000 - 1, abs=1e-9)
    assert float(found.grad.eta.log2abs()) == pytest.approx(np.log2(1000) + 1999, rel=1e-13)


def test_tiny_and_huge_starts():
    for size in (1e-300, 1e-150, 1e150, 1e300):
        task = DiagonalQuadratic(EIGENVALUES, START * size)
        found = Reverse()(task, GradientDescent(), LogFinal(), Phi(0.5), steps=50)
        assert found.ok
        assert float(found.grad.eta.to_float()) == pytest.approx(reference(0.5, 50)[2], rel=1e-12)


def test_a_solved_problem_has_no_logarithm():
    task = DiagonalQuadratic(np.array([1.0]), np.array([1.0]))
    found = Reverse()(task, GradientDescent(), LogFinal(), Phi(1.0), steps=5)
    codes = {Status.from_code(code) for code in found.status}
    assert codes & {Status.LOG_OF_ZERO, Status.STATE_ZERO}
    assert np.isneginf(found.value.mantissa[0])
    assert np.isnan(found.grad.eta.mantissa)
    plain = Reverse()(task, GradientDescent(), Final(), Phi(1.0), steps=5)
    assert float(plain.value.mantissa[0]) == 0.0
    assert float(plain.grad.eta.mantissa) == 0.0


@pytest.mark.parametrize("H", [np.diag([1.0, 0.0]), np.zeros((2, 2)), np.diag([1.0, 1.0])])
def test_singular_and_repeated(H):
    task = Quadratic(H, np.array([1.0, 2.0]))
    for objective in (Final(), Final("squared_norm"), LogFinal("squared_norm"), WeightedSum(0.5)):
        ours = Reverse()(task, GradientDescent(), objective, Phi(0.3), steps=30)
        exact = ClosedForm()(task, GradientDescent(), objective, Phi(0.3), steps=30)
        assert ours.grad.eta.relative_difference(exact.grad.eta) <= 1e-12
        assert (ours.value.relative_difference(exact.value) <= 1e-12).all()


def test_one_task_out_of_range_leaves_the_others_alone():
    lam = np.array([[1.0], [1.0], [1.0]])
    task = DiagonalQuadratic(lam, np.ones((3, 1)))
    found = Reverse(scaling="none", per_task=True)(
        task, GradientDescent(), LogFinal(), Phi(np.array([0.1, 2.9, 0.2])), steps=1500
    )
    assert [code == 0 for code in found.status] == [True, False, True]
    assert found.grad.eta[0].to_float() == pytest.approx(-2 / 0.9, rel=1e-12)


def test_a_chaotic_loss_keeps_its_adjoint():
    """Where the state stays in range and only the adjoint explodes, scaling the adjoint is exact for any loss."""
    # quartic double well: above a step size of about 1 gradient descent is chaotic and the product of 1 - eta f'' grows
    task = FunctionTask(lambda w: np.sum((w * w - 1.0) ** 2 / 4.0, axis=-1), w0=np.array([[0.3]]))
    steps, eta = 3000, 1.4
    w, dw, exponent = 0.3, 0.0, 0
    for _ in range(steps):
        g, h = w * (w * w - 1.0), 3 * w * w - 1.0
        dw = dw * (1 - eta * h) - np.ldexp(g, -exponent)
        w = w - eta * g
        if abs(dw) > 2.0**100:
            dw, exponent = dw * 2.0**-100, exponent + 100
    slope = w * (w * w - 1.0) * dw
    found = Reverse()(task, GradientDescent(), Final(), Phi(eta), steps=steps)
    assert found.status == Status.CHAOTIC.code  # that of these very roundings
    assert found.grad.eta.sign() == np.sign(slope)
    assert float(found.grad.eta.log2abs()) == pytest.approx(np.log2(abs(slope)) + exponent, rel=1e-9)
    assert not Reverse(scaling="none")(task, GradientDescent(), Final(), Phi(eta), steps=steps).ok or exponent < 1000


def test_a_state_that_overflows_without_homogeneity_is_reported():
    task = FunctionTask(lambda w: np.sum(w**4, axis=-1), w0=np.array([[3.0]]))
    found = Reverse()(task, GradientDescent(), Final(), Phi(1.0), steps=50)
    assert Status.from_code(found.status[0]) in (Status.STATE_OVERFLOW, Status.STATE_NAN)
    assert 1 <= found.status_step[0] <= 10
