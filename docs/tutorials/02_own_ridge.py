r"""
Ridge regression: the log of lambda, on held-out data
=====================================================

A model of your own, whose right answer is known. Ridge regression minimises

.. math:: \frac{1}{2n} \|X w - y\|^2 + \frac{\lambda}{2} \|w\|^2,

and has the closed form :math:`w = (X'X/n + \lambda I)^{-1} X'y/n`. We train it by gradient descent as if there were
none, tune :math:`\theta = \log \lambda` on held-out samples, and hold every number against the closed form: the
meta-gradient, the tuned value, and what happens where training stops early. Then we go where no grid goes: a decay
for each input.
"""

# %%
# Data and loss
# -------------
# Five folds of one data set are five tasks, solved side by side: each trains on 80 samples and holds out 20.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize_scalar

import metagrad as mg

seed = 0
draw = np.random.default_rng(seed)
n, d = 100, 20
truth = np.where(np.arange(d) < 5, 1.0, 0.0)  # five inputs matter
X = draw.standard_normal((n, d))
y = X @ truth + 3.0 * draw.standard_normal(n)

folds = np.arange(n).reshape(5, 20)
held_out, train = folds, np.stack([np.setdiff1d(np.arange(n), fold) for fold in folds])
Xt, yt, Xv, yv = X[train], y[train], X[held_out], y[held_out]


def squares(w, X, y):
    return np.mean((np.einsum("fnd,fd->fn", X, w) - y) ** 2, axis=-1) / 2


def loss(w, theta):
    return squares(w, Xt, yt) + np.sum(np.exp(theta) * w**2, axis=-1) / 2


def validation(w):
    return squares(w, Xv, yv)


task = mg.FunctionTask(
    loss, w0=np.zeros((5, d)), validation=validation, theta=np.array(0.0)
)
rule, objective, eta = mg.GradientDescent(), mg.Final("validation"), 0.1

# %%
# The closed form
# ---------------
# With :math:`A = X'X/n + \lambda I` the derivative of the solution is :math:`dw/d\theta = -\lambda A^{-1} w`, and that
# of the held-out loss R is :math:`\nabla R \cdot dw/d\theta`. It works for one theta and for one each input.

gram, moment = (
    np.einsum("fni,fnj->fij", Xt, Xt) / 80,
    np.einsum("fni,fn->fi", Xt, yt) / 80,
)


def ridge(theta):
    """Return the mean held-out loss of the exact solution, and its derivative in theta."""
    penalty = np.exp(theta) * np.ones(d)
    A = gram + np.diag(penalty)
    w = np.linalg.solve(A, moment[..., None])[..., 0]
    slope = np.einsum("fn,fni->fi", np.einsum("fnd,fd->fn", Xv, w) - yv, Xv) / 20
    along = (
        -penalty * w * np.linalg.solve(A, slope[..., None])[..., 0]
    )  # A is symmetric
    return squares(w, Xv, yv).mean(), along.mean(axis=0)


# %%
# The meta-gradient, run by run
# -----------------------------
# After enough steps training has reached the closed form, and so has its derivative. The error falls with the horizon
# as training converges.

for steps in (30, 100, 200, 1000):
    found = mg.meta_gradient(
        task, rule, objective, mg.Joint(eta, np.array(-1.0)), steps=steps
    )
    value, slope = ridge(-1.0)
    error = found.grad.task.to_float() / slope.sum() - 1
    print(
        f"{steps:5d} steps: d/d theta {found.grad.task.to_float():.12f}, relative error {error:+.1e}"
    )
assert abs(error) < 1e-12

# %%
# Tune lambda
# -----------
# Thirty meta-steps of Adam from far too little decay. ``Masked`` holds the step size of training.

only_theta = mg.Joint(rule=mg.GradientDescent.Phi(False), task=True)


def tune(theta, steps, meta_steps, rate):
    """Return theta before every meta-step and after the last, and the mean held-out losses."""
    outer = mg.Through(mg.Masked(mg.Adam(), only_theta), mg.Adam.Phi(rate, beta1=0.5))
    trainer = mg.MetaTrainer(task, rule, objective, steps=steps, outer=outer)
    run = trainer.run(mg.Joint(eta, theta), meta_steps)
    return run.named()["task"], run.objective.to_float()


best = minimize_scalar(lambda theta: ridge(theta)[0], bounds=(-6, 4), method="bounded")
tuned = {steps: tune(np.array(-5.0), steps, 30, 0.5)[0] for steps in (10, 200)}
print(
    f"theta of the closed form {best.x:.4f}; tuned through 200 steps {tuned[200][-1]:.4f}"
)
print(
    f"held-out loss {best.fun:.6f}; at the tuned theta {ridge(tuned[200][-1])[0]:.6f}"
)
assert ridge(tuned[200][-1])[0] < best.fun + 1e-4

# %%
# Where training stops early, the number of steps regularises too
# ---------------------------------------------------------------
# After 10 steps the answer is another one: less decay is best, because the early stop does a part of the work.
# A closed form does not know that. The meta-gradient is that of the training that you do.

grid = np.linspace(-6.0, 2.0, 33)
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
axes.plot(grid, [ridge(theta)[0] for theta in grid], "k-", label="closed form")
for steps, line, marker, colour in (
    (200, "none", "o", "#0072B2"),
    (10, "--", "s", "#D55E00"),
):
    values = [
        mg.value(task, rule, objective, mg.Joint(eta, np.array(t)), steps=steps).value
        for t in grid[::2]
    ]
    means = [value.to_float().mean() for value in values]
    look = {
        "linestyle": line,
        "marker": marker,
        "color": colour,
        "markerfacecolor": "white",
    }
    axes.plot(grid[::2], means, **look, label=f"gradient descent, {steps} steps")
    axes.axvline(
        tuned[steps][-1],
        color=colour,
        linestyle=":" if steps == 200 else "--",
        linewidth=1,
    )
axes.set(
    xlabel=r"$\theta = \log \lambda$ (vertical lines: tuned)",
    ylabel="held-out loss, mean of 5 folds",
)
axes.legend(frameon=False)
plt.show()

short, long = tuned[10][-1], tuned[200][-1]
reached = (
    mg.value(task, rule, objective, mg.Joint(eta, np.array(short)), steps=10)
    .value.to_float()
    .mean()
)
print(
    f"held-out loss: {reached:.3f} after 10 steps, {best.fun:.3f} of the closed form, each with its best theta"
)
print(
    f"tuned theta: {short:.2f} for 10 steps, {long:.2f} for 200: lambda {np.exp(short):.2f} and {np.exp(long):.2f}"
)
assert short < long

# %%
# A decay for every input
# -----------------------
# ``theta`` may be any tree of arrays. With one number an input the same loss has twenty meta-parameters, for which a
# grid of 33 values each would be :math:`33^{20}` runs; backpropagation takes one run a step. The derivatives agree with
# the closed form. (Gradient descent with step size 0.1 is unstable where a lambda exceeds about 20. Twenty outer steps
# of 0.1 at most stay below.)

each = mg.meta_gradient(
    task, rule, objective, mg.Joint(eta, np.full(d, -1.0)), steps=1000
)
print(
    "largest difference to the closed form",
    np.abs(each.grad.task.to_float() - ridge(np.full(d, -1.0))[1]).max(),
)
assert np.allclose(
    each.grad.task.to_float(), ridge(np.full(d, -1.0))[1], rtol=1e-9, atol=1e-12
)

many, values = tune(np.full(d, tuned[200][-1]), 200, meta_steps=20, rate=0.1)
relevant = many[-1][:5].mean(), many[-1][5:].mean()
print(
    f"mean theta of the five inputs that matter {relevant[0]:.2f}, of the others {relevant[1]:.2f}"
)
print(f"held-out loss {values[0]:.4f} with one lambda, {values[-1]:.4f} with twenty")
assert relevant[0] < relevant[1]
assert values[-1] < values[0]

# %%
# Twenty numbers tuned on 100 held-out targets can fit their noise. So look at samples that nobody has seen: here the
# exact risk, as the data are made up.


def risk(theta):
    """Return the mean over folds of the expected squared error on a fresh input, without its noise."""
    A = gram + np.diag(np.exp(theta) * np.ones(d))
    w = np.linalg.solve(A, moment[..., None])[..., 0]
    return np.sum((w - truth) ** 2, axis=-1).mean()


figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.plot(
    many[-1], "o", color="black", markerfacecolor="white", label="one for each input"
)
axes.axhline(tuned[200][-1], color="#D55E00", linestyle="--", label="one for all")
axes.axvspan(-0.5, 4.5, color="#dddddd", zorder=0, label="inputs that matter")
axes.set(
    xlabel="input", ylabel=r"tuned $\theta_i = \log \lambda_i$", xticks=range(0, d, 2)
)
axes.legend(frameon=False)
plt.show()

print(
    f"risk with one lambda {risk(tuned[200][-1]):.3f}, with twenty {risk(many[-1]):.3f}"
)
