"""Meta-training of the step size in the paper's setting: three failures, one at a time, and the cure.

Many tasks of the paper (d = 20, t = 80, H = X'X, w0 standard normal) are tuned at once, each with its own step size,
by eta <- eta - 0.01/sqrt(k) gradient, kept above 0. An arm is an objective, a way to its gradient, and a dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import quadratic

claim = (
    "Gradient descent on G = (1/t) log f(w_t) with steps 0.01/sqrt(k) learns the step size of a quadratic, on "
    "the naive "
    "objective it does not; overflow, stop-gradient and outer step size each break it alone (Wang et al. 2021, "
    "section 3)"
)


@dataclass(frozen=True)
class Arm:
    """An objective, a way to its gradient, and a dtype."""

    objective: str  # "log" or "naive"
    method: str  # "exact", "plain" or "scaled" backpropagation
    dtype: str
    gradient: str  # "full" or "stop_gradient"

    @property
    def name(self) -> str:
        """A short name, also for files."""
        return f"{self.objective}-{self.method}-{self.dtype}-{self.gradient}"


ARMS = (
    Arm("log", "exact", "float64", "full"),
    Arm("naive", "exact", "float64", "full"),
    Arm("log", "plain", "float32", "full"),
    Arm("log", "plain", "float64", "full"),
    Arm("log", "plain", "float32", "stop_gradient"),
    Arm("log", "scaled", "float64", "stop_gradient"),
    Arm("log", "scaled", "float32", "full"),
    Arm("log", "scaled", "float64", "full"),
    Arm("naive", "plain", "float32", "full"),
    Arm("naive", "plain", "float64", "full"),
)


@dataclass(frozen=True)
class Config:
    """Sizes of the experiment; the defaults of the paper are d = 20, steps = 80, eta0 = 0.1, 1000 meta-steps."""

    tasks: int
    meta_steps: int
    starts: tuple[float, ...] = (0.1, 0.01, 0.001)
    d: int = 20
    steps: int = 80
    scale: float = 0.01
    close: float = 0.05  # converged: within this share of the minimiser


presets = {
    "quick": Config(tasks=24, meta_steps=400, starts=(0.1, 0.001)),
    "default": Config(tasks=100, meta_steps=1000),
    "paper": Config(tasks=400, meta_steps=1000),
}
expected_seconds = {"quick": 18.0, "default": 200.0, "paper": 800.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    exact = ("exact_error", "exact_share", "exact_lost")
    return (*exact, "scaled_gap", "range", "bias", "bias_lost", "outer_step")


def shards(config: Config) -> list[dict[str, Any]]:
    """One arm from one start each."""
    return [{"arm": index, "start": start} for index in range(len(ARMS)) for start in config.starts]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Meta-train all tasks with one arm from one start."""
    arm = ARMS[shard["arm"]]
    task = mg.random_quadratics(config.tasks, config.d, seed=context.seed, dtype=np.dtype(arm.dtype))
    trainer = mg.MetaTrainer(
        task=task,
        optimizer=mg.GradientDescent(),
        objective=mg.LogFinal() if arm.objective == "log" else mg.Final(),
        steps=config.steps,
        scale=config.scale,
        estimator=_estimator(arm),
    )
    run = trainer.run(np.full(config.tasks, shard["start"], dtype=arm.dtype), config.meta_steps)
    kept = _kept(config)
    draw = mg.random_quadratics(config.tasks, config.d, seed=context.seed)  # before any rounding to float32
    spectrum = quadratic.Spectrum.of(draw.H, draw.w0)
    best = quadratic.minimiser(spectrum, config.steps)
    last = run.phi[-1].astype(np.float64)
    lost = quadratic.log_objective(spectrum, np.where(np.isnan(last), 1.0, last), config.steps)
    lost = config.steps * (lost - quadratic.log_objective(spectrum, best, config.steps)) / np.log(10)
    return {
        "eta": run.phi[kept].astype(np.float64),
        "lost": np.where(np.isnan(last), np.nan, lost),
        "first_status": run.status[0],
        "last_status": run.status[-1],
        "best": best,
    }


def _estimator(arm: Arm) -> Any:
    if arm.method == "exact":
        return mg.ClosedForm(gradient=arm.gradient, per_task=True)
    return mg.Reverse(gradient=arm.gradient, per_task=True, scaling="none" if arm.method == "plain" else "auto")


def _kept(config: Config) -> np.ndarray:
    """Return the meta-steps that are kept, about evenly spaced in log k; the first and the last are among them."""
    spaced = np.geomspace(1, config.meta_steps, 80).round().astype(int)
    return np.unique(np.concatenate([[0], spaced]))


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return eta (arms, starts, k, tasks), the minimisers (tasks,) and the statuses."""
    shape = (len(ARMS), len(config.starts))
    stacked = {
        name: np.stack([part[name] for part in parts]).reshape(*shape, *parts[0][name].shape) for name in parts[0]
    }
    arrays = {
        "eta": stacked["eta"],
        "lost": stacked["lost"],
        "first_status": stacked["first_status"],
        "last_status": stacked["last_status"],
        "best": stacked["best"][0, 0],
        "k": _kept(config),
        "starts": np.asarray(config.starts),
    }
    names = dict.fromkeys(("eta", "lost", "first_status", "last_status"), (tuple(arm.name for arm in ARMS),))
    return Table(arrays, {"eta": "step size (1/curvature)", "lost": "orders of magnitude", "k": "meta-steps"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Each failure breaks the training alone; without them it works, from every start."""
    eta, best = table.arrays["eta"], table.arrays["best"]
    error = np.abs(eta[:, :, -1] / best - 1)
    close = np.where(np.isnan(error), False, error <= config.close).mean(axis=-1)

    def arm(objective: str, method: str, dtype: str, gradient: str = "full") -> int:
        return ARMS.index(Arm(objective, method, dtype, gradient))

    lost = table.arrays["lost"]
    exact, scaled = arm("log", "exact", "float64"), arm("log", "scaled", "float64")
    stopped = arm("log", "scaled", "float64", "stop_gradient")
    gap = float(np.median(np.abs(eta[scaled, :, -1] / eta[exact, :, -1] - 1)))
    ended = float(np.isnan(eta[arm("log", "plain", "float32"), 0, -1]).mean())
    median, worst = float(np.median(error[exact])), float(np.median(lost[exact]))
    bias, harm = float(np.median(error[stopped, 0])), float(np.median(lost[stopped, 0]))
    share = float(close[exact].mean())
    naive = float(close[arm("naive", "exact", "float64")].mean())
    checks = [
        Check("exact_error", "log, exact: median |eta/eta* - 1| at the end", median, "<= 0.02", median <= 0.02),
        Check("exact_share", "log, exact: share of runs within 5 % of eta*", share, ">= 0.6", share >= 0.6),
        Check("exact_lost", "log, exact: median orders of magnitude lost in f(w_t)", worst, "<= 0.5", worst <= 0.5),
        Check(
            "scaled_gap", "log, scaled backpropagation against exact: median gap in eta", gap, "<= 1e-2", gap <= 1e-2
        ),
        Check("range", "range: log, plain float32 from 0.1: share that ends as NaN", ended, ">= 0.9", ended >= 0.9),
        Check("bias", "bias: stop-gradient from 0.1: median |eta/eta* - 1|", bias, ">= 0.02", bias >= 0.02),
        Check("bias_lost", "bias: stop-gradient from 0.1: orders of magnitude lost", harm, ">= 1", harm >= 1),
        Check(
            "outer_step", "outer step: naive, exact: share of runs within 5 % of eta*", naive, "<= 0.1", naive <= 0.1
        ),
    ]
    return Verdict(claim, checks)
