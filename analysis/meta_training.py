"""Meta-training of the step size in the paper's setting: three failures, one at a time, and the cure.

Many tasks of the paper (d = 20, t = 80, H = X'X, w0 standard normal) are tuned at once, each with its own step size,
by eta <- eta - 0.01/sqrt(k) gradient, kept above 0. An arm is an objective, a way to its gradient, and a dtype.

A step that leads below 0 is projected onto the smallest step size there is; nearly every run is projected at times, and
some end there. Such an end is an end like any other: differences of step sizes are relative to the best one, eta*,
never to what was learned. Paths bounce between 0 and eta* before they settle, so that rounding parts two paths of one
task: ways to the gradient are compared at the same step sizes, those that the run went through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import metagrad as mg
from analysis.framework.checks import at_least, at_most, none_of, reported, share_interval
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import quadratic

claim = (
    "Gradient descent on G = (1/t) log f(w_t) with steps 0.01/sqrt(k) learns the step size of a quadratic, to 10 % of "
    "the best one and half an order of magnitude in f(w_t) for the median task, with exact and with scaled "
    "meta-gradients; overflow, stop-gradient and the naive objective, whose gradients no outer step size fits, each "
    "break it alone (Wang et al. 2021, section 3)"
)


@dataclass(frozen=True)
class Arm:
    """An objective, a way to its gradient, and a dtype."""

    objective: str  # "log" or "naive"
    method: str  # "exact" (theory), "plain" or "scaled" backpropagation
    dtype: str
    gradient: str  # "full" or "stop_gradient"

    @property
    def name(self) -> str:
        """A short name, also for files."""
        return f"{self.objective}-{self.method}-{self.dtype}-{self.gradient}"


EXACT = Arm("log", "exact", "float64", "full")
SCALED = Arm("log", "scaled", "float64", "full")
SCALED_32 = Arm("log", "scaled", "float32", "full")
PLAIN = Arm("log", "plain", "float64", "full")
PLAIN_32 = Arm("log", "plain", "float32", "full")
STOPPED = Arm("log", "scaled", "float64", "stop_gradient")
NAIVE = Arm("naive", "exact", "float64", "full")
ARMS = (EXACT, SCALED, SCALED_32, PLAIN, PLAIN_32, STOPPED, NAIVE)
CURES = {"exact": EXACT, "scaled": SCALED, "scaled32": SCALED_32}
_OFF = {"scaled": 1e-10, "scaled32": 1e-3}  # allowed of a meta-gradient, over the largest curvature
_QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Config:
    """Sizes of the experiment; the defaults of the paper are d = 20, steps = 80, eta0 = 0.1, 1000 meta-steps."""

    tasks: int
    meta_steps: int
    starts: tuple[float, ...] = (0.1, 0.01, 0.001)  # the first of them is where failures are shown
    d: int = 20
    steps: int = 80
    scale: float = 0.01
    close: float = 0.05  # within this share of the minimiser


presets = {
    "quick": Config(tasks=96, meta_steps=400, starts=(0.1, 0.001)),
    "default": Config(tasks=300, meta_steps=1000),
    "paper": Config(tasks=1000, meta_steps=1000),
}
expected_seconds = {"quick": 12.0, "default": 120.0, "paper": 400.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    cures = (f"{name}_{what}" for name in CURES for what in ("error", "lost", "share"))
    exact = ("exact_projected", "exact_at_bound", "defects", "scaled_off", "scaled32_off", "scaled_gap")
    broken = ("range", "range_float64", "bias", "bias_lost", "bias_low", "outer_step", "outer_step_lost")
    return (*cures, *exact, *broken)


def shards(config: Config) -> list[dict[str, Any]]:
    """One arm from one start each."""
    return [{"arm": index, "start": start} for index in range(len(ARMS)) for start in config.starts]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Meta-train all tasks with one arm from one start."""
    arm = ARMS[shard["arm"]]
    draw = mg.random_quadratics(config.tasks, config.d, seed=context.seed)  # before any rounding to float32
    spectrum = quadratic.Spectrum.of(draw.H, draw.w0)
    run = _by_theory if arm.method == "exact" else _by_engine
    path, projected, ended, off = run(config, arm, shard["start"], context.seed)
    best = quadratic.minimiser(spectrum, config.steps)
    last = path[-1]
    above = quadratic.log_objective(spectrum, np.where(np.isnan(last), 1.0, last), config.steps)
    above = config.steps * (above - quadratic.log_objective(spectrum, best, config.steps)) / np.log(10)
    return {
        "path": _quartiles(path[_kept(config)] / best),
        "eta": last,
        "lost": np.where(np.isnan(last), np.nan, above),
        "projected": projected.sum(axis=0).astype(float),
        "at_bound": projected[-1].astype(float),
        "ended": ended.astype(float),
        "off": off,
        "best": best,
    }


_Run = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # path, projected, ended and off


def _by_theory(config: Config, arm: Arm, start: float, seed: int) -> _Run:
    """Return step sizes (K + 1, tasks), which steps were projected (K, tasks); no run ends, no gradient is off."""
    draw = mg.random_quadratics(config.tasks, config.d, seed=seed)
    spectrum, least = quadratic.Spectrum.of(draw.H, draw.w0), np.finfo(np.float64).tiny
    path, projected = [np.full(config.tasks, start)], []
    for k in range(1, config.meta_steps + 1):
        slope = _slope(arm, spectrum, path[-1], config.steps)
        wanted = path[-1] - config.scale / np.sqrt(k) * slope
        projected.append(wanted < least)
        path.append(np.where(projected[-1], least, wanted))
    return np.array(path), np.array(projected), np.zeros(config.tasks), np.zeros(config.tasks)


def _slope(arm: Arm, spectrum: quadratic.Spectrum, eta: np.ndarray, steps: int) -> np.ndarray:
    """Return the exact gradient; inf where that of the naive objective is beyond the range of floats."""
    if arm.objective == "log":
        return np.asarray(quadratic.d_log_objective(spectrum, eta, steps))
    return np.asarray(quadratic.d_objective(spectrum, eta, steps).to_float(ieee=True))


def _by_engine(config: Config, arm: Arm, start: float, seed: int) -> _Run:
    """Return the same of a run of the trainer; which tasks met a gradient that is no number; how far gradients are off.

    The latter where it is the full one: from theory at the same step size, in units of the largest curvature.
    """
    dtype = np.dtype(arm.dtype)
    task = mg.random_quadratics(config.tasks, config.d, seed=seed, dtype=dtype)
    trainer = mg.MetaTrainer(
        task=task,
        optimizer=mg.GradientDescent(),
        objective=mg.LogFinal(),
        steps=config.steps,
        scale=config.scale,
        estimator=mg.Reverse(gradient=arm.gradient, per_task=True, scaling="none" if arm.method == "plain" else "auto"),
    )
    run = trainer.run(np.full(config.tasks, start, dtype=dtype), config.meta_steps)
    ended = ~np.isfinite(run.grad_sign * np.exp2(np.minimum(run.grad_log2, 1e3))).all(axis=0)
    path = run.phi.astype(np.float64)
    off = np.zeros(config.tasks)
    if arm in CURES.values():
        draw = mg.random_quadratics(config.tasks, config.d, seed=seed)  # a rounded H may be indefinite
        spectrum, largest = quadratic.Spectrum.of(draw.H, draw.w0), np.linalg.eigvalsh(draw.H).max(axis=-1)
        for k in _kept(config)[:-1]:
            found = run.grad_sign[k] * np.exp2(run.grad_log2[k])
            off = np.maximum(off, np.abs(found - quadratic.d_log_objective(spectrum, path[k], config.steps)) / largest)
    return path, run.projected, ended, off


def _quartiles(ratio: np.ndarray) -> np.ndarray:
    """Return the quartiles (k, 3) over the runs that go on; NaN where all have ended."""
    found = np.full((len(ratio), 3), np.nan)
    alive = ~np.isnan(ratio).all(axis=1)
    found[alive] = np.nanquantile(ratio[alive], _QUARTILES, axis=1).T
    return found


def _kept(config: Config) -> np.ndarray:
    """Return the meta-steps that are kept, about evenly spaced in log k; the first and the last are among them."""
    spaced = np.geomspace(1, config.meta_steps, 80).round().astype(int)
    return np.unique(np.concatenate([[0], spaced]))


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return what was learned by arm and start, the quartiles of eta/eta* over k, and the minimisers (tasks,)."""
    shape = (len(ARMS), len(config.starts))
    arrays = {name: np.stack([part[name] for part in parts]).reshape(*shape, *x.shape) for name, x in parts[0].items()}
    names = dict.fromkeys((name for name in arrays if name != "best"), (tuple(arm.name for arm in ARMS),))
    arrays |= {"best": arrays["best"][0, 0], "k": _kept(config), "starts": np.asarray(config.starts)}
    return Table(arrays, {"eta": "step size (1/curvature)", "lost": "orders of magnitude", "k": "meta-steps"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Without a failure training works, from every start; each failure breaks it alone."""
    arrays = table.arrays | {"signed": table.arrays["eta"] / table.arrays["best"] - 1}
    found = [check for name, arm in CURES.items() for check in _cured(config, arrays, name, arm)]
    return Verdict(claim, found + _exactness(arrays) + _broken(config, arrays))


def _cured(config: Config, arrays: dict[str, np.ndarray], name: str, arm: Arm) -> list[Check]:
    error, lost = np.abs(arrays["signed"][ARMS.index(arm)]), arrays["lost"][ARMS.index(arm)]
    over = "median over tasks, largest over starts"
    return [
        at_most(f"{name}_error", f"{name}: |eta/eta* - 1| at the end, {over}", *_median(error, 0.1)),
        at_most(f"{name}_lost", f"{name}: orders of magnitude lost in f(w_t), {over}", *_median(lost, 0.5)),
        reported(f"{name}_share", f"{name}: share of runs within {config.close:.0%} of eta*", _share(config, error)),
    ]


def _exactness(arrays: dict[str, np.ndarray]) -> list[Check]:
    exact, scaled = ARMS.index(EXACT), ARMS.index(SCALED)
    gone, ended = np.isnan(arrays["eta"]), arrays["ended"]
    right = (gone & (ended == 1)) | (np.isfinite(arrays["eta"]) & (ended == 0))
    gap = np.abs(arrays["eta"][scaled] - arrays["eta"][exact]) / arrays["best"]
    found = [
        reported(
            "exact_projected", "exact: share of runs projected at least once", _mean(arrays["projected"][exact] > 0)
        ),
        reported(
            "exact_at_bound", "exact: share of runs whose last step was projected", arrays["at_bound"][exact].mean()
        ),
        none_of("defects", "runs without a number at the end and no gradient that explains it, or conversely", right),
    ]
    for name, bound in _OFF.items():
        what = f"{name}: meta-gradients along the runs off theory, over the largest curvature, largest"
        found.append(at_most(f"{name}_off", what, arrays["off"][ARMS.index(CURES[name])], bound))
    what = "scaled against exact: distance of the ends over eta*, median over runs"
    return [*found, reported("scaled_gap", what, np.median(gap))]


def _broken(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    at = {arm: ARMS.index(arm) for arm in ARMS}
    ended, signed = arrays["ended"][:, 0], arrays["signed"][:, 0]
    more = arrays["lost"][:, 0] - arrays["lost"][at[EXACT], 0]
    low = arrays["signed"][at[STOPPED], -1]
    start, lowest = (f"from {config.starts[k]:g}" for k in (0, -1))
    median = "median over tasks"
    return [
        at_least(
            "range", f"log, plain float32 {start}: share of runs that end as NaN", *_ended(ended[at[PLAIN_32]], 0.9)
        ),
        at_most("range_float64", f"log, plain float64 {start}: the same", *_ended(ended[at[PLAIN]], 0.1)),
        at_least("bias", f"stop-gradient {start}: eta/eta* - 1, {median}", *_median(signed[at[STOPPED]], 0.02)),
        at_least(
            "bias_lost", f"stop-gradient {start}: orders lost beyond exact, {median}", *_median(more[at[STOPPED]], 1.0)
        ),
        reported("bias_low", f"stop-gradient {lowest}: eta/eta* - 1, {median}", np.median(low)),
        at_most(
            "outer_step",
            f"naive, exact {start}: share of runs within {config.close:.0%} of eta*",
            *_ended(_close(config, signed[at[NAIVE]]), 0.1),
        ),
        at_least(
            "outer_step_lost",
            f"naive, exact {start}: orders lost beyond exact, {median}",
            *_median(more[at[NAIVE]], 1.0),
        ),
    ]


def _median(x: np.ndarray, bound: float) -> tuple[Any, float, Any]:
    """Return medians over tasks, the last axis, the bound, and their 95 % intervals by order statistics."""
    n = x.shape[-1]
    low = int(stats.binom.ppf(0.025, n, 0.5))
    ordered = np.sort(x, axis=-1)  # NaN come last: one of them is to spoil the median
    ends = (np.where(np.isnan(x).any(axis=-1), np.nan, ordered[..., k]) for k in (max(low - 1, 0), min(n - low, n - 1)))
    return np.median(x, axis=-1), bound, tuple(ends)


def _ended(mask: np.ndarray, bound: float) -> tuple[float, float, tuple[float, float]]:
    """Return the share of tasks (0 or 1 each, or NaN), the bound, and the share's interval."""
    share = float(np.mean(mask))
    return share, bound, (np.nan, np.nan) if np.isnan(share) else share_interval(mask)


def _close(config: Config, signed: np.ndarray) -> np.ndarray:
    """Return 1 where a run ended near the minimiser, 0 where not, and NaN where its end is no number."""
    return np.where(np.isnan(signed), np.nan, np.abs(signed) <= config.close)


def _share(config: Config, error: np.ndarray) -> float:
    return float(_close(config, error).mean())


def _mean(mask: np.ndarray) -> float:
    return float(mask.mean())
