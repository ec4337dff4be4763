"""A start from which five steps fit a new task: MAML, and with gradient="stop_gradient" its first order."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x, held, v = (draw.standard_normal((16, n, 3)) for n in (5, 10, 1))
target = 1 + 0.2 * v[:, 0]


def fit(w, x):
    return np.mean(np.einsum("bni,bi->bn", x, w - target) ** 2, axis=-1)


inner = mg.FunctionTask(lambda w: fit(w, x), np.zeros((16, 3)), validation=lambda w: fit(w, held))
task, start = mg.LearnedStart(inner), np.zeros(3)
for _ in range(50):
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.1, start), steps=5)
    start = start - 0.5 * found.grad.task.to_float()
print("learned start", start.round(2), "validation loss", found.value.to_float().mean())
