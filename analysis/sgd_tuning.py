"""Minibatch SGD on least squares: its step size tuned on the training loss or on held-out samples.

The objectives are exact expectations over the minibatches (`metagrad.theory.sgd`), averaged over tasks, and each
combination of a batch size and a number of epochs has its own step size: one for all tasks, as in the paper. Tuning on
held-out samples trains on one half and validates on the other. Runs of SGD with the chosen step sizes check the risks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import sgd
from metagrad.xp import rng

claim = (
    "With SGD as with gradient descent, a step size tuned on the training loss fits the noise where samples are as few "
    "as inputs, the more the more epochs it gets; one tuned on held-out samples ends, from a few epochs on, at the "
    "same training time eta T, so that its risk depends on neither batch size nor epochs (Wang et al. 2021, section 4, "
    "for SGD)."
)
BY = ("train", "validation")


@dataclass(frozen=True)
class Config:
    """Inputs d, samples over inputs, batch sizes (0: all samples), epochs, noise; tasks, and runs of SGD on each."""

    d: int
    tasks: int
    runs: int
    ratios: tuple[int, ...] = (1, 4)
    batches: tuple[int, ...] = (1, 5, 0)
    epochs: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    sigma: float = 1.0
    grid: int = 28


presets = {
    "quick": Config(d=8, tasks=20, runs=20, batches=(1, 4, 0), epochs=(1, 4, 16, 64)),
    "default": Config(d=10, tasks=60, runs=60),
    "paper": Config(d=16, tasks=100, runs=100, batches=(1, 8, 0)),
}
expected_seconds = {"quick": 5.0, "default": 55.0, "paper": 600.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    held_out = ("held_out_risk", "held_out_time", "held_out_spread")
    return ("train_risk", "train_growth", *held_out, "many", "runs", "full_batches")


def shards(config: Config) -> list[dict[str, Any]]:
    """One ratio of samples to inputs, tuning objective and batch size each."""
    return [
        {"ratio": ratio, "by": by, "batch": batch} for ratio in config.ratios for by in BY for batch in config.batches
    ]


@dataclass(frozen=True)
class Task:
    """A problem, the measures of its objective and of its risk, and w*."""

    problem: sgd.SgdProblem
    measures: list[sgd.Measure]
    w_star: np.ndarray


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Choose a step size for each number of epochs, and return its risk from theory and from runs of SGD."""
    tasks = [_task(config, shard, context.seed, index) for index in range(config.tasks)]
    batch = int(tasks[0].problem.batch_size)
    steps = np.array(config.epochs) * len(tasks[0].problem.y) // batch
    thresholds = np.array([sgd.stability_threshold(task.problem) for task in tasks])
    chosen = _choose(tasks, steps, np.geomspace(1e-4, 1.5, config.grid) * thresholds.mean())
    risks = np.array([_risks(task, chosen, steps) for task in tasks])
    found = [_runs(config, tasks, eta, int(t), context.seed) for eta, t in zip(chosen, steps, strict=True)]
    mean, error = np.array(found).T
    spread = risks.std(axis=0, ddof=1) / np.sqrt(len(risks))
    return {
        "eta": chosen,
        "time": chosen * steps,
        "threshold": thresholds.mean(),
        "risk": risks.mean(axis=0),
        "risk_error": spread,
        "runs": mean,
        "runs_error": error,
    }


def _task(config: Config, shard: dict[str, Any], seed: int, index: int) -> Task:
    """Draw a task of the paper: w* on the unit sphere, inputs N(0, I), targets with noise sigma."""
    stream = rng(seed, "sgd_tuning", shard["ratio"], index)
    n = shard["ratio"] * config.d
    w_star = stream.standard_normal(config.d)
    w_star /= np.linalg.norm(w_star)
    X = stream.standard_normal((n, config.d))
    y = X @ w_star + config.sigma * stream.standard_normal(n)
    used = n if shard["by"] == "train" else n // 2
    problem = sgd.SgdProblem(X[:used], y[:used], None, shard["batch"] or used, replacement=False)
    if shard["by"] == "train":
        objective = sgd.train_measure(problem)
    else:
        objective = sgd.validation_measure(problem, X[used:], y[used:])
    return Task(problem, [objective, sgd.risk_measure(problem, w_star)], w_star)


def _choose(tasks: list[Task], steps: np.ndarray, etas: np.ndarray) -> np.ndarray:
    """Return the minimiser (epochs,) of the mean objective: the best of a grid, then of a finer one around it."""
    objective, _ = _objective(tasks, steps, etas)
    return np.array([_refined(tasks, steps[[k]], etas, int(np.argmin(objective[:, k]))) for k in range(len(steps))])


def _refined(tasks: list[Task], steps: np.ndarray, etas: np.ndarray, best: int) -> float:
    """Return the zero of the slope near etas[best], by a line between its nodes; 0 if the objective only rises."""
    if best == 0:
        return 0.0
    fine = np.geomspace(etas[best - 1], etas[min(best + 1, len(etas) - 1)], 12)
    objective, slope = (x[:, 0] for x in _objective(tasks, steps, fine))
    node = int(np.argmin(objective))
    other = node + (1 if slope[node] < 0 else -1)
    if not 0 <= other < len(fine) or slope[node] * slope[other] >= 0:
        return float(fine[node])
    share = slope[node] / (slope[node] - slope[other])
    return float(fine[node] + share * (fine[other] - fine[node]))


def _objective(tasks: list[Task], steps: np.ndarray, etas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over tasks of the objective (etas, steps) and of its slope; inf beyond float64."""
    found = [sgd.at_steps(task.problem, task.measures[:1], etas, steps)[0] for task in tasks]
    value, slope = (np.mean([pair[i].to_float(ieee=True) for pair in found], axis=0) for i in range(2))
    return value, slope


def _risks(task: Task, chosen: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the expected risk (epochs,) with the chosen step sizes."""
    ((risk, _),) = sgd.at_steps(task.problem, task.measures[1:], chosen, steps)
    return np.diagonal(risk.to_float())


def _runs(config: Config, tasks: list[Task], eta: float, steps: int, seed: int) -> tuple[float, float]:
    """Return the mean risk of runs of SGD on all tasks, and its standard error given the tasks."""
    stream = rng(seed, "sgd_tuning", "runs", steps, repr(eta))
    X, y = (np.stack([getattr(task.problem, name) for task in tasks]) for name in ("X", "y"))
    batch, n = int(tasks[0].problem.batch_size), y.shape[1]
    w = np.zeros((len(tasks), config.runs, X.shape[2]))
    every = np.arange(len(tasks))[:, None, None]
    for _ in range(steps):
        if batch == n:
            w -= eta / n * np.matmul(np.matmul(w, np.swapaxes(X, 1, 2)) - y[:, None], X)
            continue
        if batch == 1:
            drawn = stream.integers(0, n, (*w.shape[:2], 1))
        else:
            drawn = np.argpartition(stream.random((*w.shape[:2], n)), batch, axis=2)[..., :batch]
        x = X[every, drawn]  # (tasks, runs, batch, d)
        residual = np.matmul(x, w[..., None])[..., 0] - y[every, drawn]
        w -= eta / batch * np.matmul(residual[..., None, :], x)[..., 0, :]
    squares = np.sum((w - np.stack([task.w_star for task in tasks])[:, None]) ** 2, axis=2)
    error = np.sqrt(np.sum(squares.var(axis=1, ddof=1)) / config.runs) / len(tasks)
    return float(squares.mean()), float(error)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by ratio, tuning objective, batch size and epochs."""
    shape = (len(config.ratios), len(BY), len(config.batches))
    arrays = {
        name: np.stack([part[name] for part in parts]).reshape(*shape, *np.shape(parts[0][name])) for name in parts[0]
    }
    names = dict.fromkeys(arrays, (None, BY))
    arrays |= {name: np.asarray(getattr(config, name)) for name in ("ratios", "batches", "epochs")}
    return Table(arrays, {"risk": "||w*||^2", "time": "1/variance of an input", "eta": "1/variance of an input"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Tuning on the training loss overfits few samples, tuning on held-out ones does not; runs agree with theory."""
    risk, time = table.arrays["risk"], table.arrays["time"]
    few, many, last = config.ratios[0], config.ratios[-1], config.epochs[-1]
    by_train, by_validation = risk[0, 0], risk[0, 1]  # (batches, epochs)
    long = np.array(config.epochs) >= 16
    overfit, growth = float(by_train[:, -1].min()), float((by_train[:, -1] / by_train[:, 0]).min())
    held, costs = float(by_validation[:, -1].max()), float((risk[-1, 0, :, -1] / risk[-1, 1, :, -1]).max())
    times, apart = _spread(time[:, 1][..., long]), _spread(risk[:, 1][..., long]) - 1
    return Verdict(
        claim,
        [
            Check(
                "train_risk",
                f"n = {few} d, tuned on train: least risk at {last} epochs",
                overfit,
                "> 1 (none)",
                overfit > 1,
            ),
            Check("train_growth", f"its least growth from 1 to {last} epochs", growth, ">= 2 times", growth >= 2),
            Check(
                "held_out_risk",
                f"n = {few} d, tuned on held-out: largest risk at {last} epochs",
                held,
                "< 1 (none)",
                held < 1,
            ),
            Check("held_out_time", "held-out: training time over batches and epochs", times, "<= 1.25", times <= 1.25),
            Check("held_out_spread", "held-out: spread of the risk over both", apart, "<= 0.05", apart <= 0.05),
            Check("many", f"n = {many} d, {last} epochs: train over held-out risk", costs, "<= 1", costs <= 1),
            *_run_checks(table),
        ],
    )


def _run_checks(table: Table) -> list[Check]:
    """Return whether the runs of SGD agree with theory."""
    scatter, exact = _agreement(table)
    return [
        Check("runs", "runs of SGD: furthest from theory, in standard errors", scatter, "<= 4.5", scatter <= 4.5),
        Check("full_batches", "runs of full batches: largest relative error", exact, "<= 1e-6", exact <= 1e-6),
    ]


def _spread(x: np.ndarray) -> float:
    """Return the largest ratio, within one number of samples, of two entries; epochs of 16 and more."""
    flat = x.reshape(len(x), -1)
    return float((flat.max(axis=1) / flat.min(axis=1)).max())


def _agreement(table: Table) -> tuple[float, float]:
    """Return how far the runs are from theory: in standard errors where they scatter, relatively where they do not."""
    arrays = table.arrays
    difference, error = np.abs(arrays["runs"] - arrays["risk"]), arrays["runs_error"]
    scatters = error > 1e-9 * arrays["risk"]
    relative = difference / arrays["risk"]
    return float((difference[scatters] / error[scatters]).max()), float(relative[~scatters].max(initial=0.0))
