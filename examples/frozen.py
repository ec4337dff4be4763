"""Parts that are not trained: the hidden layer stays exactly as it is, the output is trained."""

import numpy as np

import metagrad as mg

draw = np.random.default_rng(0)
x, y = draw.standard_normal((30, 4)), draw.standard_normal(30)
w0 = {"hidden": draw.standard_normal((2, 4, 8)), "output": np.zeros((2, 8))}


def loss(w):
    return np.mean((np.einsum("bnh,bh->bn", np.tanh(np.matmul(x, w["hidden"])), w["output"]) - y) ** 2, axis=-1)


rule = mg.Masked(mg.Adam(), {"hidden": False, "output": True})
found = mg.meta_gradient(mg.FunctionTask(loss, w0), rule, mg.Final(), mg.Adam.Phi(0.05), steps=25)
print("moved", np.abs(found.end.w["hidden"] - w0["hidden"]).max(), "d/d eta", found.grad.eta.to_float())
