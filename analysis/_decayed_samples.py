"""Samples for schedules with and without weight decay: Gaussian ones of finite size, and splits of real data."""

from __future__ import annotations

import numpy as np

import metagrad as mg
from analysis._average_tasks import line
from analysis._minimise import minimised
from analysis._real_problems import fresh_half, problem, scaled
from metagrad.theory.schedules import proportional

RUNS = ("constant", "steps", "steps and decay")


def descended(X: np.ndarray, y: np.ndarray, etas: np.ndarray, decay: float) -> np.ndarray:
    """Return w_T (d, targets) from w = 0 on X (n, d), y (n, targets), with weight decay."""
    w = np.zeros((X.shape[1], y.shape[1]))
    for eta in etas:
        w = w - eta * (X.T @ (X @ w - y) / len(X) + decay * w)
    return w


def gaussian_risks(
    d: int,
    etas: np.ndarray,
    targets: int,
    stream: np.random.Generator,
    *,
    gamma: float,
    sigma: float,
    alone: np.ndarray,
) -> np.ndarray:
    """Return the mean risk over `targets` targets on one Gaussian X: of the schedule with decay, and of steps alone."""
    n = round(d / gamma)
    X = stream.standard_normal((n, d))
    w_star = stream.standard_normal((d, targets)) / np.sqrt(d)
    y = X @ w_star + sigma * stream.standard_normal((n, targets))
    decay = float(proportional.best_decay(gamma=gamma, sigma=sigma))
    runs = ((etas, decay), (alone, 0.0))
    return np.array([np.mean(np.sum((descended(X, y, *run) - w_star) ** 2, axis=0)) for run in runs])


def real_errors(name: str, n: int, splits: int, steps: int, stream: np.random.Generator) -> np.ndarray:
    """Return mean test errors (runs,) in variances of the target: a constant step, a schedule, and one with decay.

    Each is tuned by the engine's gradient on the mean log validation loss of `splits` splits: n samples to train on and
    as many to validate on, of the half that is not kept for tests. Tested on that half, trained on the same samples.
    """
    x, y, held, held_y, fresh, fresh_y = _splits(name, n, splits, stream)

    def loss(w, theta):
        left = np.einsum("bni,bi->bn", x, w) - y
        return np.mean(left * left, axis=-1) / 2 + theta * np.sum(w * w, axis=-1) / 2

    def validation(w):
        left = np.einsum("bni,bi->bn", held, w) - held_y
        return np.mean(left * left, axis=-1)

    task = mg.FunctionTask(loss, np.zeros((splits, x.shape[2])), validation=validation, theta=np.array(0.1))
    largest = max(float(np.linalg.eigvalsh(each.T @ each / n)[-1]) for each in x)
    found, starts = [], {"constant": np.array([1 / largest])}
    for run in RUNS:
        phi = _tuned(task, steps, starts[run], run)
        etas, decay = _parts(phi, steps, run)
        found.append(_tested(x, y, fresh, fresh_y, etas, decay))
        if run == "constant":
            starts["steps"] = line(steps, float(phi[0]))
            starts["steps and decay"] = np.append(starts["steps"], 0.1)
    return np.array(found)


def _parts(phi: np.ndarray, steps: int, run: str) -> tuple[np.ndarray, float]:
    if run == "constant":
        return np.full(steps, phi[0]), 0.0
    return phi[:steps], float(phi[steps]) if run == "steps and decay" else 0.0


def _tuned(task: mg.FunctionTask, steps: int, start: np.ndarray, run: str) -> np.ndarray:
    rule = mg.Scheduled(mg.GradientDescent())

    def objective(phi: np.ndarray) -> tuple[float, np.ndarray]:
        etas, decay = _parts(phi, steps, run)
        joint = mg.Joint(rule=mg.GradientDescent.Phi(etas), task=np.array(decay))
        found = mg.meta_gradient(task, rule, mg.LogFinal("validation"), joint, steps=steps)
        slope = found.grad.rule.eta.to_float()
        if run == "constant":
            slope = np.array([slope.sum()])
        elif run == "steps and decay":
            slope = np.append(slope, found.grad.task.to_float())
        return float(found.value.to_float().mean()), slope

    return minimised(objective, start, most=200)[0]


def _tested(
    x: np.ndarray, y: np.ndarray, fresh: np.ndarray, fresh_y: np.ndarray, etas: np.ndarray, decay: float
) -> float:
    errors = []
    for X, target, Z, z in zip(x, y, fresh, fresh_y, strict=True):
        w = descended(X, target[:, None], etas, decay)[:, 0]
        errors.append(np.mean((Z @ w - z) ** 2))
    return float(np.mean(errors))


def _splits(name: str, n: int, splits: int, stream: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return inputs and targets to train, to validate and to test on, each with the splits first."""
    data = problem(name)
    kept = fresh_half(data)
    found = []
    for _ in range(splits):
        order = np.concatenate([stream.permutation(np.flatnonzero(~kept))[: 2 * n], np.flatnonzero(kept)])
        X, y = scaled(data, data.inputs_of[order], n), data.target[order] / np.std(data.target[~kept])
        y = y - np.mean(y[:n])
        found.append((X[:n], y[:n], X[n : 2 * n], y[n : 2 * n], X[2 * n :], y[2 * n :]))
    return tuple(np.stack(part) for part in zip(*found, strict=True))
