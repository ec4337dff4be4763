"""Weight decay tuned on held-out data, through the training that it changes."""

import numpy as np

import metagrad as mg

data = mg.split_task(mg.random_least_squares(6, 30, 20, sigma=1.0, seed=3))


def loss(w, theta):
    return data.loss(w, None) + np.exp(theta) * np.sum(w * w, axis=-1) / 2


task = mg.FunctionTask(loss, data.w0, validation=data.validation_loss, theta=np.array(-2.0))
found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.15, np.array(-2.0)), steps=300)
print("d/d step size", found.grad.rule.eta.to_float(), " d/d log decay", found.grad.task.to_float())
