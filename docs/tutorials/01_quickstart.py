"""
Quickstart: tune weight decay on your own data
==============================================

You have inputs ``X``, targets ``y`` and a loss of your own. Weight decay is to be chosen such that the model does well
on samples that it was not trained on. The usual way is a grid: train again for every value of the decay. With
metagrad you get the derivative of the held-out loss in the decay, through all steps of training, and descend along it.

You need ten minutes, NumPy, and ``pip install`` of this project (:doc:`/installation`). Copy the page, run it, then
put your own arrays in.
"""

# %%
# Your data
# ---------
# ``X`` has shape (samples, inputs), ``y`` has shape (samples,), both are float64. ``X_test`` and ``y_test`` are for the
# very end, and nothing looks at them before. Here all are made up: 60 samples of 40 inputs, a third of which matter,
# with noise of heavy tails. **Replace the three lines below** ``draw`` **with your own arrays**, scaled such that every
# column of ``X`` and ``y`` itself have mean 0 and variance 1 or so. ``y`` has shape (samples,), not (samples, 1): write
# ``y[:, 0]`` for a column. Convert float32 data by ``X.astype(float)``. Or stay in float32: then ``w0`` and every
# ``theta`` and ``phi`` below need float32 too, such as ``np.float32(-4.0)``, and the comparison with a difference holds
# to 1e-3, no longer to 1e-6.

import matplotlib.pyplot as plt
import numpy as np

import metagrad as mg

seed = 0
draw = np.random.default_rng(seed)
truth = draw.standard_normal(40) * (draw.random(40) < 1 / 3)
X, X_test = draw.standard_normal((60, 40)), draw.standard_normal((10_000, 40))
y, y_test = (x @ truth + draw.standard_t(3, size=len(x)) for x in (X, X_test))

# %%
# Every problem of metagrad has a *task axis* in front: several problems are solved side by side, and cost little more
# than one. Here the tasks are eight random splits of the samples into four fifths for training and a fifth
# that is held out. (For a single split, write ``splits = 1``.)

splits, samples = 8, len(X)
order = np.argsort(draw.random((splits, samples)), axis=1)
train, held_out = order[:, : 4 * samples // 5], order[:, 4 * samples // 5 :]
print("inputs for training", X[train].shape, "and held out", X[held_out].shape)

# %%
# Your loss
# ---------
# Write it in plain NumPy. It takes the parameters ``w`` of shape (tasks, inputs) and returns one number a task, shape
# (tasks,). ``theta`` is what you want to tune: here the logarithm of the weight decay, so that the decay stays
# positive. The misfit grows like a square near zero and like a distance far away, such that outliers do no harm.
#
# The second function is what you care about in the end: the misfit on held-out samples, without the decay.
#
# ``theta=`` in ``FunctionTask`` is the value where a call gives none; tuning starts at what ``run()`` is given, below.


def misfit(w, rows):
    residual = np.einsum("snd,sd->sn", X[rows], w) - y[rows]
    return np.mean(np.sqrt(1 + residual**2) - 1, axis=-1)


def loss(w, theta):
    return misfit(w, train) + np.exp(theta) * np.sum(w**2, axis=-1)


def validation(w):
    return misfit(w, held_out)


task = mg.FunctionTask(
    loss, w0=np.zeros((splits, X.shape[1])), validation=validation, theta=np.array(0.0)
)

# %%
# One meta-gradient
# -----------------
# The model is trained by 150 steps of gradient descent with step size 0.3. ``Joint`` has the meta-parameters of the
# rule (the step size) beside those of the task (the logarithm of the decay). One call returns the mean held-out misfit
# after training and its derivatives in both.

rule, objective, steps = mg.GradientDescent(), mg.Final("validation"), 150
found = mg.meta_gradient(
    task, rule, objective, mg.Joint(rule=0.3, task=np.array(-4.0)), steps=steps
)
slope = found.grad.task.to_float()
print(found)

# %%
# ``OK`` says that every number stayed within the range of floats. ``grad.task`` is the derivative in the log decay, and
# it is below zero: more decay would help. (If it says ``STATE_OVERFLOW``, training itself diverged: take a smaller step
# size than 0.3.) Do not take it on trust. ``mg.value`` trains without a
# derivative, and a difference of two such values says the same.


def trained(log_decay):
    return (
        mg.value(task, rule, objective, mg.Joint(0.3, np.array(log_decay)), steps=steps)
        .value.to_float()
        .mean()
    )


difference = (trained(-4.0 + 1e-4) - trained(-4.0 - 1e-4)) / 2e-4
print(f"meta-gradient {slope:.8f}, difference {difference:.8f}")
assert abs(slope - difference) < 1e-6 * (1 + abs(slope))

# %%
# Tune it
# -------
# ``MetaTrainer`` trains the model again and again, and moves the meta-parameters after every run. The outer steps here
# are those of Adam, 0.3 units of the log decay long at first. ``Masked`` keeps the step size of the inner training
# where it is.

only_decay = mg.Joint(rule=mg.GradientDescent.Phi(False), task=True)
outer = mg.Through(mg.Masked(mg.Adam(), only_decay), mg.Adam.Phi(0.3, beta1=0.5))
trainer = mg.MetaTrainer(task, rule, objective, steps=steps, outer=outer)
run = trainer.run(mg.Joint(rule=0.3, task=np.array(-6.0)), meta_steps=30)

print(run)

path = run.named()["task"]  # before every meta-step, and after the last
tuned = path[-1]
print(f"log decay from {path[0]:.2f} to {tuned:.2f}: the decay is {np.exp(tuned):.4f}")

# %%
# Look at it
# ----------
# The line is a grid of 17 values: the same misfit, trained again at each of them. The points are the runs of the
# trainer, which saw none of the grid. They end at its lowest point.

grid = np.linspace(-7.0, 1.0, 17)
curve = np.array([trained(g) for g in grid])
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(grid, curve, "k-", label="grid of 17 values")
axes.plot(
    path[:-1],
    [trained(g) for g in path[:-1]],
    "o",
    color="#D55E00",
    markerfacecolor="white",
    label="30 meta-steps",
)
axes.axvline(tuned, color="black", linestyle=":", label=f"tuned, {tuned:.2f}")
axes.set(xlabel="log of the weight decay", ylabel="held-out misfit, mean of 8 splits")
axes.legend(frameon=False)
plt.show()

print(
    f"held-out misfit: tuned {trained(tuned):.4f}, best of the grid {curve.min():.4f}, at the start {trained(-6.0):.4f}"
)

# %%
# Use it
# ------
# Now train once on all samples with the tuned decay. ``rollout`` returns the losses along the run and, with
# ``with_end=True``, where it ended. Then look at the test samples, for the first time. On this draw the tuned decay
# helps there, too. Change the seed, and now and then it does not: 60 samples do not say more.


def on_all(w, theta):
    return np.mean(np.sqrt(1 + (w @ X.T - y) ** 2) - 1, axis=-1) + np.exp(
        theta
    ) * np.sum(w**2, axis=-1)


final = mg.FunctionTask(on_all, w0=np.zeros((1, X.shape[1])), theta=np.array(0.0))
errors = {}
for name, log_decay in (("almost none", -12.0), ("tuned", tuned)):
    losses, end = mg.rollout(
        final, rule, mg.Joint(0.3, np.array(log_decay)), steps=steps, with_end=True
    )
    errors[name] = np.mean(np.sqrt(1 + (X_test @ end.w[0] - y_test) ** 2) - 1)
    print(f"decay {name}: misfit on test samples {errors[name]:.4f}")

# %%
# A second number
# ---------------
# ``theta`` may be a tree of numbers, and then the mask is a tree like it. Here a penalty on the size of the parameters
# stands beside that on their squares. It is rounded off near zero, such that it has a derivative there.


def two_penalties(w, theta):
    size = np.sum(np.sqrt(w**2 + 1e-4), axis=-1)
    return (
        misfit(w, train)
        + np.exp(theta["l2"]) * np.sum(w**2, axis=-1)
        + np.exp(theta["l1"]) * size
    )


start = {"l2": np.array(-6.0), "l1": np.array(-6.0)}
task_of_two = mg.FunctionTask(
    two_penalties, w0=np.zeros((splits, X.shape[1])), validation=validation, theta=start
)
only_penalties = mg.Joint(
    rule=mg.GradientDescent.Phi(False), task={"l2": True, "l1": True}
)
outer = mg.Through(mg.Masked(mg.Adam(), only_penalties), mg.Adam.Phi(0.3, beta1=0.5))
trainer = mg.MetaTrainer(task_of_two, rule, objective, steps=steps, outer=outer)
run_of_two = trainer.run(mg.Joint(rule=0.3, task=start), meta_steps=15)
print(run_of_two)

# %%
# Where to go from here
# ---------------------
#
# - Another loss, a network, a schedule: the following tutorials.
# - Before you trust a loss of your own for long runs, ``print(mg.check(task, rule, 0.3))`` looks at it: does it keep
#   the tasks apart, is it the same function at every call, do its derivatives agree with differences?
# - Why the derivative through 150 steps is right, and when it would not be: :doc:`/concepts/index`.

print(mg.check(task, rule, 0.3))
