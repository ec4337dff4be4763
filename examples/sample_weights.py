"""A weight for every training sample, judged by clean ones: the mislabelled half gets the positive gradients."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x, clean = draw.standard_normal((40, 3)), draw.standard_normal((30, 3))
y = x[:, 0] * np.where(np.arange(40) < 20, 1.0, -1.0)  # the second half has the wrong sign


def loss(w, theta):
    return np.mean(np.exp(theta) * (np.matmul(w, x.T) - y) ** 2, axis=-1)


task = mg.FunctionTask(
    loss,
    np.zeros((1, 3)),
    validation=lambda w: np.mean((np.matmul(w, clean.T) - clean[:, 0]) ** 2, axis=-1),
    theta=np.zeros(40),
)
found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.1, np.zeros(40)), steps=20)
print(
    "mean gradient", found.grad.task[:20].to_float().mean(), "right;", found.grad.task[20:].to_float().mean(), "wrong"
)
