r"""
A learned start: few-shot sinusoids
===================================

Many small problems, few samples each: a start for training can be learned from which five steps suffice on a new one.
This is MAML (Finn, Abbeel and Levine 2017): the meta-parameters are the initial weights of a network. We learn them
from sinusoids of random height and phase, with the whole derivative and with the first-order one that holds gradients
constant, and test both on sinusoids that were never seen.
"""

# %%
# A batch of problems
# -------------------
# Every task is a sinusoid :math:`A \sin(x + p)` of its own. Ten samples are for training, twenty others say how well it
# went. ``problems`` makes a batch of tasks from a seed. The network has two layers of 24 units, written in NumPy, with
# the task axis first in every array.

import time

import matplotlib.pyplot as plt
import numpy as np

import metagrad as mg
from metagrad.training import Recipe, Trainer

seed = 0


def network(w, x):
    """Return the outputs (tasks, samples) at inputs (tasks, samples)."""
    first = np.tanh(x[..., None] * w["in"] + w["shift"])
    second = np.tanh(np.matmul(first, w["mix"]) + w["lift"])
    return np.matmul(second, w["out"][..., None])[..., 0]


def begin(draw, units=24):
    """Return the weights of one network, without a task axis."""
    return {
        "in": draw.standard_normal((1, units)),
        "shift": draw.standard_normal((1, units)),
        "mix": draw.standard_normal((units, units)) / np.sqrt(units),
        "lift": np.zeros((1, units)),
        "out": draw.standard_normal(units) / np.sqrt(units),
    }


def problems(seed, count=32):
    """Return `count` sinusoids as a task whose meta-parameters are its start."""
    draw = np.random.default_rng(seed)
    height, phase = (
        draw.uniform(0.5, 2.0, (count, 1)),
        draw.uniform(0, np.pi, (count, 1)),
    )
    x, held = draw.uniform(-3, 3, (count, 10)), draw.uniform(-3, 3, (count, 20))
    y, target = height * np.sin(x + phase), height * np.sin(held + phase)

    def loss(w):
        return np.mean((network(w, x) - y) ** 2, axis=-1)

    def validation(w):
        return np.mean((network(w, held) - target) ** 2, axis=-1)

    alike = {
        name: np.repeat(leaf[None], count, axis=0)
        for name, leaf in begin(np.random.default_rng(0)).items()
    }
    return mg.LearnedStart(mg.FunctionTask(loss, alike, validation=validation))


# %%
# One meta-gradient
# -----------------
# ``Joint(rule=, task=)``: the step size of training, and the start, one tree for all tasks. The gradient is a tree like
# it. A difference in one weight confirms it.

rule, objective, steps, eta = mg.GradientDescent(), mg.Final("validation"), 5, 0.05
start = begin(np.random.default_rng(seed))
found = mg.meta_gradient(
    problems(1), rule, objective, mg.Joint(eta, start), steps=steps
)
print({name: leaf.shape for name, leaf in found.grad.task.items()}, "|", found.report())


def moved(by):
    shifted = start | {"shift": start["shift"] + by * np.eye(1, 24)}
    return (
        mg.value(problems(1), rule, objective, mg.Joint(eta, shifted), steps=steps)
        .value.to_float()
        .mean()
    )


slope, difference = (
    found.grad.task["shift"][0, 0].to_float(),
    (moved(1e-5) - moved(-1e-5)) / 2e-5,
)
print(f"meta-gradient {slope:.9f}, difference {difference:.9f}")
assert abs(slope - difference) < 1e-7

# %%
# Learn the start
# ---------------
# ``Trainer`` draws fresh problems for every outer step, and keeps the best start by an evaluation on problems that it
# does not train on. ``gradient="full"`` is MAML, ``"stop_gradient"`` its first order. ``Masked`` holds the step size.

only_start = mg.Joint(
    rule=mg.GradientDescent.Phi(False), task=dict.fromkeys(start, True)
)
outer = mg.Through(mg.Masked(mg.Adam(), only_start), mg.Adam.Phi(0.01))


def learn(gradient):
    recipe = Recipe(
        episodes=120,
        horizon=steps,
        window=steps,
        gradient=gradient,
        evaluate_every=30,
        evaluation_tasks=2,
        evaluation_steps=steps,
    )
    trainer = Trainer(
        rule, problems, objective, recipe, outer=outer, outer_phi=None, seed=seed
    )
    return trainer.run(mg.Joint(eta, start))


starts = {"no learning": start}
for name, gradient in (("first order", "stop_gradient"), ("whole derivative", "full")):
    began = time.perf_counter()
    result = learn(gradient)
    took = time.perf_counter() - began
    starts[name] = result.phi.task
    print(
        f"{name}: {result.measured} {result.value:.4f}, {result.episodes} outer steps in {took:.1f} s"
    )

# %%
# Test on new problems
# --------------------
# 200 sinusoids of another seed. Training goes on for ten steps: five more than the start was made for.

new = problems(10_000 + seed, count=200)
curves = {
    name: mg.rollout(
        new, rule, mg.Joint(eta, given), steps=10, measure="validation"
    )  # (11, 200)
    for name, given in starts.items()
}
medians = {name: np.median(curve, axis=1) for name, curve in curves.items()}
for name, median in medians.items():
    print(
        f"{name:17s} median held-out loss {median[0]:.3f} at the start, {median[5]:.4f} after 5 steps"
    )
assert medians["whole derivative"][5] < 0.1 * medians["no learning"][5]
assert medians["first order"][5] < 0.5 * medians["no learning"][5]

# %%
# Left: all 200 problems. Right: one of them: its ten samples, and the network after five steps from each start.

rng = np.random.default_rng(20_000 + seed)
height, phase, x = (
    rng.uniform(0.5, 2.0),
    rng.uniform(0, np.pi),
    rng.uniform(-3, 3, (1, 10)),
)
y = height * np.sin(x + phase)
one = mg.FunctionTask(
    lambda w: np.mean((network(w, x) - y) ** 2, axis=-1),
    {k: v[None] for k, v in start.items()},
)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
looks = (":", "^", "black"), ("--", "s", "#0072B2"), ("-", "o", "#D55E00")
for (name, curve), (line, marker, colour) in zip(curves.items(), looks, strict=True):
    low, high = np.quantile(curve, (0.25, 0.75), axis=1)
    left.fill_between(range(11), low, high, color=colour, alpha=0.15, linewidth=0)
    left.plot(
        medians[name],
        line,
        marker=marker,
        color=colour,
        markerfacecolor="white",
        label=name,
    )
left.axvline(steps, color="grey", linewidth=0.8)
left.set(
    yscale="log", xlabel="step of training", ylabel="held-out loss (median, quartiles)"
)
left.legend(frameon=False, fontsize=8)

across = np.linspace(-3, 3, 100)[None]
for (name, given), (line, _, colour) in zip(starts.items(), looks, strict=True):
    _, end = mg.rollout(
        mg.LearnedStart(one), rule, mg.Joint(eta, given), steps=steps, with_end=True
    )
    right.plot(across[0], network(end.w, across)[0], line, color=colour, label=name)
right.plot(
    across[0],
    height * np.sin(across[0] + phase),
    color="grey",
    linewidth=3,
    alpha=0.4,
    label="the sinusoid",
)
right.plot(x[0], y[0], "ko", markersize=4, label="ten samples")
right.set(xlabel="input x (rad)", ylabel="output")
right.legend(frameon=False, fontsize=7)
plt.show()

# %%
# What it cost, and what to change
# --------------------------------
#
# - The first-order gradient needs no second derivatives and is another number. Above stands what both took, on the
#   machine that built this page. At the same count of outer steps the first order ends with a larger loss here.
# - A step size for every weight beside the start is Meta-SGD: give ``rule=`` a tree, and drop ``Masked``.
# - ``mg.LearnedStart`` takes any task. Where the task has meta-parameters of its own they are tuned beside the start.

print(
    "ratio of losses, first order over whole:",
    (medians["first order"][5] / medians["whole derivative"][5]).round(2),
)
