"""One task of a batch diverges: it is left out of the gradient, counted and named."""

import numpy as np

import metagrad as mg

task = mg.FunctionTask(
    lambda w: np.sum(np.array([[1.0], [400.0], [0.7]]) * w**2 + 0.01 * w**4, axis=-1), np.ones((3, 2))
)
found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.2, steps=50, diverged="skip")
print(found.grad.eta, found.report())
