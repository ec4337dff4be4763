"""A trained optimizer in a loop of one's own in NumPy: parameters and gradients in, parameters out."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x = draw.standard_normal((300, 8))
target = np.eye(3)[np.argmax(x @ draw.standard_normal((8, 3)), axis=1)]
params = {"W": 0.3 * draw.standard_normal((8, 16)), "V": 0.3 * draw.standard_normal((16, 3))}

stepper = mg.Stepper(mg.load_trained("lstm_digits"))
for step in range(101):
    hidden = 1 / (1 + np.exp(-x @ params["W"]))
    chance = np.exp(hidden @ params["V"])
    chance /= chance.sum(axis=1, keepdims=True)
    back = (chance - target) / len(x)
    grads = {"W": x.T @ (back @ params["V"].T * hidden * (1 - hidden)), "V": hidden.T @ back}
    params = stepper.update(params, grads)
    if step % 25 == 0:
        print(f"step {step}: cross entropy {-np.mean(np.sum(target * np.log(chance), axis=1)):.4f}")
