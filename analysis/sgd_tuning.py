"""Minibatch SGD on least squares: its step size tuned on the training loss or on held-out samples.

The objectives are exact expectations over the minibatches (`metagrad.theory.sgd`), averaged over tasks, and each
combination of a batch size and a number of epochs has its own step size: one for all tasks, as in the paper. Tuning on
held-out samples trains on one half and validates on the other. What is told is the risk that fresh targets at the same
inputs have with the chosen step sizes, exactly (`SgdAverage`), and by runs of SGD. Intervals are over the inputs of the
tasks, which all combinations of one number of samples share, so that ratios of risks are paired. They are given the
step sizes: what the tuning adds is not in them, and with 20 tasks it is more than they hold (at one seed of 15 the
smallest batches were tuned to a risk of 1.03, where the others have 0.79 to 0.90). With 60 it is 0.79 to 0.81.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analysis.framework import checks
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import sgd
from metagrad.xp import rng

claim = (
    "With SGD as with gradient descent, a step size tuned on the training loss fits the noise where samples are as few "
    "as inputs, more so after many epochs than after one; one tuned on held-out samples ends, from a few epochs on, at "
    "nearly the same training time eta T, so that its risk depends on neither batch size nor epochs. With four times "
    "as many samples as inputs train-by-train has the smaller risk (Wang et al. 2021, section 4, for SGD)."
)
BY = ("train", "validation")
LONG = 16  # epochs from which on training time and risk are to be the same
_LEVEL = 1e-3  # at which all numbers of the runs together give a false alarm


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
    "quick": Config(d=8, tasks=60, runs=8, batches=(1, 4, 0), epochs=(1, 4, 16, 64)),
    "default": Config(d=10, tasks=60, runs=60),
    "paper": Config(d=16, tasks=100, runs=100, batches=(1, 8, 0)),
}
expected_seconds = {"quick": 12.0, "default": 55.0, "paper": 600.0}


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
    """A problem, the measure of its objective, and w*."""

    problem: sgd.SgdProblem
    objective: sgd.Measure
    w_star: np.ndarray


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Choose a step size for each number of epochs, and return its risk from theory and from runs of SGD."""
    tasks = [_task(config, shard, context.seed, index) for index in range(config.tasks)]
    batch = int(tasks[0].problem.batch_size)
    steps = np.array(config.epochs) * len(tasks[0].problem.y) // batch
    thresholds = np.array([sgd.stability_threshold(task.problem) for task in tasks])
    chosen = _choose(tasks, steps, np.geomspace(1e-4, 1.5, config.grid) * thresholds.mean())
    risks = np.array([_risks(config, task, chosen, steps) for task in tasks])
    found = [_runs(config, tasks, eta, int(t), context.seed) for eta, t in zip(chosen, steps, strict=True)]
    relative = np.array(found) / risks.T[..., None]  # (epochs, tasks, runs)
    mean, error = _mean_and_error(np.array(found))
    return {
        "eta": chosen,
        "time": chosen * steps,
        "threshold": thresholds.mean(),
        "risks": risks.T,
        "runs": mean,
        "runs_error": error,
        "apart": np.divide(*_mean_and_error(relative, 1.0)),
        "full_batch": _full_batch(tasks[0], chosen, steps)
        if batch == len(tasks[0].problem.y)
        else np.zeros(len(steps)),
    }


def _mean_and_error(x: np.ndarray, less: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return means (epochs,) over tasks and runs, less a number, and their standard errors given the inputs."""
    error = np.sqrt(np.sum(x.var(axis=-1, ddof=1), axis=-1) / x.shape[-1]) / x.shape[-2]
    return x.mean(axis=(-2, -1)) - less, error


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
    return Task(problem, objective, w_star)


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
    found = [sgd.at_steps(task.problem, [task.objective], etas, steps)[0] for task in tasks]
    value, slope = (np.mean([pair[i].to_float(ieee=True) for pair in found], axis=0) for i in range(2))
    return value, slope


def _risks(config: Config, task: Task, chosen: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the expected risk (epochs,) with the chosen step sizes, averaged over targets."""
    average = sgd.SgdAverage(task.problem, config.sigma)
    ((risk, _),) = sgd.at_steps(average, [average.risk], chosen, steps)
    return np.diagonal(risk.to_float())


def _full_batch(task: Task, chosen: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return how far the risk (epochs,) given the targets is from that of steps of gradient descent, relatively."""
    X, y, w_star = task.problem.X, task.problem.y, task.w_star
    ((risk, _),) = sgd.at_steps(task.problem, [sgd.risk_measure(task.problem, w_star)], chosen, steps)
    w = np.zeros((len(chosen), X.shape[1]))
    found = np.zeros(len(chosen))
    for t in range(1, int(steps.max()) + 1):
        w -= chosen[:, None] / len(y) * ((w @ X.T - y) @ X)
        found = np.where(steps == t, np.sum((w - w_star) ** 2, axis=1), found)
    return np.abs(found / np.diagonal(risk.to_float()) - 1)


def _runs(config: Config, tasks: list[Task], eta: float, steps: int, seed: int) -> np.ndarray:
    """Return the risk of runs of SGD (tasks, runs) on fresh targets at the inputs of all tasks."""
    stream = rng(seed, "sgd_tuning", "runs", steps, repr(eta))
    X = np.stack([task.problem.X for task in tasks])
    (count, n, d), batch = X.shape, int(tasks[0].problem.batch_size)
    w_star = stream.standard_normal((count, config.runs, d))
    w_star /= np.linalg.norm(w_star, axis=2, keepdims=True)
    y = np.matmul(w_star, np.swapaxes(X, 1, 2)) + config.sigma * stream.standard_normal((count, config.runs, n))
    w = np.zeros_like(w_star)
    every = np.arange(count)[:, None, None]
    for _ in range(steps):
        if batch == n:
            w -= eta / n * np.matmul(np.matmul(w, np.swapaxes(X, 1, 2)) - y, X)
            continue
        if batch == 1:
            drawn = stream.integers(0, n, (*w.shape[:2], 1))
        else:
            drawn = np.argpartition(stream.random((*w.shape[:2], n)), batch, axis=2)[..., :batch]
        x = X[every, drawn]  # (tasks, runs, batch, d)
        residual = np.matmul(x, w[..., None])[..., 0] - np.take_along_axis(y, drawn, axis=2)
        w -= eta / batch * np.matmul(residual[..., None, :], x)[..., 0, :]
    return np.asarray(np.sum((w - w_star) ** 2, axis=2))


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by ratio, tuning objective, batch size and epochs."""
    shape = (len(config.ratios), len(BY), len(config.batches))
    arrays = {
        name: np.stack([part[name] for part in parts]).reshape(*shape, *np.shape(parts[0][name])) for name in parts[0]
    }
    names = dict.fromkeys(arrays, (None, BY))
    arrays |= {name: np.asarray(getattr(config, name)) for name in ("ratios", "batches", "epochs")}
    return Table(
        arrays, {"risks": "||w*||^2", "time": "1/variance of an input", "eta": "1/variance of an input"}, names
    )


def verdict(config: Config, table: Table) -> Verdict:
    """Tuning on the training loss overfits few samples, tuning on held-out ones does not; runs agree with theory."""
    risks = table.arrays["risks"]  # (ratios, by, batches, epochs, tasks)
    few, many, last = config.ratios[0], config.ratios[-1], config.epochs[-1]
    by_train, held_out = risks[0, 0], risks[0, 1, :, -1]
    long = np.array(config.epochs) >= LONG
    growth = _ratios(by_train[:, -1], by_train[:, 0])
    late = risks[:, 1][:, :, long].reshape(len(risks), -1, risks.shape[-1])
    apart, costs = _ratios(late[:, :, None], late[:, None]), _ratios(risks[-1, 0, :, -1], risks[-1, 1, :, -1])
    at, mean = f"at {last} epochs", "mean over inputs"
    least = checks.at_least(
        "train_risk",
        f"n = {few} d, tuned on train: least risk of all batches {at}, {mean} (no training: 1)",
        by_train[:, -1].mean(axis=-1),
        1.0,
        checks.mean_interval(by_train[:, -1]),
    )
    most = checks.at_most(
        "held_out_risk",
        f"n = {few} d, tuned on held-out: largest risk of all batches {at}, {mean} (no training: 1)",
        held_out.mean(axis=-1),
        1.0,
        checks.mean_interval(held_out),
    )
    times = _spread(table.arrays["time"][:, 1][..., long])
    long_ones = f"held-out, from {LONG} epochs on"
    return Verdict(
        claim,
        [
            least,
            checks.at_least(
                "train_growth", f"its least growth from {config.epochs[0]} epoch", growth[0], 2.0, growth[1]
            ),
            most,
            checks.at_most("held_out_time", f"{long_ones}: largest ratio of training times", times, 1.25),
            checks.at_most("held_out_spread", f"{long_ones}: largest ratio of mean risks", apart[0], 1.05, apart[1]),
            checks.at_most(
                "many", f"n = {many} d, {last} epochs: largest train over held-out risk", costs[0], 1.0, costs[1]
            ),
            *_run_checks(config, table),
        ],
    )


def _ratios(above: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, tuple[Any, Any]]:
    """Return ratios of means over inputs (..., tasks), and their 95 % intervals: paired, to first order in 1/tasks."""
    one, other = np.broadcast_arrays(above, below)
    bottom = other.mean(axis=-1, keepdims=True)
    ratio = one.mean(axis=-1, keepdims=True) / bottom
    return ratio[..., 0], checks.mean_interval(ratio + (one - ratio * other) / bottom)


def _run_checks(config: Config, table: Table) -> list[Check]:
    """Return whether the runs of SGD agree with theory, and one of full batches does so exactly."""
    what = "runs of SGD over theory, mean over inputs: farthest from 1, in standard errors given them"
    apart = np.abs(table.arrays["apart"])
    farthest = float(stats.t.isf(_LEVEL / 2 / apart.size, config.tasks - 1))
    exact = table.arrays["full_batch"][~_scatter(config)]
    return [
        checks.at_most("runs", what, apart, farthest),
        checks.at_most("full_batches", "a run of full batches: largest relative error", exact, 1e-6),
    ]


def _scatter(config: Config) -> np.ndarray:
    """Return whether runs scatter (ratios, by, batches): a batch is less than what is trained on."""
    used = np.array([[ratio * config.d // share for share in (1, 2)] for ratio in config.ratios])
    batches = np.array(config.batches)
    return (batches > 0) & (batches < used[..., None])


def _spread(x: np.ndarray) -> np.ndarray:
    """Return the largest ratio of two entries for each number of samples."""
    flat = x.reshape(len(x), -1)
    return np.asarray(flat.max(axis=1) / flat.min(axis=1))
