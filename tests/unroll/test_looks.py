"""Each look at a quiet run: what it finds is said by the sweep."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import rng
from tests.unroll.quiet_runs import Phi, alike

pytest.importorskip("numba")


class Shrinking:
    """beta w, less the gradient: states and adjoints that vanish or explode, as beta has it."""

    Phi = Phi

    def init(self, phi, w):
        return ()

    def step(self, phi, state, w, f):
        return w * phi.beta - phi.eta * f.gradient(w), state


SCALES, W0 = np.array([1.0, 1.9]), np.array([[0.91, 0.52], [0.23, 0.87]])
X = rng(14, "x").standard_normal((2, 5, 2))


def linear(w):
    return np.sum(w, axis=-1) + 9.0


def squares(w):
    return np.sum(w * w, axis=-1)


def fitted(w):
    return np.mean(((X @ w[..., None])[..., 0] - np.sin(X[..., 0])) ** 2, axis=-1) + 0.1


def folded(w):
    """A loss of which gradient descent with step size 1 is the chaotic map w -> 4 w (1 - w)."""
    return np.sum(4 / 3 * w**3 - 1.5 * w**2, axis=-1) + 3.0


# The loss, the rule, the objective, phi as usual, and phi for which something is to be said or shifted.
LOOKS = {
    "adjoints": (linear, Shrinking(), mg.Final(), Phi(1e-3, 0.9), Phi(1e-3, 1e-3)),
    "adjoints that grow": (linear, Shrinking(), mg.Final(), Phi(1e-3, 0.9), Phi(1e-3, 20.0)),
    "states": (linear, Shrinking(), mg.WeightedSum(), Phi(0.0, 0.9), Phi(0.0, 1e-9)),
    "states that grow": (linear, Shrinking(), mg.WeightedSum(), Phi(0.0, 0.9), Phi(0.0, 1e9)),
    "negative": (lambda w: squares(w) - 0.1, mg.GradientDescent(), mg.WeightedSum(), 1e-4, 0.2),
    "tiny": (lambda w: np.sum(w**4, axis=-1), Shrinking(), mg.WeightedSum(), Phi(0.0, 0.9), Phi(0.0, 0.01)),
    "tiny at the end": (lambda w: np.sum(w**4, axis=-1), Shrinking(), mg.Final(), Phi(0.0, 0.9), Phi(0.0, 0.01)),
    "rounding": (fitted, mg.GradientDescent(), mg.Final(), 1e-3, 0.3),
    "chaos": (folded, mg.GradientDescent(), mg.Final(), 1e-3, 1.0),
    "logarithms": (lambda w: np.array([1.0, 1.3]) * squares(w), mg.GradientDescent(), mg.MeanLog(), 1e-5, 0.4999),
    "exponents": (lambda w: SCALES * (squares(0.4 * w) + 0.85), mg.GradientDescent(), mg.LogFinal(), 1e-6, 0.5),
}


@pytest.mark.parametrize("steps", [64, 128])  # powers of two, by which logarithms are divided
@pytest.mark.parametrize("name", LOOKS)
def test_each_look(name, steps, counted, monkeypatch):
    """After usual calls comes one at which a look finds something: the answer is that of the sweep."""
    loss, rule, objective, usual, other = LOOKS[name]
    task = mg.FunctionTask(loss, w0=W0)
    alike(monkeypatch, task, rule, objective, [usual] * 6, steps=steps)
    before = counted["quiet"]
    assert before >= 3
    alike(monkeypatch, task, rule, objective, [other], steps=steps)
    assert counted["quiet"] == before
