"""Explosion and vanishing of the meta-gradient of a learned optimizer: does the log objective cure them as well?

The coordinate-wise LSTM, untrained and briefly trained, reading gradients as they are ("raw") or their logarithm and
sign ("log-sign"), on regressions without a floor, least squares with one, and a small network on 8 x 8 digits. Every
run has an LSTM and a task of its own, so intervals are over independent runs; the fully trained LSTM that ships with
the project ("shipped", raw) is one on many tasks. Three statements are known beforehand.
An LSTM moves a coordinate by at most u = scale (||w_out||_1 + |b_out|) a step, so losses grow as a power of T at most
(f_up below), and |G'| = |F'|/(T f) >= |F'|/(T f_up): what explodes exponentially does so under the logarithm too.
dw_T/dphi grows like the distance of two nearby runs, at the largest Lyapunov exponent where that is above zero. And
while f falls to a floor, 1/(T f) does not: the log objective then vanishes like the plain one.
Gradient descent is the control: there the logarithm is known to cure both, but for a floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

import metagrad as mg
from analysis._learned_runs import KINDS, Case, bounds, engines, lyapunov, mean_log_sizes, sizes
from analysis.framework.contract import Check, Names, Table, Verdict
from metagrad import ad
from metagrad.data import load_digits8x8
from metagrad.optimizers import Adam, CoordinatewiseLSTM
from metagrad.tasks import MLP, image_classifiers, random_regressions
from metagrad.training import Recipe, Trainer
from metagrad.training.trained import load_trained
from metagrad.xp import rng

claim = (
    "The log fix carries over to learned optimizers in part: while a trained LSTM converges, the plain meta-gradient "
    "vanishes, with a floor that of the log too, and that of the log of the excess does not; but LSTMs that read "
    "log|g| and sgn g often make the optimizee chaotic, and then plain, log and log-excess gradients explode alike, at "
    "the rate at which nearby runs part (open in Wang et al. 2021)"
)
CASES = (  # the longest first
    ("digits", "log-sign"),
    *((task, rule) for task in ("regression", "floor") for rule in ("raw", "log-sign")),
)
BESIDE = tuple((task, rule) for rule in ("shipped", "descent") for task in ("regression", "floor"))
OBJECTIVES = ("plain", "log", "log excess")
LIMIT = 0.02  # orders of magnitude a step: a factor of 10 in 50 steps


@dataclass(frozen=True)
class Config:
    """Runs, units of the LSTM, horizons (slopes from `fit_from` on), episodes of training, and sizes of the tasks."""

    runs: tuple[int, int]  # untrained, and as many trained: on least squares, on digits
    hidden: int
    horizons: tuple[int, ...]
    episodes: tuple[int, int]  # least squares, digits
    units: int  # of the small network
    images: int
    fit_from: int = 40
    converging: tuple[int, int] = (10, 100)  # the shipped LSTM's slopes are over these: it was trained for 100 steps
    d: int = 10
    batch: int = 32
    training_horizon: int = 60
    window: int = 20
    reference_steps: int = 600


_LONG = (5, 10, 20, 40, 80, 120, 160, 240, 320)
presets = {
    "quick": Config((4, 2), 6, (10, 40, 100), (10, 6), 3, 100, training_horizon=40, reference_steps=200),
    "default": Config((12, 6), 10, _LONG, (80, 30), 5, 500),
    "paper": Config((32, 12), 20, (*_LONG, 640, 1000), (300, 100), 20, 1000),
}
expected_seconds = {"quick": 8.0, "default": 110.0, "paper": 3000.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    control = ("descent_plain", "descent_floor_plain", "descent_floor_log", "descent_cured")
    engine = ("scaled_lost", "engines_apart", "float64_lost", "float32_lost", "silent")
    mechanism = ("bound", "lyapunov", "log_over_plain", "log_excess_over_plain", "mean_log_over_plain")
    slopes = [f"{task}_shipped_{word(name)}" for task in ("regression", "floor") for name in OBJECTIVES]
    shipped = (*slopes, "floor_shipped_vanishes", "floor_shipped_log_apart", "floor_shipped_excess_over_plain")
    measured = []
    for task, rule in CASES:
        kinds = [*OBJECTIVES, "stop_gradient"] + ["any"] * (rule == "raw")
        measured += [word(f"{task}_{rule}_{kind}") for kind in kinds]
    return (*control, *engine, *mechanism, *shipped, *measured)


def word(name: str) -> str:
    """Return a name as part of a key."""
    return name.replace("-", "_").replace(" ", "_")


def shards(config: Config) -> list[dict[str, Any]]:
    """One task and rule each: what the LSTM reads, the shipped one, or gradient descent."""
    return [{"task": task, "rule": rule} for task, rule in (*CASES, *BESIDE)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return log10 of the gradient norms, and what explains them: untrained runs first, then trained ones."""
    name, seed = shard["task"], context.seed
    if shard["rule"] in ("descent", "shipped"):
        return {"descent": _control, "shipped": _shipped}[shard["rule"]](config, name, seed)
    runs = config.runs[name == "digits"]
    rule, fresh = _rule(config, shard["rule"]), partial(_task, config, name, runs)
    phi = _initial(rule, 2 * runs, seed)
    learned = _trained(config, rule, fresh, ad.tree_map(lambda leaf: leaf[runs:], phi), seed)
    phi = ad.tree_map(lambda start, end: np.concatenate([start[:runs], end]), phi, learned)
    draw = partial(_task, config, name, 2 * runs, int(rng(seed, "measured").integers(2**31)))
    case = _case(config, draw(), rule, phi)
    found = sizes(case) | {"mean_log": mean_log_sizes(case), "lyapunov": lyapunov(case), "bound": bounds(case)}
    return found | engines(case, draw(dtype=np.float32))


def _task(config: Config, name: str, count: int, seed: int, dtype: Any = np.float64) -> Any:
    """Return one problem a run; the curvatures of least squares are of order 1."""
    d = config.d
    if name == "regression":
        return random_regressions(count, d, family="gaussian", factor=1 / (2 * d), seed=seed, dtype=dtype)
    if name == "floor":
        return mg.random_least_squares(count, 4 * d, d, sigma=1.0, seed=seed, dtype=dtype)
    net = MLP((64, config.units, 10), init_std=0.1)
    sizes = {"train": config.images, "batch_size": config.batch, "dtype": dtype}
    return image_classifiers(load_digits8x8(), net, count, seed=seed % 2**32, **sizes)


def _rule(config: Config, name: str) -> CoordinatewiseLSTM:
    hidden = (config.hidden,)
    return CoordinatewiseLSTM.quadratic(hidden) if name == "raw" else CoordinatewiseLSTM.paper(hidden)


def _initial(rule: CoordinatewiseLSTM, runs: int, seed: int) -> Any:
    """Return the weights of as many LSTMs as there are runs, side by side."""
    drawn = [rule.init_meta(rng(seed, "phi", run)) for run in range(runs)]
    return ad.unflatten(drawn[0], [np.stack(same) for same in zip(*map(ad.leaves, drawn), strict=True)])


def _trained(config: Config, rule: CoordinatewiseLSTM, draw: Any, phi: Any, seed: int) -> Any:
    """Return the weights after training, each LSTM by itself: on a fresh task an episode, for the mean log loss."""
    episodes = config.episodes[draw.args[1] == "digits"]
    recipe = Recipe(episodes, config.training_horizon, config.window, evaluate_every=episodes)
    estimator = mg.Reverse(gradient="stop_gradient", per_task=True)
    settings = {"outer_phi": Adam.Phi(0.01), "estimator": estimator, "seed": seed}
    return Trainer(rule, draw, mg.MeanLog(), recipe, **settings).run(phi).last


def _case(config: Config, task: Any, rule: Any, phi: Any) -> Case:
    return Case(config.horizons, config.fit_from, config.reference_steps, task, rule, phi)


def _shipped(config: Config, name: str, seed: int) -> dict[str, np.ndarray]:
    """Return the sizes for the LSTM that ships with the project, on tasks of the curvature it was trained on, 2 d."""
    trained, runs = load_trained("lstm_quadratics"), config.runs[0]
    task, root = _task(config, name, runs, int(rng(seed, "shipped").integers(2**31))), np.sqrt(2 * config.d)
    phi = ad.tree_map(lambda leaf: np.stack([leaf.astype(np.float64)] * runs), trained.phi)
    return sizes(_case(config, mg.LeastSquares(root * task.X, root * task.y, w0=task.w0), trained.optimizer, phi))


def _control(config: Config, name: str, seed: int) -> dict[str, np.ndarray]:
    """Return the same of gradient descent: beyond 2/L on the regressions, which explodes, and at 1/L with a floor."""
    task = _task(config, name, config.runs[0], int(rng(seed, "measured").integers(2**31)))
    curvature = np.linalg.norm(task.X, ord=2, axis=(1, 2)) ** 2 / task.n
    phi = mg.GradientDescent.Phi((2.5 if name == "regression" else 1.0) / curvature)
    sizes, floor = [], mg.Scaled.of(task.train_floor())
    for steps in config.horizons:
        found = mg.Reverse(per_task=True)(task.centred(), mg.GradientDescent(), mg.Final(), phi, steps=steps)
        plain, T = found.grad.eta.log10abs(), np.log10(steps)
        sizes.append([plain, plain - T - (found.value + floor).log10abs(), plain - T - found.value.log10abs()])
    return {"log10": np.moveaxis(np.array(sizes), 0, 1)[None]}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by case, and the slopes of log10 |gradient| per step (kinds, objectives, runs)."""
    arrays: dict[str, np.ndarray] = {"horizons": np.asarray(config.horizons)}
    for shard, part in zip(shards(config), parts, strict=True):
        fitted = config.converging if shard["rule"] == "shipped" else None
        slopes = {"slopes": _slopes(config, part["log10"], fitted)}
        if "mean_log" in part:
            slopes["mean_log_slopes"] = _slopes(config, part["mean_log"])
        arrays |= {f"{shard['task']}_{shard['rule']}_{name}": array for name, array in (part | slopes).items()}
    per_step = {name: "orders of magnitude per step" for name in arrays if name.endswith(("slopes", "lyapunov"))}
    return Table(arrays, per_step, _names(arrays))


def _names(arrays: dict[str, np.ndarray]) -> dict[str, Names]:
    """Return the names of what the arrays of a case are about, by how they end."""
    engines = ("scaled, float64", "plain, float64", "plain, float32")
    found: dict[str, Names] = {}
    for name, array in arrays.items():
        if name.endswith("_log10") or (name.endswith("_slopes") and not name.endswith("_mean_log_slopes")):
            found[name] = (KINDS[: len(array)], OBJECTIVES)
        elif name.endswith("_lost"):
            found[name] = (engines,)
        elif name.endswith("_status"):
            found[name] = (engines[1:],)
    return found


def _slopes(config: Config, log10: np.ndarray, fitted: tuple[int, int] | None = None) -> np.ndarray:
    """Return the slope of the line through (T, log10) by least squares, over the horizons `fitted` or `fit_from` on."""
    horizons = np.asarray(config.horizons, dtype=float)
    first, last = fitted or (config.fit_from, config.horizons[-1])
    used = (horizons >= first) & (horizons <= last)
    x = np.where(used, horizons - horizons[used].mean(), 0.0)
    with np.errstate(invalid="ignore"):  # an excess of zero has no slope
        slopes: np.ndarray = np.einsum("...tr,t->...r", log10, x / (x @ x))
    return slopes


def verdict(config: Config, table: Table) -> Verdict:
    """What theory says beforehand, what the claim says, and what was open: "open" is measured, and cannot fail."""
    arrays = table.arrays
    checks = _control_checks(config, arrays) + _engine_checks(arrays) + _mechanism_checks(arrays)
    checks += _shipped_checks(config, arrays)
    for task, rule in CASES:
        checks += _open_checks(config, arrays, task, rule)
    return Verdict(claim, checks)


def _open(key: str, what: str, measured: float) -> Check:
    """Return a number that is measured, and cannot fail."""
    return Check(key, what, measured, "open", True)


def _control_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return what is known of gradient descent: beyond 2/L |F'| ~ T (3/2)^(2T), and |G'| is bounded; with a floor
    the log objective vanishes like the plain one, and the log of the excess does not."""
    up, down = (arrays[f"{task}_descent_slopes"][0].mean(axis=-1) for task in ("regression", "floor"))
    T = np.asarray(config.horizons, dtype=float)[:, None]
    exact = float(_slopes(config, np.log10(T) + 2 * T * np.log10(1.5))[0])
    flat, apart = float(max(abs(up[1]), abs(down[2]))), float(abs(down[1] - down[0]))
    return [
        Check(
            "descent_plain",
            "descent at 2.5/L: slope, plain",
            float(up[0]),
            f"{exact:.3f} within 1 %",
            abs(up[0] / exact - 1) < 0.01,
        ),
        Check(
            "descent_floor_plain",
            "descent with a floor: slope, plain",
            float(down[0]),
            f"<= -{LIMIT}",
            down[0] <= -LIMIT,
        ),
        Check(
            "descent_floor_log",
            "descent with a floor: slope, log apart from plain",
            apart,
            f"<= {LIMIT}",
            apart <= LIMIT,
        ),
        Check(
            "descent_cured", "descent where the log cures: largest slope", flat, f"<= {LIMIT / 4}", flat <= LIMIT / 4
        ),
    ]


def _engine_checks(arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return whether the engine keeps every gradient, and says so where plain numbers lose one."""
    lost, status, sizes = (_all(arrays, name) for name in ("lost", "status", "log10"))
    error = float(max(_all(arrays, name).max() for name in ("plain_error", "log_error")))
    kept, silent, count = int((~np.isfinite(sizes[:, 0])).sum()), int((lost[1:] & (status == 0)).sum()), lost.shape[1]
    return [
        Check(
            "scaled_lost",
            f"gradients that the engine with exponents loses, of {sizes[:, 0].size}",
            kept,
            "0",
            kept == 0,
        ),
        Check(
            "engines_apart",
            "log10 |gradient|: engines apart, and log from plain / (T f)",
            error,
            "<= 1e-7",
            error <= 1e-7,
        ),
        _open("float64_lost", f"plain float64: runs whose gradient is lost, of {count}", int(lost[1].sum())),
        _open("float32_lost", f"plain float32: runs whose gradient is lost, of {count}", int(lost[2].sum())),
        Check("silent", "plain engines: gradients lost with status OK", silent, "0", silent == 0),
    ]


def _mechanism_checks(arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the two statements known beforehand, and what follows for the exploding runs."""
    over = int((_all(arrays, "loss") > _all(arrays, "bound")).sum())
    plain, log, excess = _all(arrays, "slopes")[0]
    apart = float(np.abs(plain - np.maximum(_all(arrays, "lyapunov"), 0)).mean())
    exploding = plain > 2 * LIMIT
    found = [
        Check("bound", "losses above f_up", over, "0", over == 0),
        Check(
            "lyapunov",
            "slope, plain, apart from max(0, Lyapunov number): mean",
            apart,
            f"<= {LIMIT / 2}",
            apart <= LIMIT / 2,
        ),
    ]
    for name, slopes in (("log", log), ("log excess", excess), ("mean log", _all(arrays, "mean_log_slopes"))):
        least = float(np.nanmin((slopes / plain)[exploding], initial=np.inf))
        what = f"least slope of {name} over plain, {int(exploding.sum())} runs with plain > {2 * LIMIT}"
        found.append(Check(f"{word(name)}_over_plain", what, least, ">= 0.5", least >= 0.5))
    return found


def _shipped_checks(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    """Return the slopes of the shipped LSTM while it converges, and what theory says of them with a floor."""
    found = []
    for task in ("regression", "floor"):
        for name, of in zip(OBJECTIVES, arrays[f"{task}_shipped_slopes"][0], strict=True):
            mean, half = interval(of)
            found.append(
                _open(
                    f"{task}_shipped_{word(name)}",
                    f"{task}, shipped: slope, {name} (+- {half:.2g}, {of.size} tasks)",
                    mean,
                )
            )
    plain, log, excess = arrays["floor_shipped_slopes"][0].mean(axis=-1)
    log_T = np.log10(np.asarray(config.horizons, dtype=float))[:, None]
    apart, limit = float(abs(log - plain + _slopes(config, log_T, config.converging)[0])), LIMIT / 2
    upper = plain + interval(arrays["floor_shipped_slopes"][0, 0])[1]
    return [
        *found,
        Check(
            "floor_shipped_vanishes",
            "floor, shipped: upper end of the interval of the slope, plain",
            float(upper),
            "< 0",
            upper < 0,
        ),
        Check(
            "floor_shipped_log_apart",
            "floor, shipped: slope of log apart from that of plain / T",
            apart,
            f"<= {limit}",
            apart <= limit,
        ),
        Check(
            "floor_shipped_excess_over_plain",
            "floor, shipped: slope of log excess over plain",
            float(excess / plain),
            "<= 0.1",
            excess >= 0.1 * plain,
        ),
    ]


def _all(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    return np.concatenate([arrays[f"{task}_{rule}_{name}"] for task, rule in CASES], axis=-1)


def _open_checks(config: Config, arrays: dict[str, np.ndarray], task: str, rule: str) -> list[Check]:
    """Return the slopes of the trained runs, with intervals, and how many explode and vanish."""
    runs, slopes = config.runs[task == "digits"], arrays[f"{task}_{rule}_slopes"]
    case, key, found = f"{task}, {rule}", word(f"{task}_{rule}"), []
    for name, of in zip(OBJECTIVES, slopes[0, :, runs:], strict=True):
        mean, half = interval(of)
        counts = f"{int((of > LIMIT).sum())} of {runs} explode, {int((of < -LIMIT).sum())} vanish"
        found.append(_open(f"{key}_{word(name)}", f"{case}, trained: slope, {name} (+- {half:.2g}; {counts})", mean))
    stopped = int((np.abs(slopes[1, 0]) > LIMIT).sum())
    found.append(
        _open(f"{key}_stop_gradient", f"{case}: runs of {2 * runs} with |slope| > {LIMIT}, stop-gradients", stopped)
    )
    if rule == "raw":
        beyond = int((np.abs(slopes[0]) > LIMIT).any(axis=0).sum())
        found.append(_open(f"{key}_any", f"{case}: runs of {2 * runs} with |slope| > {LIMIT}, any objective", beyond))
    return found


def interval(x: np.ndarray) -> tuple[float, float]:
    """Return the mean of the finite numbers and half the length of its 95 % interval by Student's t."""
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return float("nan"), float("nan")
    return float(x.mean()), float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
