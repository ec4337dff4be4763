"""Runs of a learned optimizer side by side: the sizes of their meta-gradients, and what explains them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import metagrad as mg
from metagrad import ad
from metagrad.system import Training, begin
from metagrad.unroll.rescale import along_tasks
from metagrad.xp import rng

KINDS = ("full", "stop_gradient")


def norm_log10(grad: Any) -> np.ndarray:
    """Return log10 of the norm over all meta-parameters, run by run, of gradients of any size."""
    logs = np.concatenate([leaf.log10abs().reshape(len(leaf.exponent), -1) for leaf in ad.leaves(grad)], axis=1)
    top = logs.max(axis=1)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return shift + 0.5 * np.log10((10 ** (2 * (logs - shift[:, None]))).sum(axis=1))


@dataclass(frozen=True)
class Case:
    """All runs of one case, side by side; the seed is that of initial networks and minibatches."""

    horizons: tuple[int, ...]
    fit_from: int
    task: Any
    rule: Any
    phi: Any
    seed: int = 0

    @property
    def is_network(self) -> bool:
        return not hasattr(self.task, "excess")

    @property
    def last(self) -> int:
        return self.horizons[-1]

    def gradient(self, objective: Any, steps: int, kind: Any = "full", scaling: Any = "auto") -> mg.Estimate:
        reverse = mg.Reverse(kind, scaling, per_task=True)
        return reverse(self.task, self.rule, objective, self.phi, steps=steps, seed=self.seed)

    def floor(self) -> np.ndarray:
        """Return the least train loss; 0 for a network, where the least is not known, and which it cannot go below."""
        return np.zeros(len(self.task.y)) if self.is_network else np.asarray(self.task.train_floor())


def sizes(case: Case) -> dict[str, np.ndarray]:
    """Return log10 of |gradient| (kinds, objectives, horizons, runs), and of the loss.

    The gradients of (1/T) log f and of the log of the excess E are that of f over T f and T E.
    """
    floor, found, measure = case.floor(), [], "train" if case.is_network else "excess"
    for steps in case.horizons:
        plain = [case.gradient(mg.Final(measure), steps, kind) for kind in KINDS]
        value = plain[0].value.to_float()
        pair = (value, value - floor) if case.is_network else (value + floor, value)
        norms, T = np.stack([norm_log10(estimate.grad) for estimate in plain]), np.log10(steps)
        with np.errstate(divide="ignore", invalid="ignore"):  # at the floor, and where rounding takes it below
            loss, excess = np.log10(pair)
        found.append((np.stack([norms, norms - T - loss, norms - T - excess], axis=1), loss))
    log10, loss = (np.stack(part, axis=-2) for part in zip(*found, strict=True))
    return {"log10": log10, "loss": loss}


def mean_log_sizes(case: Case) -> np.ndarray:
    """Return log10 of the norm of the gradient of the mean of log f over the steps, (horizons, runs)."""
    return np.stack([norm_log10(case.gradient(mg.MeanLog("train"), steps).grad) for steps in case.horizons])


def bounds(case: Case) -> np.ndarray:
    """Return log10 of f_up (horizons, runs): no coordinate moves by more than u a step, so no loss is larger."""
    task, (weight, bias) = case.task, case.phi.output
    step = abs(case.rule.scale) * (np.abs(weight).sum(axis=(1, 2)) + np.abs(bias[:, 0]))
    moved = np.outer(case.horizons, step)
    if case.is_network:  # its hidden units are in (0, 1)
        units, classes = task.net.sizes[-2:]
        start = np.max([np.abs(leaf).max() for leaf in begin(task, case.rule, case.phi, case.seed).w])
        return np.log10(np.log(classes) + 2 * (units + 1) * (start + moved))
    largest = np.linalg.norm(task.X, ord=2, axis=(1, 2)) / np.sqrt(2 * task.n)
    return 2 * np.log10(np.sqrt(task.train_loss(task.w0)) + largest * np.sqrt(task.d) * moved)


def lyapunov(case: Case) -> np.ndarray:
    """Return log10 of the growth per step of the distance of two nearby runs, brought near again at every step."""
    at, stream, grown = begin(case.task, case.rule, case.phi, case.seed)[:2], rng(0, "near"), []
    apart = [stream.standard_normal(leaf.shape) for leaf in ad.leaves(at)]
    for t in range(case.last):
        size, distance = 1e-8 * (1 + _norms(ad.leaves(at))), _norms(apart)
        shifted = [a + along_tasks(size / distance, b) * b for a, b in zip(ad.leaves(at), apart, strict=True)]
        ends = [_step(case, pair, t) for pair in (at, ad.unflatten(at, shifted))]
        apart = [b - a for a, b in zip(*map(ad.leaves, ends), strict=True)]
        at, grown = ends[0], [*grown, np.log10(_norms(apart) / size)]
    return np.mean(grown[case.fit_from :], axis=0)


def _step(case: Case, pair: Any, t: int) -> tuple[Any, Any]:
    w, state = pair
    return Training(case.task, case.rule, case.seed).step(t, case.phi, w, state)


def _norms(parts: list[np.ndarray]) -> np.ndarray:
    return np.sqrt(sum((part**2).sum(axis=tuple(range(1, part.ndim))) for part in parts))


def engines(case: Case, single: Any) -> dict[str, np.ndarray]:
    """Return how the engine without exponents compares, and its Status in float64 and float32, at the last horizon."""
    steps, objective = case.last, mg.Final("train")
    scaled, plain = (case.gradient(objective, steps, scaling=scaling) for scaling in ("auto", "none"))
    phi = ad.tree_map(lambda leaf: leaf.astype(np.float32), case.phi)
    short = replace(case, task=single, phi=phi).gradient(objective, steps, scaling="none")
    sizes = [norm_log10(estimate.grad) for estimate in (scaled, plain, short)]
    few = case.fit_from
    value, log = (case.gradient(measured("train"), few) for measured in (mg.Final, mg.LogFinal))
    expected = norm_log10(value.grad) - np.log10(few) - value.value.log10abs()
    return {
        "plain_error": np.where(plain.status == 0, np.abs(sizes[1] - sizes[0]), 0.0),
        "log_error": np.abs(norm_log10(log.grad) - expected),
        "status": np.stack([plain.status, short.status]),
        "lost": ~np.isfinite(sizes),
    }
