"""Three learned samples, from which training reaches parameters that fit two hundred real ones."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x = draw.standard_normal((200, 4))
y = np.tanh(x @ draw.standard_normal(4))
theta = {"x": draw.standard_normal((3, 4)), "y": np.zeros(3)}


def loss(w, theta):
    return np.mean((np.matmul(w, theta["x"].T) - theta["y"]) ** 2, axis=-1)


task = mg.FunctionTask(loss, np.zeros((1, 4)), validation=lambda w: np.mean((w @ x.T - y) ** 2, axis=-1), theta=theta)
run = mg.MetaTrainer(task, mg.GradientDescent(), mg.Final("validation"), steps=8, scale=0.3, power=0.0)
print("loss on real data", 2.0 ** run.run(mg.Joint(0.1, theta), 60).value_log2[[0, -1], 0])
