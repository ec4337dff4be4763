r"""
A learned start: few-shot sinusoids
===================================

Many small problems, few samples each: a start for training can be learned from which five steps suffice on a new one.
This is MAML (Finn, Abbeel and Levine 2017): the meta-parameters are the initial weights of a network. We learn them from
sinusoids of random height and phase, with the whole derivative and with the first-order one that holds gradients
constant, and test both on sinusoids that were never seen.
"""

# %%
# A batch of problems
# -------------------
# Every task is a sinusoid :math:`A \sin(x + p)` of its own. Ten samples are for training, twenty others say how well it
# went. ``problems`` makes a batch of tasks from a seed. The network has two layers of 24 units, written in NumPy, with
# the task axis first in every array.

import matplotlib.pyplot as plt
import numpy as np

import metagrad as mg

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
    height, phase = draw.uniform(0.5, 2.0, (count, 1)), draw.uniform(0, np.pi, (count, 1))
    x, held = draw.uniform(-3, 3, (count, 10)), draw.uniform(-3, 3, (count, 20))
    y, target = height * np.sin(x + phase), height * np.sin(held + phase)

    def loss(w):
        return np.mean((network(w, x) - y) ** 2, axis=-1)

    def validation(w):
        return np.mean((network(w, held) - target) ** 2, axis=-1)

    alike = {name: np.repeat(leaf[None], count, axis=0) for name, leaf in begin(np.random.default_rng(0)).items()}
    return mg.LearnedStart(mg.FunctionTask(loss, alike, validation=validation))


# %%
# One meta-gradient
# -----------------
# ``Joint(rule=, task=)``: the step size of training, and the start, one tree for all tasks. The gradient is a tree like
# it. A difference in one weight confirms it.

rule, objective, steps, eta = mg.GradientDescent(), mg.Final("validation"), 5, 0.05
start = begin(np.random.default_rng(seed))
found = mg.meta_gradient(problems(1), rule, objective, mg.Joint(eta, start), steps=steps)
print({name: leaf.shape for name, leaf in found.grad.task.items()}, "|", found.report())


def moved(by):
    shifted = start | {"shift": start["shift"] + by * np.eye(1, 24)}
    return mg.value(problems(1), rule, objective, mg.Joint(eta, shifted), steps=steps).value.to_float().mean()


slope, difference = found.grad.task["shift"][0, 0].to_float(), (moved(1e-5) - moved(-1e-5)) / 2e-5
print(f"meta-gradient {slope:.9f}, difference {difference:.9f}")
assert abs(slope - difference) < 1e-7

# %%
# Learn the start
# ---------------
# ``Trainer`` draws fresh tasks for every outer step, and keeps the best start by an evaluation on tasks that it does
# not train on. ``gradient="full"`` is MAML, ``"stop_gradient"`` its first order.

from metagrad.training import Recipe, Trainer


def learn(gradient, episodes=250):
    recipe = Recipe(
        episodes=episodes, horizon=steps, window=steps, gradient=gradient, evaluate_every=50, evaluation_steps=steps
    )
    held = mg.Through(mg.Masked(mg.Adam(), mg.Joint(mg.GradientDescent.Phi(False), dict.fromkeys(start, True))), mg.Adam.Phi(0.005))
    trainer = Trainer(rule, problems, objective, recipe, outer=held, outer_phi=None, seed=seed)
    return trainer.run(mg.Joint(eta, start))


learned = {kind: learn(kind) for kind in ("full", "stop_gradient")}
for kind, result in learned.items():
    print(kind, result.measured, round(result.value, 4), "after", result.episodes, "episodes")
