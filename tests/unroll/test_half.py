"""What is given in float16 is carried in float32: the numerics map, the border of dtypes, and going on from an end."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.theory import quadratic

ETAS, HORIZONS = (0.3, 0.9, 1.5, 1.95, 2.5), (10, 100, 1000, 3000, 10000)


def problem():
    drawn = mg.random_quadratics(1, 20, seed=0)
    eigenvalues, Q = np.linalg.eigh(drawn.H[0])
    return (eigenvalues / eigenvalues[-1]).astype("float16"), (Q.T @ drawn.w0[0]).astype("float16")


@pytest.mark.parametrize("steps", HORIZONS)
def test_the_numerics_map_is_right_everywhere(steps):
    eigenvalues, w0 = problem()
    etas = np.array(ETAS, "float16")
    task = mg.DiagonalQuadratic(np.tile(eigenvalues, (len(etas), 1)), np.tile(w0, (len(etas), 1)))
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), etas, steps=steps, per_task=True)
    spectrum = quadratic.Spectrum(eigenvalues.astype(float), w0.astype(float) ** 2)
    exact = quadratic.d_log_objective(spectrum, etas.astype(float), steps)
    assert found.ok
    assert found.value.dtype == found.grad.eta.dtype == np.float16
    np.testing.assert_allclose(found.grad.eta.to_float(np.float64), exact, rtol=2e-3)


def own(w0):
    x = ((np.arange(12) - 5) / 8).reshape(1, 4, 3).astype(w0.dtype)  # numbers of float16
    return mg.FunctionTask(lambda w: np.mean(np.log1p(np.exp(np.einsum("bni,bi->bn", x, w))), axis=-1), w0)


@pytest.mark.parametrize("method", ["reverse", "forward", "windows", "value"])
def test_it_is_the_answer_in_float32_rounded_once(method):
    w0 = np.array([[0.5, -1.0, 2.0]], "float16")
    phi = mg.Adam().check_phi(np.array(0.05, "float16"), "test")
    phi = phi._replace(beta1=0.5, beta2=0.75, eps=2.0**-10)  # numbers of float16
    options = {"steps": 30} | ({"window": 7} if method == "windows" else {})
    call = mg.value if method == "value" else mg.meta_gradient
    options |= {} if method == "value" else {"method": method}
    half = call(own(w0), mg.Adam(), mg.Mean(), phi, **options)
    wide = phi._replace(eta=phi.eta.astype("float32"))
    single = call(own(w0.astype("float32")), mg.Adam(), mg.Mean(), wide, **options)
    numbers = [(half.value, single.value)]
    if method != "value":
        numbers += list(zip(half.grad, single.grad, strict=True))
    for a, b in numbers:
        assert a.dtype == np.float16
        np.testing.assert_allclose(a.to_float(np.float64), b.to_float(np.float64), rtol=2e-3)


def test_squares_that_float16_does_not_hold():
    task = mg.DiagonalQuadratic(np.array([0.5], "float16"), np.array([0.002], "float16"))
    found = mg.meta_gradient(task, mg.RMSprop(), mg.Final(), mg.RMSprop.Phi(2.0**-10, 0.75, 2.0**-10), steps=1)
    w = float(task.w0[0, 0])
    g, eta, eps = 0.5 * w, 2.0**-10, 2.0**-10
    step = g / (0.5 * g + eps)
    assert found.grad.eta.to_float() == pytest.approx(-0.5 * (w - eta * step) * step, rel=2e-3)


def test_going_on_from_an_end_is_the_whole_run():
    w0 = np.array([[0.5, -1.0, 2.0]], "float16")
    eta = np.array(0.25, "float16")
    whole = mg.value(own(w0), mg.GradientDescent(), mg.Final(), eta, steps=20)
    first = mg.value(own(w0), mg.GradientDescent(), mg.Final(), eta, steps=12)
    rest = mg.value(own(w0), mg.GradientDescent(), mg.Final(), eta, steps=8, at=first.end)
    assert rest.value.dtype == np.float16
    assert rest.end.w.tobytes() == whole.end.w.tobytes()
    assert (rest.value == whole.value).all()


def test_other_dtypes_beside_it_are_refused_still():
    task = mg.DiagonalQuadratic(np.ones(2, "float16"), np.ones(2, "float16"))
    with pytest.raises(TypeError, match="an array of float32 while the task is float16"):
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), np.array(0.5, "float32"), steps=2)


def test_without_scaling_it_is_plain_float16():
    task = mg.DiagonalQuadratic(np.ones(1, "float16"), np.ones(1, "float16"))
    eta = np.array(2.0**-13, "float16")
    moved = mg.value(task, mg.GradientDescent(), mg.Final(), eta, steps=1).end.w
    stayed = mg.value(task, mg.GradientDescent(), mg.Final(), eta, steps=1, scaling="none").end.w
    assert moved[0, 0] < 1 == stayed[0, 0]
    assert stayed.dtype == np.float16
