"""A step size for every layer: eta is a tree like the parameters."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x, y = draw.standard_normal((30, 4)), draw.standard_normal(30)
w0 = {"hidden": 0.5 * draw.standard_normal((2, 4, 8)), "output": 0.5 * draw.standard_normal((2, 8))}


def loss(w):
    return np.mean((np.einsum("bnh,bh->bn", np.tanh(np.matmul(x, w["hidden"])), w["output"]) - y) ** 2, axis=-1)


phi = mg.GradientDescent.Phi({"hidden": 0.1, "output": 0.02})
found = mg.meta_gradient(mg.FunctionTask(loss, w0), mg.GradientDescent(), mg.Final(), phi, steps=25)
print("d/d each step size", {name: g.to_float() for name, g in found.grad.eta.items()})
