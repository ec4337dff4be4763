"""What fell out of the range of floats beside other entries: right at any size, and silent where nothing is lost."""

import mpmath
import numpy as np
import pytest

import metagrad as mg
from metagrad.errors import Status
from metagrad.xp import rng

mpmath.mp.dps = 60
METHODS = ("reverse", "forward", "value")


def diagonal(eigenvalues, w0, dtype="float64"):
    return mg.DiagonalQuadratic(np.array([eigenvalues], dtype), np.array([w0], dtype))


def own(dtype):
    return mg.FunctionTask(lambda w: 0.5 * (w * w).sum(axis=-1), np.ones((1, 1), dtype))


def ask(method, *parts, steps, **options):
    if method == "value":
        return mg.value(*parts, steps=steps, **options)
    return mg.meta_gradient(*parts, steps=steps, method=method, **options)


def exact(numbers):
    """Return Scaled numbers as mpmath's."""
    flat = numbers.reshape(-1)
    return [mpmath.ldexp(mpmath.mpf(float(x.mantissa)), int(x.exponent)) for x in flat]


def close(found, right, rel):
    assert abs(found - right) <= rel * abs(right), (mpmath.nstr(found, 8), mpmath.nstr(right, 8))


# w_t = (1 - eta h)^t w_0 in every coordinate, exactly
def by_hand(h, w0, etas):
    w = [mpmath.mpf(float(x)) for x in w0]
    for eta in etas:
        rates = np.broadcast_to(eta, len(w))
        w = [x * (1 - mpmath.mpf(float(r)) * mpmath.mpf(float(k))) for x, r, k in zip(w, rates, h, strict=True)]
    return w, sum(mpmath.mpf(float(k)) * x**2 for x, k in zip(w, h, strict=True)) / 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("h", "w0", "eta", "steps", "dtype"),
    [
        ((1.0, 0.0), (1.0, 1.0), 0.5, 2000, "float64"),
        ((0.0, 0.5, 1.0), (1.0, 1.0, 1.0), 0.7, 900, "float64"),
        ((1.0, 0.5), (1e-200, 1e200), 1.9, 400, "float64"),
        ((1.0, 0.0), (1.0, 1.0), 0.5, 300, "float32"),
    ],
)
def test_a_coordinate_beside_a_larger_one_that_costs_nothing(method, h, w0, eta, steps, dtype):
    task = diagonal(h, w0, dtype)
    found = ask(method, task, mg.GradientDescent(), mg.Final(), eta, steps=steps)
    assert found.ok
    assert found.carrier == "entry"
    rate = np.asarray(eta, dtype)
    w, value = by_hand(task.eigenvalues[0], task.w0[0], [rate] * steps)
    tolerance = steps * 4 * float(np.finfo(dtype).eps)
    close(exact(found.value)[0], value, tolerance)
    if method != "value":
        terms = [(mpmath.mpf(float(k)), x) for k, x in zip(task.eigenvalues[0], w, strict=True)]
        slope = -sum(steps * k**2 * x**2 / (1 - mpmath.mpf(float(rate)) * k) for k, x in terms)
        close(exact(found.grad.eta)[0], slope, tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_two_phases_of_a_schedule(method):
    task, eta = diagonal((1.0, 0.001), (1.0, 1.0)), np.r_[np.full(120, 30.0), np.full(20, 0.999)].repeat(3)
    _, right = by_hand((1.0, 0.001), (1.0, 1.0), eta)
    found = ask(method, task, mg.Scheduled(mg.GradientDescent()), mg.Final(), eta, steps=len(eta))
    assert found.ok
    close(exact(found.value)[0], right, 1e-10)


@pytest.mark.parametrize(("dtype", "steps", "rel"), [("float64", 600, 1e-11), ("float32", 100, 2e-4)])
@pytest.mark.parametrize("method", METHODS[:2])
def test_a_step_size_a_coordinate(method, dtype, steps, rel):
    task, eta = diagonal((1.0, 1.0), (1.0, 1.0), dtype), np.array([3.0, 0.01], dtype)
    found = ask(method, task, mg.GradientDescent(), mg.Final(), eta, steps=steps)
    assert found.ok
    w, _ = by_hand((1.0, 1.0), (1.0, 1.0), [eta] * steps)
    for came, x, rate in zip(exact(found.grad.eta), w, eta, strict=True):
        close(came, -steps * x**2 / (1 - mpmath.mpf(float(rate))), rel)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dtype", "eta", "steps"), [("float32", 0.5, 100), ("float64", 0.5, 560)])
def test_the_loss_of_ones_own_falls_below_the_range(method, dtype, eta, steps):
    found = ask(method, own(dtype), mg.GradientDescent(), mg.Final(), eta, steps=steps)
    assert found.ok
    assert found.carrier == "wide"
    close(exact(found.value)[0], mpmath.mpf(0.5) ** (2 * steps + 1), 1e-4)
    log = ask(method, own(dtype), mg.GradientDescent(), mg.LogFinal(), 0.45, steps=steps)
    rate = 1 - mpmath.mpf(float(np.asarray(0.45, dtype)))
    assert log.ok
    close(exact(log.value)[0], 2 * mpmath.log(rate) - mpmath.log(2) / steps, 1e-5)
    if method != "value":
        close(exact(log.grad.eta)[0], -2 / rate, 1e-4)


def test_w_falls_behind_a_large_state():
    """The right values: the same recursions in 400-bit arithmetic on the numbers that float32 holds."""
    unit = diagonal([1.0], [1.0], "float32")
    rms = mg.meta_gradient(unit, mg.RMSprop(), mg.Final(), mg.RMSprop.Phi(0.05, 0.99, 1e-8), steps=1000)
    assert rms.ok
    assert rms.carrier == "wide"
    assert rms.value.to_float()[0] == pytest.approx(1.2e-8, rel=0.2)  # float32 has one digit here
    ada = mg.meta_gradient(unit, mg.Adagrad(), mg.Final(), 0.5, steps=300)
    assert ada.ok
    close(exact(ada.value)[0], mpmath.mpf("6.7e-147"), 0.01)
    close(exact(ada.grad.eta)[0], mpmath.mpf("-8.37e-144"), 0.01)
    small = diagonal([7.832894e-06], [-0.014743975], "float32")
    phi = mg.Adam.Phi(0.0055974964, 1e-4, 0.99, 1e-8)
    adam = mg.meta_gradient(small, mg.Adam(), mg.Mean(), phi, steps=361)
    assert adam.ok
    assert adam.grad.eta.to_float() == pytest.approx(1.72e-9, rel=0.01)


@pytest.mark.parametrize("window", [7, 150])
def test_windows_carry_what_fell_from_one_to_the_next(window):
    parts = diagonal((1.0, 0.0), (1.0, 1.0), "float32"), mg.GradientDescent(), mg.Final(), 0.5
    found = mg.meta_gradient(*parts, steps=200, method="windows", window=window)
    whole = mg.meta_gradient(*parts, steps=200)
    assert found.ok
    close(exact(found.value)[0], exact(whole.value)[0], 1e-12)
    share = mpmath.mpf(200 % window or window) / 200  # each step of the last window adds alike
    close(exact(found.grad.eta)[0], share * exact(whole.grad.eta)[0], 1e-10)


def test_a_run_in_two_parts_ends_where_one_does():
    parts = diagonal((1.0, 0.0), (1.0, 1.0)), mg.GradientDescent(), mg.Final(), 0.5
    first = mg.meta_gradient(*parts, steps=800)
    second = mg.meta_gradient(*parts, steps=800, at=first.end)
    whole = mg.meta_gradient(*parts, steps=1600)
    close(exact(second.value)[0], exact(whole.value)[0], 1e-12)


@pytest.mark.parametrize("scaling", ["adjoint", "none"])
def test_without_scaling_it_is_said(scaling):
    found = mg.meta_gradient(own("float32"), mg.GradientDescent(), mg.Final(), 0.5, steps=100, scaling=scaling)
    assert not found.ok


def test_never_is_never_and_said():
    found = mg.meta_gradient(own("float32"), mg.GradientDescent(), mg.Final(), 0.5, steps=100, rescue="never")
    assert found.carrier == "task"
    assert Status.from_code(int(found.status[0])) in (
        Status.ENTRIES_LOST,
        Status.STATE_UNDERFLOW,
        Status.OBJECTIVE_UNDERFLOW,
    )
    assert "rescue" in found.report()


def test_code_that_leaves_numpy_is_named():
    def loss(w):
        return 0.5 * np.sum(np.nanmax(w * w, axis=-1, keepdims=True), axis=-1)

    class Own:
        def init(self, rng):
            return np.ones((1, 1), np.float32)

        def loss(self, w, sample):
            return loss(w)

        def gradient(self, w, sample):
            return w

    found = mg.value(Own(), mg.GradientDescent(), mg.Final(), 0.5, steps=100)
    assert not found.ok
    assert "numpy.nanmax does not know scaled numbers" in found.report()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ordinary_runs_pay_nothing(seed, dtype):
    """Contraction at many rates loses entries beside others, and nothing that counts: no second run."""
    stream = rng(seed, "ordinary", dtype)
    d = int(stream.integers(2, 11))
    h = 10.0 ** stream.uniform(-3, 0, (2, d))
    task = mg.DiagonalQuadratic(h.astype(dtype), stream.standard_normal((2, d)).astype(dtype))
    steps = int(stream.integers(10, 1500))
    for objective in (mg.Final(), mg.LogFinal(), mg.MeanLog()):
        found = mg.meta_gradient(task, mg.GradientDescent(), objective, 1.5 / h.max(), steps=steps)
        assert found.ok
        assert found.carrier == "task"


def test_what_grows_doubly_exponentially_is_said_to_overflow():
    """w <- w - eta w^3: exponents triple at every step, and beside it one coordinate falls out of the range."""

    def loss(w):
        return (0.25 * w[..., 0] ** 4 + 0.5e-60 * w[..., 1] ** 2) * np.ones_like(w[..., 0])

    task = mg.FunctionTask(loss, np.array([[3.0, 1e-10]], np.float32))
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 1.0, steps=120, rescue="always")
    assert Status.from_code(int(found.status[0])).name.endswith(("OVERFLOW", "NAN"))


@pytest.mark.parametrize("fused", [True, False])
def test_a_product_that_falls_out_in_one_window(fused):
    """State and adjoint of a coordinate are both in range, and their product, which is its share of phi's, is not."""
    task = mg.FunctionTask(lambda w: 0.5 * np.sum(w * w, axis=-1), np.array([[-0.14, 1.3, -0.5]]), degree=2)
    eta = np.array([1.0025906, 1.085, 1.0245])
    parts = task, mg.GradientDescent(), mg.Final("squared_norm"), eta
    found = mg.meta_gradient(*parts, steps=104, method="windows", window=94, fused=fused)
    w, _ = by_hand((1.0, 1.0, 1.0), task.w0[0], [eta] * 104)
    assert found.ok
    for came, x, rate in zip(exact(found.grad.eta), w, eta, strict=True):
        close(came, -2 * 10 * x**2 / (1 - mpmath.mpf(float(rate))), 1e-9)  # the last window has ten steps


def test_plain_floats_say_that_the_measured_loss_fell_out():
    task = mg.Quadratic(np.array([[[1.5e-43]]]), np.array([[1.5e-154]]))
    found = mg.meta_gradient(task, mg.AdamW(), mg.Mean(), 0.1, steps=7, scaling="none")
    assert Status.from_code(int(found.status[0])) is Status.OBJECTIVE_UNDERFLOW
    assert found.status_step[0] == 7
