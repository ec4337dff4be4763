"""A rule of one's own: a heavy ball whose steps shrink as the run ends, and stop where the loss is small."""

from typing import NamedTuple

import numpy as np

import metagrad as mg


class HeavyBall:
    class Phi(NamedTuple):
        eta: np.ndarray
        beta: np.ndarray

    def init(self, phi, w):
        return np.zeros_like(w)

    def step(self, phi, velocity, w, f):
        left = (1 - f.t / f.steps) * np.tanh(f(w) / 1e-3)[:, None]
        velocity = phi.beta * velocity - phi.eta * left * f.gradient(w)
        return w + velocity, velocity


task, phi = mg.random_quadratics(count=8, d=5, seed=0), HeavyBall.Phi(0.02, 0.5)
print(mg.meta_gradient(task, HeavyBall(), mg.Final(), phi, steps=30, method="windows", window=10).grad)
