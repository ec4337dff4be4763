"""Learned starts for sine waves: the parts that each method is a combination of, its training and its test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

import metagrad as mg
from metagrad.training import Recipe, Trainer

_HEAD = (False,) * 4 + (True,) * 2  # the last weights and biases of three layers
_ADAM = 1e-3
_META_SGD = 0.005, 0.1  # where its step sizes begin, uniform (Li et al. 2017)


class Method(NamedTuple):
    """One combination of parts: the family, the rule that adapts, the inner step size, and how the start is learned."""

    family: Callable[..., mg.Sinusoids]
    rule: Any
    step_size: float
    estimator: Any
    train_steps: int = 1
    test_steps: int = 10
    per_coordinate: bool = False  # step sizes: one for every coordinate, learned beside the start


# Runs of one step need no exponents beside their numbers: plain floats are faster.
_EXACT = mg.Reverse(scaling="none", rescue="never")
_FIRST = mg.Reverse("stop_gradient", scaling="none", rescue="never")
_DESCENT = mg.GradientDescent()
METHODS = {
    "MAML, step 0.01": Method(mg.Sinusoids.maml, _DESCENT, 0.01, _EXACT),
    "MAML, step 0.001": Method(mg.Sinusoids.maml, _DESCENT, 0.001, _EXACT),
    "first-order MAML": Method(mg.Sinusoids.maml, _DESCENT, 0.01, _FIRST),
    "ANIL": Method(mg.Sinusoids.maml, mg.Masked(_DESCENT, _HEAD), 0.01, _EXACT),
    "Meta-SGD": Method(mg.Sinusoids.maml, _DESCENT, 0.01, _EXACT, per_coordinate=True),
    "Reptile": Method(mg.Sinusoids.reptile, _DESCENT, 0.02, mg.Reptile(), train_steps=5, test_steps=32),
}


class Trained(NamedTuple):
    """The meta-parameters before and after meta-training."""

    first: mg.Joint
    last: mg.Joint


def trained(name: str, iterations: int, starts: int, seed: int) -> Trained:
    """Return what a method learns in so many iterations, `starts` starts side by side, each with tasks of its own.

    Everything random comes from `seed`.
    """
    method = METHODS[name]
    usual = method.family()
    family = replace(usual, count=starts * usual.count, dtype=np.float32)
    first = _first(method, family, starts, seed)
    trainer = Trainer(
        method.rule,
        lambda seed: mg.LearnedStart(family(seed), w0=first.task, starts=starts),
        mg.Final("validation"),
        Recipe(iterations, horizon=method.train_steps, window=method.train_steps, evaluate_every=iterations),
        outer=_outer(method, first, iterations, starts),
        outer_phi=None,
        estimator=method.estimator,
        seed=seed,
    )
    return Trained(first, trainer.run(first).last)


def _first(method: Method, family: mg.Sinusoids, starts: int, seed: int) -> mg.Joint:
    """Return where meta-training begins: the inner step size, or one for every coordinate, and random starts."""
    start = mg.LearnedStart(family(0), starts=starts).first(seed)
    eta: Any = np.float32(method.step_size)
    if method.per_coordinate:
        draw = mg.xp.rng(seed, "step sizes")
        eta = tuple(draw.uniform(*_META_SGD, size=leaf.shape).astype(np.float32) for leaf in start)
    return mg.Joint(mg.GradientDescent.Phi(eta), start)


def _outer(method: Method, first: mg.Joint, iterations: int, starts: int) -> mg.Through:
    """Return the outer step: Adam on the start (and on step sizes of every coordinate), or Reptile's, which decays.

    The meta-gradient of each start is 1/starts of its own; Adam does not see that, and Reptile's step makes up for it.
    """
    if isinstance(method.estimator, mg.Reptile):
        rule = mg.Following(mg.GradientDescent(), eta=mg.Polynomial())
        return mg.Through(rule, rule.Phi(eta_start=0.1 * starts, eta_end=0.0, eta_power=1.0), steps=iterations)
    if method.per_coordinate:
        return mg.Through(mg.Adam(), mg.Adam.Phi(_ADAM))
    only_start = mg.Joint(mg.GradientDescent.Phi(False), mg.ad.tree_map(lambda leaf: True, first.task))
    return mg.Through(mg.Masked(mg.Adam(), only_start), mg.Adam.Phi(_ADAM))


def tested(name: str, phi: mg.Joint, starts: int, count: int, seed: int) -> np.ndarray:
    """Return the query error (starts, steps + 1, count) on fresh tasks, the same for all, along the steps."""
    method, curves = METHODS[name], []
    family = method.family(count=count, shots=10, dtype=np.float32)
    for k in range(starts):
        one = phi._replace(task=mg.ad.tree_map(lambda leaf, k=k: leaf if starts == 1 else leaf[k], phi.task))
        curves.append(
            mg.rollout(mg.LearnedStart(family(seed)), method.rule, one, steps=method.test_steps, measure="validation")
        )
    return np.stack(curves)
