r"""
Meta-training on tasks of your own, and its learning curves
===========================================================

So far one batch of tasks was tuned again and again. A rule that is to serve *new* tasks is trained on fresh ones:
``metagrad.training.Trainer`` takes a function from a seed to a task, and does the rest: windows, evaluation on tasks
that it does not train on, a file of metrics, checkpoints from which it resumes to the same bits. Here it tunes all four
hyper-parameters of Adam on a family of small robust regressions, and we look at what it wrote down.
"""

# %%
# A family of tasks
# -----------------
# ``make(seed)`` must return the same task whenever it is asked for a seed. Each call draws sixteen regressions with
# heavy-tailed noise. Columns of different sizes make step sizes matter.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import metagrad as mg
from metagrad.training import Recipe, Trainer, read_metrics

seed = 0


def make(seed):
    draw = np.random.default_rng(seed)
    X = draw.standard_normal((16, 40, 8)) * np.geomspace(0.3, 3.0, 8)
    y = np.einsum(
        "bnd,bd->bn", X, draw.standard_normal((16, 8))
    ) + 0.3 * draw.standard_t(2, (16, 40))

    def loss(w):
        residual = np.einsum("bnd,bd->bn", X, w) - y
        return np.mean(np.sqrt(1 + residual**2) - 1, axis=-1)

    return mg.FunctionTask(loss, np.zeros((16, 8)))


# %%
# What is tuned, and how
# ----------------------
# ``Unconstrained`` tunes log eta and the logits of the betas, so no step leads out of their range. The recipe: episodes
# of 30 steps in two windows of 15, an outer step after each window, and every five episodes an evaluation on two draws
# of tasks of their own. ``gradient="full"`` differentiates through the gradients; without it the recipe holds them
# constant, as much of the literature does.

steps = 30
rule = mg.Unconstrained(mg.Adam(), start=mg.Adam.Phi(0.01))
first = rule.init_meta(None)
print("meta-parameters", first._fields)
recipe = Recipe(
    episodes=25,
    horizon=steps,
    window=15,
    gradient="full",
    evaluate_every=5,
    evaluation_tasks=2,
    evaluation_steps=steps,
    select="mean_log",
)
outer = mg.Through(mg.Adam(), mg.Adam.Phi(0.15))


def train(outer_seed, path):
    """Return the result of a run, and the metrics that it wrote."""
    trainer = Trainer(
        rule, make, mg.MeanLog(), recipe, outer=outer, outer_phi=None, seed=outer_seed
    )
    return trainer.run(first, metrics=path), read_metrics(path)


with tempfile.TemporaryDirectory() as folder:
    runs = [train(2 * seed + k, Path(folder) / f"{k}.jsonl") for k in (0, 1)]

result, metrics = runs[0]
print("columns:", ", ".join(metrics))
print(f"{result.measured}: {result.value:.3f} after {result.episodes} episodes")
tuned = rule.phi(result.phi)
print({name: f"{float(x):.4g}" for name, x in tuned._asdict().items()})

# %%
# Curves from the metrics
# -----------------------
# ``read_metrics`` gives columns: the objective of every window, the evaluations (NaN in between), the size of the
# meta-gradient as a logarithm, since it may leave the range of floats, and counts of each ``Status``. What is evaluated
# is the mean of the log of the loss: lower is better. (In a shell ``metagrad plot`` draws such files.)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
looks = ("-", "o", "#D55E00"), ("--", "s", "#0072B2")
for k, ((_, columns), (line, marker, colour)) in enumerate(
    zip(runs, looks, strict=True)
):
    at = columns["evaluated"]
    look = {"color": colour, "markerfacecolor": "white", "label": f"run {k}"}
    left.plot(
        columns["episode"][at] + 1,
        columns["evaluation"][at],
        line,
        marker=marker,
        **look,
    )
    size = columns["log2_gradient_norm"].mean(axis=1) * np.log10(2)
    right.plot(columns["episode"] + 1, size, line, marker=marker, markevery=5, **look)
left.set(xlabel="episode", ylabel="mean log10 of the loss, evaluation tasks")
right.set(xlabel="episode", ylabel="log10 of the norm of the meta-gradient")
left.legend(frameon=False)
plt.show()

for k, (_, columns) in enumerate(runs):
    seen = columns["evaluation"][columns["evaluated"]]
    print(
        f"run {k}: first evaluation {seen[0]:.3f}, best {columns['best'][columns['evaluated']][-1]:.3f}"
    )
    assert (
        columns["status.OK"].sum() == 16 * columns["windows"].sum()
    )  # every task of every window

# %%
# Is it any good?
# ---------------
# Fresh tasks, and the baseline: Adam with its usual betas and the best step size of a grid, by the same measure on the
# very tasks of the comparison.

fresh = make(10_000 + seed)


def score(rule, phi):
    return np.log10(mg.rollout(fresh, rule, phi, steps=steps)[1:]).mean()


grid = np.geomspace(0.01, 2.0, 12)
scores = np.array([score(mg.Adam(), mg.Adam.Phi(eta)) for eta in grid])
scored = {
    "before": score(mg.Adam(), mg.Adam.Phi(0.01)),
    "best step size of the grid": scores.min(),
    "all four tuned": score(rule, result.phi),
}
for name, number in scored.items():
    print(f"{name:27s} mean log10 loss {number:.3f}")
assert scored["all four tuned"] < scored["before"] - 0.3
assert scored["all four tuned"] < scored["best step size of the grid"] + 0.05

# %%
# Keep it
# -------
# ``run(..., checkpoint="run.npz")`` saves as it goes, and the same call goes on where it was. ``mg.save_trained``
# writes the result as a file that imports nothing; with ``mg.Stepper`` it steps any loop.

stepper = mg.Stepper(mg.Adam(), tuned)
w = stepper.update(np.ones(3), grads=np.array([1.0, -2.0, 0.0]))
print("one update:", w)
