r"""
A trained optimizer in your own loop: NumPy and PyTorch
=======================================================

You have a training loop, and want a learned optimizer in it. ``mg.Stepper`` takes parameters and gradients and returns
the next parameters: no task of metagrad, no task axis, and no derivative but yours. Here it stands in a loop in plain
NumPy, is compared with tuned baselines, is tried where it was not trained for, and is stopped and resumed. At the end
is the same loop in PyTorch.
"""

# %%
# The loop
# --------
# The problem is least squares, :math:`f(w) = \|X w - y\|^2`, with ten parameters in float32. ``lstm_quadratics`` is a
# recurrent network that ships with the project: it was meta-trained on random problems of this kind, for runs of 100
# steps. It has never seen these. Your own loop needs two lines of these: the one that makes the stepper, and
# ``update``.

import tempfile
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import metagrad as mg

seed = 0
trained = mg.load_trained("lstm_quadratics")


def train(stepper, problem, steps=100, factor=1.0):
    """Return the losses, divided by the factor that the optimizer sees them with, before each step and at the end."""
    draw = np.random.default_rng([seed, problem])
    X, y, w = (
        draw.standard_normal(shape).astype(np.float32) for shape in ((10, 10), 10, 10)
    )
    losses = []
    for _ in range(steps):
        residual = X @ w - y
        losses.append(residual @ residual)
        gradient = 2 * np.float32(factor) * (X.T @ residual)
        w = stepper.update(w, gradient)
    residual = X @ w - y
    return np.array([*losses, residual @ residual])


losses = train(mg.Stepper(trained), problem=0)
print("loss at steps 0, 20, 100:", losses[[0, 20, 100]])

# %%
# ``params`` and ``grads`` may be any tree of arrays: a dict of layers, a list, a NamedTuple. A rule that looks at the
# loss gets it by ``update(params, grads, loss=...)``.
#
# Baselines with tuned step sizes
# -------------------------------
# The learned optimizer has no step size to tune. To be fair, Adam and momentum get the best of five, by the mean of the
# log of the loss along the run, on the very problems that are compared. ``Stepper(rule, phi)`` steps any rule.

problems = range(12)


def on_all(make, **options):
    return np.stack([train(make(), problem, **options) for problem in problems])


curves = {"trained LSTM": on_all(partial(mg.Stepper, trained))}
candidates = {
    "Adam": (mg.Adam(), mg.Adam.Phi, np.geomspace(0.06, 1.0, 5)),
    "momentum 0.9": (
        mg.Momentum(),
        lambda eta: mg.Momentum.Phi(eta, 0.9),
        np.geomspace(0.002, 0.03, 5),
    ),
}
best = {}
for name, (rule, phi, grid) in candidates.items():
    found = [on_all(partial(mg.Stepper, rule, phi(eta))) for eta in grid]
    k = int(np.argmin([np.log(curve).mean() for curve in found]))
    curves[f"{name}, best of 5"], best[name] = found[k], grid[k]
    print(f"{name}: best step size {grid[k]:.3f}")

figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
looks = ("-", "o", "#D55E00"), ("--", "s", "#0072B2"), (":", "^", "black")
for (name, curve), (line, marker, colour) in zip(curves.items(), looks, strict=True):
    low, middle, high = np.quantile(curve, (0.25, 0.5, 0.75), axis=0)
    axes.fill_between(range(101), low, high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(
        middle,
        line,
        marker=marker,
        markevery=10,
        color=colour,
        markerfacecolor="white",
        label=name,
    )
    print(
        f"{name:24s} median loss {middle[20]:.3f} at step 20, {middle[100]:.4f} at step 100"
    )
axes.set(
    yscale="log", xlabel="step", ylabel="loss (median and quartiles of 12 problems)"
)
axes.legend(frameon=False)
plt.show()

at_20 = {name: np.median(curve[:, 20]) for name, curve in curves.items()}
assert at_20["trained LSTM"] < 0.5 * min(
    value for name, value in at_20.items() if name != "trained LSTM"
)

# %%
# Where it was not trained for
# ----------------------------
# A learned optimizer knows what it has met. Multiply the loss by 100, as another choice of units does: Adam does not
# notice, as its step does not depend on the scale of gradients. The LSTM was never shown such gradients. Or let it run
# four times as long as in its training. Measure before you rely on it.

makers = {
    "trained LSTM": partial(mg.Stepper, trained),
    "Adam": partial(mg.Stepper, mg.Adam(), mg.Adam.Phi(best["Adam"])),
}
print("median loss       ", *(f"{name:>14s}" for name in makers))
ends = {}
for name, options in {
    "as trained": {},
    "loss times 100": {"factor": 100.0},
    "400 steps": {"steps": 400},
}.items():
    ends[name] = [np.median(on_all(make, **options)[:, -1]) for make in makers.values()]
    print(f"{name:18s} {ends[name][0]:14.4g} {ends[name][1]:14.4g}")
assert ends["loss times 100"][0] > 10 * ends["as trained"][0]
assert np.isclose(ends["loss times 100"][1], ends["as trained"][1], rtol=0.1)

# %%
# With gradients of another size the LSTM fails, and Adam does not notice. Longer runs than it was trained for are a
# matter of luck: at this seed it goes on to improve, at others Adam is ahead by orders of magnitude.
#
# Stop and resume
# ---------------
# The stepper holds the state of the rule, and ``save`` writes it. A loop that goes on from the file has the same bits.

X, y = np.random.default_rng(seed).standard_normal((2, 10, 10)).astype(np.float32)


def go_on(stepper, W, steps):
    for _ in range(steps):
        W = stepper.update(W, 2 * (W @ X - y))
    return W


with tempfile.TemporaryDirectory() as folder:
    stepper = mg.Stepper(trained)
    halfway = go_on(stepper, np.zeros_like(y), 20)
    stepper.save(Path(folder) / "stepper.npz")
    unbroken = go_on(stepper, halfway, 20)
    another = mg.Stepper(trained)
    another.load(Path(folder) / "stepper.npz", halfway)
    resumed = go_on(another, halfway, 20)
print("at update", another.t, "the same bits:", np.array_equal(unbroken, resumed))
assert np.array_equal(unbroken, resumed)

# %%
# In PyTorch
# ----------
# Tensors on the CPU share their memory with NumPy arrays, so the stepper reads gradients and writes parameters without
# a copy of yours. This is a whole script (``examples/pytorch_loop.py``); it is not run on this page, but by the tests
# where PyTorch is installed.
#
# .. literalinclude:: ../../examples/pytorch_loop.py
#    :language: python
