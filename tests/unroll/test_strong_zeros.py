"""Reverse and forward agree, and are right, where a branch that was not chosen has no derivative."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import rng

METHODS = ("reverse", "forward")


class Clipped:
    """Gradient descent with the norm of the gradient limited inside of the step."""

    class Phi(NamedTuple):
        eta: np.ndarray
        limit: np.ndarray

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        g = f.gradient(w)
        norm = np.linalg.norm(g, axis=-1, keepdims=True)
        return w - phi.eta * g * np.minimum(1.0, phi.limit / (norm + 1e-12)), state


def differences(value, h=1e-6):
    return (value(h) - value(-h)) / (2 * h)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_clipping_with_one_task_at_its_minimum(seed):
    H = np.diag([1.0, 5.0])
    moving = np.array([2.0, 1.0]) if seed is None else rng(seed, "clipped").uniform(1.0, 3.0, 2)
    task = mg.FunctionTask(lambda w: 0.5 * np.einsum("bi,ij,bj->b", w, H, w), w0=np.stack([moving, np.zeros(2)]))

    def found(eta, limit, method="reverse"):
        phi = Clipped.Phi(np.asarray(eta), np.asarray(limit))
        return mg.meta_gradient(task, Clipped(), mg.Final(), phi, steps=6, method=method)

    expected = [
        differences(lambda h: found(0.1 + h, 2.0).value.to_float().mean()),
        differences(lambda h: found(0.1, 2.0 + h).value.to_float().mean()),
    ]
    if seed is None:
        assert abs(expected[0] + 6.36) < 0.01
    for method in METHODS:
        result = found(0.1, 2.0, method)
        assert result.notes == ()
        assert not any(mg.Status.from_code(c).name.endswith("NAN") for c in result.status)
        np.testing.assert_allclose([float(x.to_float()) for x in result.grad], expected, rtol=1e-6)


LOSSES = {
    "sqrt": lambda w: np.where(w**2 < 1.0, w**2, np.sqrt(w**2)) + (w - 0.5) ** 2,
    "log": lambda w: np.where(w > 0, w - np.log(w), w**2) + (w + 1.0) ** 2,
    "norm": lambda w: np.linalg.norm(w, axis=-1, keepdims=True) ** 2 + (w - 0.5) ** 2,
    "standardised": lambda w: np.sin((w - np.mean(w, -1)[:, None]) / (np.std(w, -1)[:, None] + 0.1)) + w**2,
}
# w0 is constant along the last axis in "standardised", and stays so: each entry has the same gradient.
PLACES = {"sqrt": [0.0, 2.0], "log": [0.0, 2.0], "norm": [0.0, 0.0], "standardised": [0.7, 0.7]}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_loss_that_is_guarded(name, dtype):
    def task(dtype):
        with np.errstate(divide="ignore"):
            return mg.FunctionTask(lambda w: np.sum(LOSSES[name](w), axis=-1), w0=np.array([PLACES[name]], dtype))

    def found(eta, method="reverse", dtype="float64"):
        return mg.meta_gradient(task(dtype), mg.GradientDescent(), mg.Final(), eta, steps=4, method=method)

    expected = differences(lambda h: float(found(0.05 + h).value.to_float()[0]))
    for method in METHODS:
        result = found(0.05, method, dtype)
        assert result.ok, result.report()
        assert float(result.grad.eta.to_float()) == pytest.approx(expected, rel=1e-6 if dtype == "float64" else 1e-4)
