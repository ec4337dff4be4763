"""Two losses added up, and the weight between them tuned on a third."""

import numpy as np

import metagrad as mg

targets = np.random.default_rng(0).standard_normal((3, 4))


def distance(w, k):
    return np.mean((w - targets[k]) ** 2, axis=-1)


def loss(w, theta):
    share = 1 / (1 + np.exp(-theta))
    return share * distance(w, 0) + (1 - share) * distance(w, 1)


task = mg.FunctionTask(loss, np.zeros((1, 4)), validation=lambda w: distance(w, 2), theta=np.array(0.0))
found = mg.meta_gradient(task, mg.Momentum(), mg.Final("validation"), mg.Joint(0.1, np.array(0.0)), steps=30)
print("d/d logit of the share", found.grad.task.to_float())
