"""How strongly to augment: noise on the inputs, replayed from the seed, its size a meta-parameter."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x, held = draw.standard_normal((2, 10, 5)), draw.standard_normal((2, 40, 5))
y, y_held = x[..., 0] + 0.5 * draw.standard_normal((2, 10)), held[..., 0]


def fit(w, x, y):
    return np.mean((np.einsum("bni,bi->bn", x, w) - y) ** 2, axis=-1)


task = mg.FunctionTask(
    lambda w, sample, theta: fit(w, x + np.exp(theta) * sample, y),
    np.zeros((2, 5)),
    sampler=lambda stream, t: stream.standard_normal((2, 10, 5)),
    validation=lambda w: fit(w, held, y_held),
    theta=np.array(-1.0),
)
found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.05, np.array(-1.0)), steps=100)
print("d/d log strength", found.grad.task.to_float())
