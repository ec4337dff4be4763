"""Learned starts for sine waves: the parts that each method is a combination of, its training and its test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    per_coordinate: bool = False


_EXACT, _FIRST = mg.Reverse(scaling="none"), mg.Reverse(gradient="stop_gradient", scaling="none")
_DESCENT = mg.GradientDescent()
METHODS = {
    "MAML, step 0.01": Method(mg.Sinusoids.maml, _DESCENT, 0.01, _EXACT),
    "MAML, step 0.001": Method(mg.Sinusoids.maml, _DESCENT, 0.001, _EXACT),
    "first order": Method(mg.Sinusoids.maml, _DESCENT, 0.01, _FIRST),
    "ANIL": Method(mg.Sinusoids.maml, mg.Masked(_DESCENT, _HEAD), 0.01, _EXACT),
    "Meta-SGD": Method(mg.Sinusoids.maml, _DESCENT, 0.01, _EXACT, per_coordinate=True),
    "Reptile": Method(mg.Sinusoids.reptile, _DESCENT, 0.02, mg.Reptile(), train_steps=5, test_steps=32),
}


@dataclass(frozen=True)
class Trained:
    """The meta-parameters before and after meta-training."""

    first: mg.Joint
    last: mg.Joint


def trained(name: str, iterations: int, seed: int) -> Trained:
    """Return the start that a method learns in so many iterations, from everything random under one seed."""
    method = METHODS[name]
    family = method.family(dtype=np.float32)
    first = _first(method, family, seed)
    trainer = Trainer(
        method.rule,
        lambda seed: mg.LearnedStart(family(seed)),
        mg.Final("validation"),
        Recipe(iterations, horizon=method.train_steps, window=method.train_steps, evaluate_every=iterations),
        outer=_outer(method, first, iterations),
        outer_phi=None,
        estimator=method.estimator,
        seed=seed,
    )
    return Trained(first, trainer.run(first).last)


def _first(method: Method, family: mg.Sinusoids, seed: int) -> mg.Joint:
    """Return where meta-training begins: the inner step size, or one for every coordinate, and a random start."""
    start = mg.LearnedStart(family(0)).first(seed)
    eta: Any = np.float32(method.step_size)
    if method.per_coordinate:
        draw = mg.xp.rng(seed, "step sizes")
        eta = tuple(draw.uniform(*_META_SGD, size=leaf.shape).astype(np.float32) for leaf in start)
    return mg.Joint(mg.GradientDescent.Phi(eta), start)


def _outer(method: Method, first: mg.Joint, iterations: int) -> mg.Through:
    """Return the outer step: Adam on the start (and on step sizes of every coordinate), or Reptile's, which decays."""
    if isinstance(method.estimator, mg.Reptile):
        rule = mg.Following(mg.GradientDescent(), eta=mg.Polynomial())
        return mg.Through(rule, rule.Phi(eta_start=0.1, eta_end=0.0, eta_power=1.0), steps=iterations)
    if method.per_coordinate:
        return mg.Through(mg.Adam(), mg.Adam.Phi(_ADAM))
    only_start = mg.Joint(mg.GradientDescent.Phi(False), mg.ad.tree_map(lambda leaf: True, first.task))
    return mg.Through(mg.Masked(mg.Adam(), only_start), mg.Adam.Phi(_ADAM))


def tested(name: str, phi: mg.Joint, count: int, seed: int) -> np.ndarray:
    """Return the query error (steps + 1, count) on fresh tasks, along the steps from the start."""
    method = METHODS[name]
    task = mg.LearnedStart(method.family(count=count, shots=10, dtype=np.float32)(seed))
    return mg.rollout(task, method.rule, phi, steps=method.test_steps, measure="validation")
