r"""
A network: a step size for every layer, and a schedule
======================================================

A small network of your own is trained by gradient descent. How large should the step be, in which layer, and when?
Here the rule's meta-parameters become a tree like the network's weights, then a schedule of seven numbers for the
layers, and all of them are tuned by descending along meta-gradients. At the end the tuned rule is compared with the
best constant step size on *fresh* starts of the network, which the tuning never saw.
"""

# %%
# The network
# -----------
# Two layers of tanh fit a function of two inputs. The weights are a dict of arrays, and every array leads with the task
# axis: 8 tasks are 8 random starts. What is tuned on eight starts at once is not fitted to one of them.

import matplotlib.pyplot as plt
import numpy as np

import metagrad as mg
from metagrad import ad

seed = 0
draw = np.random.default_rng(seed)
x = draw.uniform(-1, 1, size=(64, 2))
y = np.sin(3 * x[:, 0]) * x[:, 1]


def starts(count, draw):
    """Return `count` random starts of the network."""
    return {
        "hidden": draw.standard_normal((count, 2, 16)) * 1.5,
        "bias": draw.standard_normal((count, 1, 16)) * 0.5,
        "output": draw.standard_normal((count, 16)) / 4,
    }


def loss(w):
    hidden = np.tanh(np.matmul(x, w["hidden"]) + w["bias"])
    return np.mean((np.einsum("snh,sh->sn", hidden, w["output"]) - y) ** 2, axis=-1)


task, fresh = (mg.FunctionTask(loss, starts(count, draw)) for count in (8, 32))
steps, objective = (
    40,
    mg.MeanLog(),
)  # the mean over the run of the log of the loss: fast early, low late

# %%
# One step size for all
# ---------------------
# The baseline is honest work: the best of a grid, by the same objective.

grid = np.geomspace(0.02, 1.0, 18)
scores = [
    mg.value(task, mg.GradientDescent(), objective, eta, steps=steps)
    .value.to_float()
    .mean()
    for eta in grid
]
constant = grid[np.argmin(scores)]
print(f"best constant step size {constant:.3f}: mean log loss {min(scores):.3f}")

# %%
# A step size for every layer
# ---------------------------
# Where ``GradientDescent`` takes a number it takes a tree like ``w``, too. The meta-gradient comes back as
# the same tree.

layers = mg.GradientDescent.Phi(
    {"hidden": constant, "bias": constant, "output": constant}
)
found = mg.meta_gradient(task, mg.GradientDescent(), objective, layers, steps=steps)
print(
    {name: round(float(slope.to_float()), 3) for name, slope in found.grad.eta.items()},
    "|",
    found.report(),
)

# %%
# The signs say which layers want larger steps (below zero) and which smaller ones.
#
# A schedule of few numbers
# -------------------------
# ``Following`` puts a hyper-parameter on a curve. With ``Polynomial`` the step size goes from ``eta_start`` to
# ``eta_end`` like :math:`(1 - t/T)^p`; here start and end are one number for each layer, and the power p is one
# for all: seven meta-parameters. ``Unconstrained`` takes logarithms of them, so that no outer step can make a step size
# negative, and one outer step size fits all. Adam moves each of them by up to about 0.15 in the logarithm, 25 times.

falling = mg.Following(mg.GradientDescent(), eta=mg.Polynomial())
begun = {
    "a step size for each layer": (mg.GradientDescent(), layers),
    "a schedule for each layer": (
        falling,
        falling.Phi(layers.eta, layers.eta, eta_power=1.0),
    ),
}
tuned = {"the best constant": (mg.GradientDescent(), mg.GradientDescent.Phi(constant))}
for name, (rule, phi) in begun.items():
    free = mg.Unconstrained(rule, start=phi)
    first = free.init_meta(None)
    trainer = mg.MetaTrainer(
        task,
        free,
        objective,
        steps=steps,
        outer=mg.Through(mg.Adam(), mg.Adam.Phi(0.15)),
    )
    run = trainer.run(first, meta_steps=25)
    scores = run.objective.to_float()
    print(f"{name}: mean log loss from {scores[0]:.3f} to {scores[-1]:.3f}")
    tuned[name] = rule, free.phi(ad.unflatten(first, list(run.phi[-1])))
    assert scores[-1] < scores[0] - 0.5

for field, numbers in tuned["a schedule for each layer"][1]._asdict().items():
    print(f"{field:9s}", ad.tree_map(lambda x: round(float(x), 3), numbers))

etas = tuned["a step size for each layer"][1].eta
ratio = float(etas["hidden"] / etas["output"])
print(f"step size of the hidden layer over that of the output layer: {ratio:.0f}")
assert ratio > 10

# %%
# The layers of this network need step sizes this far apart, and no constant serves both. The schedule adds little to
# that: of the seven numbers the layers matter. That is a result, too, and it cost no grid.
#
# On fresh starts
# ---------------
# 32 starts that the tuning never saw decide whether it found a rule, or a trick for eight starts.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
looks = (
    {"color": "black", "linestyle": ":"},
    {"color": "#0072B2", "linestyle": "--"},
    {"color": "#D55E00"},
)
final = {}
for (name, (rule, phi)), look in zip(tuned.items(), looks, strict=True):
    losses = mg.rollout(fresh, rule, phi, steps=steps)  # (steps + 1, 32)
    final[name] = np.log(losses[1:]).mean()
    left.plot(np.median(losses, axis=1), **look, label=name)
    left.fill_between(
        np.arange(steps + 1),
        *np.quantile(losses, (0.25, 0.75), axis=1),
        color=look["color"],
        alpha=0.15,
    )
    print(f"{name}: mean log loss {final[name]:.3f} on 32 fresh starts")
left.set(
    yscale="log",
    xlabel="step",
    ylabel="mean squared error\n(median and quartiles of 32 starts)",
)
left.legend(frameon=False, fontsize=8)

schedule = tuned["a schedule for each layer"][1]
over = np.arange(steps) / steps
for layer, line, marker in (
    ("hidden", "-", "o"),
    ("bias", "--", "s"),
    ("output", "-.", "^"),
):
    start, end = schedule.eta_start[layer], schedule.eta_end[layer]
    eta = end + (start - end) * (1 - over) ** schedule.eta_power
    right.plot(
        eta,
        linestyle=line,
        marker=marker,
        markevery=8,
        color="black",
        markerfacecolor="white",
        label=layer,
    )
right.axhline(
    constant, color="black", linestyle=":", linewidth=1, label="best constant"
)
right.set(yscale="log", xlabel="step", ylabel=r"step size $\eta_t$")
right.legend(frameon=False, fontsize=8)
plt.show()

assert final["a schedule for each layer"] < final["the best constant"] - 0.5
assert final["a step size for each layer"] < final["the best constant"] - 0.5

# %%
# What to take with you
# ---------------------
#
# - A meta-parameter may be any tree: a number, one a layer, one an entry, one a step (``mg.Scheduled``).
# - Tune logarithms of what is positive (``mg.Unconstrained``).
# - Compare with the best of a grid, on starts and data that the tuning never saw.
# - ``found.report()`` says in words whether every number stayed within the range of floats.
