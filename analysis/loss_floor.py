"""The floor of a loss: where the log objective vanishes as fast as the plain one, and two remedies.

Gradient descent on noisy least squares with n = 2d, from w_0 = 0. The train loss cannot fall below T_inf > 0, nor can
the validation loss below its own floor. Then |(1/t)(log T)'| <= S mu^(2t-1)/T_inf, S = sum_j s_j g_j^2, mu = max |a_j|.
Remedies: the log of the excess T - T_inf where the floor is known, and meta-steps by sign, from gradients whose digits
and exponents survive, where it is not (validation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

import metagrad as mg
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import least_squares
from metagrad.theory.least_squares import marchenko_pastur, proportional_limit
from metagrad.theory.quadratic import last_iterate

claim = (
    "Where a loss has a floor (noise and n > d, or validation data) the log objective vanishes again, |G'| <= "
    "S mu^(2t-1)/T_inf; the log of the excess does not vanish, and sign steps of scaled gradients still learn"
)
_LN10 = np.log(10.0)
KINDS = ("train", "excess", "validation")
ARMS = (("train", "gradient"), ("excess", "gradient"), ("validation", "gradient"), ("validation", "sign"))
_GAMMA = 0.5


@dataclass(frozen=True)
class Config:
    """Tasks of d weights and n = 2d samples, horizons at step size `eta`, step sizes at `steps`, and meta-training."""

    d: int
    tasks: int
    horizons: tuple[int, ...]
    points: int
    trained: int  # how many of the tasks are tuned together
    trained_steps: int
    meta_steps: int
    rates: tuple[float, float] = (0.05, 0.035)  # of gradient and of sign steps
    eta: float = 0.6
    steps: int = 400
    sigma: float = 1.0
    start: float = 0.5


_LONG = (25, 50, 100, 200, 400, 800)
presets = {
    "quick": Config(40, 4, _LONG, 7, trained=2, trained_steps=200, meta_steps=64),
    "default": Config(100, 10, _LONG, 9, trained=3, trained_steps=400, meta_steps=200),
    "paper": Config(400, 10, _LONG, 9, trained=3, trained_steps=400, meta_steps=400),
}
expected_seconds = {"quick": 6.0, "default": 55.0, "paper": 1500.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    limits = [f"limit_{kind}" for kind in KINDS]
    steps = ("excess_least", "gradient_steps", "excess_steps", "sign_steps")
    return ("bound", "engine", "plain_float64", *limits, *steps)


def shards(config: Config) -> list[dict[str, Any]]:
    """One horizon, one step size, or one way to tune each."""
    horizons = [{"kind": "horizon", "eta": config.eta, "steps": t} for t in config.horizons]
    sizes = [{"kind": "size", "eta": float(eta), "steps": config.steps} for eta in _etas(config)]
    return horizons + sizes + [{"kind": "line"}] + [{"kind": "arm", "arm": index} for index in range(len(ARMS))]


def _etas(config: Config) -> np.ndarray:
    return np.linspace(0.06, 0.63, config.points)


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the slopes of the three log objectives at one step size and horizon, or a meta-training run."""
    task = mg.random_least_squares(
        config.tasks, 4 * config.d, config.d, sigma=config.sigma, seed=context.seed, split=0.5
    )
    if shard["kind"] == "arm":
        return _tuned(config, task, *ARMS[shard["arm"]])
    if shard["kind"] == "line":
        return _lines(config, task)
    eta, steps = shard["eta"], shard["steps"]
    exact, bound = _theory(task, eta, steps)
    found = _engine(task, eta, steps)
    return {
        "exact": exact / _LN10,
        "engine": np.stack([found[kind].log10abs() for kind in KINDS]),
        "plain": np.stack([found[f"plain {kind}"].log10abs() for kind in KINDS]),
        "bound": bound / _LN10,
        "limit": np.array([_limit(kind, eta, steps, config.sigma) for kind in KINDS]) / _LN10,
        "limit_bound": np.array(_limit_bound(eta, steps, config.sigma) / _LN10),
    }


def _lines(config: Config, task: mg.LeastSquares) -> dict[str, np.ndarray]:
    """Return theory's means over tasks of log10 |G'|, and of the bound, over horizons and over step sizes."""
    horizons = np.unique(np.geomspace(config.horizons[0], config.horizons[-1], 60).round().astype(int))
    etas = np.linspace(0.04, 0.65, 120)
    by_horizon, by_size = _theory(task, config.eta, horizons), _theory(task, etas, config.steps)
    lines = {"horizons": horizons, "etas": etas}
    for prefix, (slopes, bounds) in (("t_", by_horizon), ("e_", by_size)):
        lines |= {f"{prefix}slopes": slopes.mean(axis=1) / _LN10, f"{prefix}bound": bounds.mean(axis=0) / _LN10}
    return lines


def _theory(task: mg.LeastSquares, eta: Any, steps: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return log |G'| of the objectives given each sample (3, tasks, ...), and the log of the bound on the first."""
    slopes, bounds = [], []
    for X, y, X_val, y_val in zip(task.X, task.y, *task.validation, strict=True):
        sample = least_squares.Regression.of(X, y)
        slope = least_squares.d_train_loss(sample, eta, steps)
        of_validation = least_squares.d_validation_loss(sample, X_val, y_val, eta, steps)
        ratios = (
            slope / least_squares.train_loss(sample, eta, steps),
            slope / least_squares.excess_train_loss(sample, eta, steps),
            of_validation / least_squares.validation_loss(sample, X_val, y_val, eta, steps),
        )
        slopes.append([ratio.log - np.log(steps) for ratio in ratios])
        mu = np.abs(1 - np.asarray(eta)[..., None] * sample.eigenvalues).max(axis=-1)
        S = np.sum(sample.eigenvalues * sample.coefficients**2)
        bounds.append(np.log(S / sample.train_floor) + (2 * np.asarray(steps) - 1) * np.log(mu))
    return np.swapaxes(np.array(slopes), 0, 1), np.array(bounds)


def _engine(task: mg.LeastSquares, eta: float, steps: int) -> dict[str, mg.Scaled]:
    """Return G' by backpropagation (tasks,): with exponents on the centred task, and plainly on the task itself."""
    centred, floor = task.centred(), mg.Scaled.of(task.train_floor())

    def solve(problem: mg.LeastSquares, objective: Any, scaling: str = "auto") -> mg.Estimate:
        phi = mg.GradientDescent.Phi(np.full(task.y.shape[0], eta))
        estimator = mg.Reverse(per_task=True, scaling=scaling)
        return estimator(problem, mg.GradientDescent(), objective, phi, steps=steps)

    above = solve(centred, mg.Final("excess"))
    per_step = mg.Scaled.of(np.asarray(1.0 / steps))
    return {
        "train": above.grad.eta / (above.value + floor) * per_step,
        "excess": solve(centred, mg.LogExcess()).grad.eta,
        "validation": solve(centred, mg.LogFinal("validation")).grad.eta,
        "plain train": solve(task, mg.LogFinal("train"), "none").grad.eta,
        "plain excess": solve(task, mg.LogExcess(), "none").grad.eta,
        "plain validation": solve(task, mg.LogFinal("validation"), "none").grad.eta,
    }


def _limit(kind: str, eta: float, steps: int, sigma: float) -> float:
    """Return log |G'| for d -> infinity at d/n = 1/2."""
    at = {"gamma": _GAMMA, "sigma": sigma}
    if kind == "validation":
        slope = proportional_limit.d_validation_loss(eta, steps, **at)
        value = proportional_limit.validation_loss(eta, steps, **at)
    else:
        slope = proportional_limit.d_train_loss(eta, steps, **at)
        value = proportional_limit.train_loss(eta, steps, **at)
    if kind == "excess":
        value = last_iterate.objective(proportional_limit.train_spectrum(steps, **at), eta, steps)
    return float(slope.log - value.log - np.log(steps))


def _limit_bound(eta: float, steps: int, sigma: float) -> float:
    """Return the log of the bound: S = the mean of s^2 + sigma^2 gamma s, T_inf = sigma^2 (1 - gamma)/2."""
    mu = max(abs(1 - eta * s) for s in marchenko_pastur.edges(_GAMMA))
    S, floor = 1 + _GAMMA + sigma**2 * _GAMMA, sigma**2 * (1 - _GAMMA) / 2
    return float(np.log(S / floor) + (2 * steps - 1) * np.log(mu))


def _tuned(config: Config, task: mg.LeastSquares, kind: str, step: str) -> dict[str, np.ndarray]:
    """Tune one step size for the first tasks together; return its path and the best step size by theory."""
    few = slice(config.trained)
    task = mg.LeastSquares(task.X[few], task.y[few], validation=tuple(part[few] for part in task.validation))
    objective = mg.LogExcess() if kind == "excess" else mg.LogFinal(kind)
    problem = task if kind == "train" or step == "gradient" else task.centred()
    settings = {"steps": config.trained_steps, "scale": config.rates[step == "sign"], "step": step}
    run = mg.MetaTrainer(problem, mg.GradientDescent(), objective, **settings).run(config.start, config.meta_steps)
    return {"eta": run.phi[:, 0], "best": np.asarray(_best(task, kind, config.trained_steps))}


def _best(task: mg.LeastSquares, kind: str, steps: int) -> float:
    """Return the step size with the least mean log loss (train: log excess, which has the same one a task)."""
    samples = [least_squares.Regression.of(X, y) for X, y in zip(task.X, task.y, strict=True)]

    def mean_log(eta: Any) -> Any:
        if kind != "validation":
            return np.mean([least_squares.excess_train_loss(s, eta, steps).log for s in samples], axis=0)
        data = zip(samples, *task.validation, strict=True)
        return np.mean([least_squares.validation_loss(s, X, y, eta, steps).log for s, X, y in data], axis=0)

    scan = np.geomspace(1e-3, 2 / max(s.eigenvalues.max() for s in samples), 2000)
    near = int(np.clip(np.argmin(mean_log(scan)), 1, len(scan) - 2))
    found = minimize_scalar(
        mean_log, bounds=(scan[near - 1], scan[near + 1]), method="bounded", options={"xatol": 1e-10}
    )
    return float(found.x)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the slopes by horizon (t_) and by step size (e_), and the paths of the step size."""
    count, sizes = len(config.horizons), config.points
    arrays: dict[str, np.ndarray] = {"horizons": np.asarray(config.horizons), "etas": _etas(config)}
    for prefix, group in (("t_", parts[:count]), ("e_", parts[count : count + sizes])):
        arrays |= {prefix + name: np.stack([part[name] for part in group]) for name in group[0]}
    lines, *paths = parts[count + sizes :]
    arrays |= {f"line_{name}": array for name, array in lines.items()}
    arrays |= {"path": np.stack([part["eta"] for part in paths]), "best": np.stack([part["best"] for part in paths])}
    arms = tuple(f"{kind}, {step}" for kind, step in ARMS)
    names: dict[str, Any] = {"line_t_slopes": (KINDS,), "line_e_slopes": (KINDS,), "path": (arms,), "best": (arms,)}
    names |= {f"{p}{name}": (None, KINDS) for p in ("t_", "e_") for name in ("exact", "engine", "plain", "limit")}
    units = {"etas": "1/curvature", "t_engine": "orders of magnitude", "path": "1/curvature"}
    return Table(arrays, units, names)


def verdict(config: Config, table: Table) -> Verdict:
    """The bound, the expected sizes in the limit, digits kept and lost, and what each way of tuning reaches."""
    arrays = table.arrays
    over = sum(int((arrays[f"{p}engine"][:, 0] > arrays[f"{p}bound"] + 1e-9).sum()) for p in ("t_", "e_"))
    cases = arrays["t_bound"].size + arrays["e_bound"].size
    error = max(float(np.abs(arrays[f"{p}engine"] - arrays[f"{p}exact"]).max()) for p in ("t_", "e_")) * _LN10
    lost = float(np.median(np.abs(arrays["t_plain"] - arrays["t_exact"])[-1, [0, 2]], axis=-1).min())
    checks = [
        Check("bound", f"bound on log train exceeded, of {cases} cases", over, "0", over == 0),
        Check(
            "engine", "engine with exponents against theory: largest relative error", error, "<= 1e-7", error <= 1e-7
        ),
        Check(
            "plain_float64", "plain float64, longest horizon: orders of magnitude off (median)", lost, ">= 1", lost >= 1
        ),
    ]
    return Verdict(claim, checks + _limit_checks(config, arrays) + _training_checks(config, arrays))


def _limit_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the sizes expected of the limit at t = 400, derived beforehand with other code."""
    at = list(arrays["horizons"]).index(400)
    train, excess, validation = (10 ** arrays["t_limit"][at]).tolist()
    smallest, edge = float(10 ** arrays["t_engine"][:, 1].min()), float(marchenko_pastur.edges(_GAMMA)[0])
    least = edge / (1 - config.eta * edge)  # half of 2 s_-/(1 - eta s_-), to which |G'| tends
    return [
        Check(
            "limit_train",
            "log train, limit, t = 400: |G'|",
            train,
            "4.5e-23 within 2 %",
            abs(train / 4.5e-23 - 1) <= 0.02,
        ),
        Check(
            "limit_excess",
            "log excess, limit, t = 400: |G'|",
            excess,
            "0.187 within 1 %",
            abs(excess / 0.187 - 1) <= 0.01,
        ),
        Check(
            "limit_validation",
            "log validation, limit, t = 400: |G'|",
            validation,
            "4.5e-13 within 2 %",
            abs(validation / 4.5e-13 - 1) <= 0.02,
        ),
        Check(
            "excess_least",
            "|G'| of log excess: least over horizons and tasks",
            smallest,
            f">= {least:.2g}, half of the limit",
            smallest >= least,
        ),
    ]


def _training_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    moved = np.abs(arrays["path"][:, -1] - config.start)
    error = np.abs(arrays["path"][:, -1] / arrays["best"] - 1)
    away = np.abs(arrays["best"] - config.start)
    last = 2 * config.rates[1] / np.sqrt(config.meta_steps)
    off = float(np.abs(arrays["path"][3, -1] - arrays["best"][3]))
    stuck = float(max(moved[0] / away[0], moved[2] / away[2]))
    return [
        Check(
            "gradient_steps",
            "share of the way that gradient steps go on log train and log validation",
            stuck,
            "<= 0.05",
            stuck <= 0.05,
        ),
        Check(
            "excess_steps",
            "log excess, gradient steps: relative error of the step size",
            float(error[1]),
            "<= 0.1",
            error[1] <= 0.1,
        ),
        Check(
            "sign_steps",
            "sign steps on log validation: distance to the best step size",
            off,
            f"<= {last:.2g} (two steps)",
            off <= last,
        ),
    ]
