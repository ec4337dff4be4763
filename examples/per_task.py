"""Meta-parameters of its own for every task, in one call: a step size, and a decay."""

import numpy as np

import metagrad as mg

data = mg.random_least_squares(4, 20, 10, sigma=0.5, seed=1, split=0.5)
task = mg.FunctionTask(
    lambda w, theta: data.loss(w, None) + np.sum(np.exp(theta) * w * w, axis=-1),
    data.w0,
    validation=data.validation_loss,
    theta=np.array(-3.0),
)
phi = mg.Joint(mg.GradientDescent.Phi(np.full(4, 0.2)), np.full((4, 1), -3.0))
found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), phi, steps=50, per_task=True)
print("d/d step sizes", found.grad.rule.eta.to_float(), "d/d log decays", found.grad.task.to_float().ravel())
