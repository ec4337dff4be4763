"""Heavy ball's step size and momentum by meta-gradient: the landscape, its slopes, and the pair that is learned.

Quadratics with the condition number 100: the smallest eigenvalue is alpha = 0.01 and the largest L = 1, the others are
drawn, uniform in their logarithm. w_0 is 1 along these two, and standard normal along the others. The first task is the
one of the landscape and of the slopes.

Bounds of checks on samples were set after a look at ten seeds, with a margin of a factor of two where it is a size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import metagrad as mg
from analysis.framework import checks
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import Spectrum, momentum, quadratic
from metagrad.theory.momentum import bounds, optimal
from metagrad.theory.momentum.roots import stability_limit
from metagrad.xp import rng

claim = (
    "With momentum the slope of the log objective (1/t) log f(w_t) in step size and momentum grows like t where two "
    "roots of a mode meet, Polyak's pair, the best one as t grows, among them, and has no bound where all roots are "
    "complex, where most of the slopes do not grow; descent on it from plain gradient descent learns a pair that is "
    "better at the horizon than Polyak's, and the same descent from Polyak's pair is thrown out"
)
ALPHA, L, D = 0.01, 1.0, 20
STARTS = ("plain", "polyak")
PAIRS = ("best step size alone", "Polyak's pair", "learned from plain", "learned from Polyak's")
_QUANTILES = (0.5, 0.99)


@dataclass(frozen=True)
class Config:
    """Tasks, horizon and outer steps of the training; horizons, grid and points of the landscape and its slopes."""

    tasks: int
    horizons: tuple[int, ...]
    meta_steps: int = 300
    steps: int = 30
    scales: tuple[float, float] = (3.0, 0.3)  # of the outer steps in eta and mu, over sqrt(k)
    grid: int = 100
    points: int = 60
    sampled: int = 5000
    cases: int = 400
    scan: int = 40  # the grid from which the best pairs are looked for, and how many of its minima are followed
    starts: int = 16
    by_engine: int = 1000  # the longest horizon that the engine unrolls


presets = {
    "quick": Config(tasks=32, horizons=(10, 100, 1000, 10_000), sampled=5000),
    "default": Config(
        tasks=100, horizons=(10, 100, 1000, 10_000, 100_000), grid=200, by_engine=10_000, cases=1000, starts=24
    ),
    "paper": Config(
        tasks=300,
        horizons=(10, 100, 1000, 10_000, 1_000_000),
        grid=300,
        by_engine=10_000,
        sampled=20_000,
        cases=5000,
        scan=64,
        starts=32,
    ),
}
expected_seconds = {"quick": 14.0, "default": 60.0, "paper": 300.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    slopes = ("growth", "growth_limit", "plain_flat", "bounds", "complex_flat", "pole")
    return ("engine", *slopes, "best_gap", "learned_share", "learned_lost", "learned_gain", "thrown")


def shards(config: Config) -> list[dict[str, Any]]:
    """The landscape, the slopes at one horizon each, and the training from each start."""
    slopes = [{"part": "slopes", "steps": t} for t in config.horizons]
    return [{"part": "landscape"}, *slopes, *({"part": "training", "start": start} for start in STARTS)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the arrays of one part."""
    if shard["part"] == "landscape":
        return _landscape(config, context.seed)
    if shard["part"] == "slopes":
        return _slopes(config, shard["steps"], context.seed)
    return _trained(config, shard["start"], context.seed)


def _tasks(config: Config, seed: int) -> tuple[np.ndarray, np.ndarray, Spectrum]:
    """Return eigenvalues and starts (tasks, D), and both as a spectrum."""
    draw = rng(seed, "momentum_landscape")
    lam = np.exp(draw.uniform(np.log(ALPHA), np.log(L), (config.tasks, D)))
    lam[:, 0], lam[:, -1] = ALPHA, L
    w0 = draw.standard_normal((config.tasks, D))
    w0[:, [0, -1]] = 1.0
    return lam, w0, Spectrum(lam, w0**2)


def _first(config: Config, seed: int) -> Spectrum:
    lam, w0, _ = _tasks(config, seed)
    return Spectrum(lam[0], w0[0] ** 2)


def _polyak() -> tuple[float, float]:
    eta, mu, _ = optimal.polyak(ALPHA, L)
    return float(eta), float(mu)


def _grid(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return momenta and step sizes of the landscape."""
    return np.linspace(0.0, 0.99, config.grid), np.linspace(0.02, 4.2, config.grid)


def _landscape(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Return G by theory on the grid, and how far the engine is off at points of it, value and slopes."""
    mu, eta = _grid(config)
    spectrum = _first(config, seed)
    draw = rng(seed, "momentum_landscape points")
    at_mu = draw.uniform(0.0, 0.98, config.points)
    at_eta = draw.uniform(0.02, 1.0, config.points) * stability_limit("heavy_ball", at_mu) / L
    exact = _theory(spectrum, at_eta, at_mu, config.steps)
    found = _engine(config, seed, at_eta, at_mu, config.steps)
    return {
        "G": momentum.log_objective("heavy_ball", spectrum, eta[:, None], mu, config.steps),
        "engine_error": np.abs(found - exact) / (1 + np.abs(exact)),
    }


def _theory(spectrum: Spectrum, eta: np.ndarray, mu: np.ndarray, steps: int) -> np.ndarray:
    """Return G, G_eta and G_mu, (3, points)."""
    at = "heavy_ball", spectrum, eta, mu, steps
    return np.stack([momentum.log_objective(*at), *momentum.d_log_objective(*at)])


def _engine(config: Config, seed: int, eta: np.ndarray, mu: np.ndarray, steps: int) -> np.ndarray:
    """Return the same by backpropagation through the steps."""
    lam, w0, _ = _tasks(config, seed)
    task = mg.DiagonalQuadratic(np.tile(lam[0], (len(eta), 1)), np.tile(w0[0], (len(eta), 1)))
    phi = mg.Momentum.Phi(eta[:, None], mu[:, None])
    found = mg.Reverse(per_task=True)(task, mg.Momentum(), mg.LogFinal(), phi, steps=steps)
    if not found.ok:
        raise ArithmeticError(found.report())
    return np.stack([x.to_float().ravel() for x in (found.value, found.grad.eta, found.grad.mu)])


def _slopes(config: Config, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Return slopes at Polyak's pair, where all roots are complex, and of gradient descent, at one horizon."""
    spectrum, (eta, mu) = _first(config, seed), _polyak()
    pair = np.array([eta]), np.array([mu])
    exact = _theory(spectrum, *pair, steps)
    found = _engine(config, seed, *pair, steps) if steps <= config.by_engine else np.full((3, 1), np.nan)
    plain = quadratic.d_log_objective(spectrum, np.linspace(0.01, 2.5, 2000), steps)
    sampled = np.abs(_theory(spectrum, *_complex_pairs(config, seed, mu), steps)[2])
    return {
        "at_polyak": exact[1:, 0],
        "at_polyak_engine": found[1:, 0],
        "plain": np.max(np.abs(plain)),
        "complex": np.sort(sampled)[_ranks(config.sampled)],
        "violations": _violations(config, steps, seed),
        "limit": np.array(bounds.optimum_growth(spectrum)),
    }


def _complex_pairs(config: Config, seed: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Return step sizes and momenta at which all roots are complex: mu above Polyak's, eta between two double roots."""
    draw = rng(seed, "momentum_landscape complex")
    mu = draw.uniform(least, 0.98, config.sampled)
    root = np.sqrt(mu)
    low, high = (1 - root) ** 2 / ALPHA, (1 + root) ** 2 / L
    return low + (high - low) * draw.uniform(0.0, 1.0, config.sampled), mu


def _ranks(count: int) -> np.ndarray:
    """Return the ranks of quantiles, (quantiles, 3): the quantile, and the ends of its 95 % interval."""
    ranks = [[count * q, *stats.binom.ppf([0.025, 0.975], count, q)] for q in _QUANTILES]
    return np.clip(np.round(ranks).astype(int), 0, count - 1)


def _violations(config: Config, steps: int, seed: int) -> np.ndarray:
    """Return how many slopes of random quadratics exceed the bound of a mode and of a quadratic, and of how many."""
    draw, at_most = rng(seed, "momentum_landscape bounds", steps), 1 + 1e-9
    counted = np.zeros(2, int)
    mu = draw.uniform(0.01, 0.99, config.cases)
    # half of them next to a double root, the others anywhere
    away = np.where(
        draw.random(config.cases) < 0.5, 10 ** draw.uniform(-12, 0, config.cases), draw.random(config.cases)
    )
    h = np.where(
        draw.random(config.cases) < 0.5, (1 - np.sqrt(mu)) ** 2 * (1 - away), (1 + np.sqrt(mu)) ** 2 / (1 - away)
    )
    one = Spectrum(np.ones((config.cases, 1)), np.ones((config.cases, 1)))
    lam = np.exp(draw.uniform(np.log(ALPHA), np.log(L), (config.cases, 6)))
    many = Spectrum(lam, draw.standard_normal((config.cases, 6)) ** 2)
    eta = np.exp(draw.uniform(-3, 2, config.cases))
    pairs = [
        (momentum.d_log_objective("heavy_ball", one, h, mu, steps), bounds.mode_bound("heavy_ball", h, mu, steps)),
        (momentum.d_log_objective("heavy_ball", many, eta, mu, steps), bounds.gradient_bound(many, eta, mu, steps)),
    ]
    for slope, bound in pairs:
        applies = np.isfinite(bound.eta)
        for part, limit in zip(slope, bound, strict=True):
            right = np.abs(part[applies]) <= limit[applies] * at_most
            counted += np.array([np.sum(~right), right.size])
    return counted


def _trained(config: Config, start: str, seed: int) -> dict[str, np.ndarray]:
    """Return the orders of magnitude of f(w_t) above that of the best pair, where training ends and where not trained.

    `path`: (eta, mu) of the first task along the training.
    """
    lam, w0, spectrum = _tasks(config, seed)
    eta, mu = _polyak()
    first = (1.0 / L, 0.0) if start == "plain" else (eta, mu)
    trainer = mg.MetaTrainer(
        task=mg.DiagonalQuadratic(lam, w0),
        optimizer=mg.Momentum(),
        objective=mg.LogFinal(),
        steps=config.steps,
        scale=mg.Momentum.Phi(*config.scales),
        estimator=mg.Reverse(per_task=True),
    )
    phi = mg.Momentum.Phi(*(np.full((config.tasks, 1), x) for x in first))
    path = trainer.run(phi, config.meta_steps).phi.reshape(config.meta_steps + 1, 2, config.tasks)

    def reached(eta: Any, mu: Any) -> np.ndarray:
        return momentum.log_objective("heavy_ball", spectrum, eta, mu, config.steps) * config.steps / np.log(10.0)

    found = {"reached": reached(path[-1, 0], path[-1, 1]), "path": path[:, :, 0]}
    if start != "plain":
        return found
    best = optimal.best("heavy_ball", spectrum, config.steps, grid=config.scan, starts=config.starts)
    found |= {"best_pair": np.stack([best.eta, best.beta]), "best": best.G * config.steps / np.log(10.0)}
    alone = reached(quadratic.minimiser(spectrum, config.steps), 0.0)
    return found | {"alone": alone, "asymptotic": reached(eta, mu)}


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return the landscape, the slopes by horizon, and the orders of magnitude lost by each pair, (pairs, tasks)."""
    landscape, slopes, (plain, polyak) = parts[0], parts[1:-2], parts[-2:]
    arrays = dict(landscape) | {name: np.stack([part[name] for part in slopes]) for name in slopes[0]}
    arrays["limit"] = arrays["limit"][0]
    pairs = plain["alone"], plain["asymptotic"], plain["reached"], polyak["reached"]
    arrays["lost"] = np.stack([x - plain["best"] for x in pairs])
    arrays["paths"] = np.stack([plain["path"], polyak["path"]])
    arrays["best_pair"] = plain["best_pair"]
    mu, eta = _grid(config)
    arrays |= {"horizons": np.asarray(config.horizons), "grid_mu": mu, "grid_eta": eta, "polyak": np.array(_polyak())}
    arrays["pole"] = np.array([_at_pole(ratio) for ratio in (1.5, 4.0, 6.5)])
    names = {"lost": (PAIRS,), "paths": (STARTS,), "complex": (None, ("median", "quantile"))}
    return Table(arrays, {"lost": "orders of magnitude", "grid_eta": "1/L", "G": "nats a step"}, names)


def _at_pole(ratio: float) -> float:
    """Return log10 of f(w_2)/f(w_0) by the engine, at the pair that solves two eigenvalues of this ratio."""
    eta, mu = bounds.pole(1.0, ratio)
    task = mg.DiagonalQuadratic(np.array([[1.0, ratio]]), np.ones((1, 2)))
    losses = mg.rollout(task, mg.Momentum(), mg.Momentum.Phi(eta, mu), steps=2)[:, 0]
    return float(np.log10(max(losses[-1] / losses[0], np.finfo(float).tiny)))


def verdict(config: Config, table: Table) -> Verdict:
    """The engine is on theory, the slopes grow where theory says so and only there, and training finds good pairs."""
    return Verdict(claim, [*_steepness(config, table.arrays), *_training(config, table)])


def _steepness(config: Config, arrays: dict[str, np.ndarray]) -> list[Check]:
    t, slope, found = arrays["horizons"], np.abs(arrays["at_polyak"][:, 1]), arrays["at_polyak_engine"][:, 1]
    unrolled = t <= config.by_engine
    off = np.abs(found - arrays["at_polyak"][:, 1])[unrolled] / slope[unrolled]
    decades = np.diff(np.log10(slope))[1:] / np.diff(np.log10(t))[1:]
    wide = arrays["complex"][:, 1]  # the quantile 99 %, and its interval
    ratio = wide[-1, 0] / wide[1, 0]
    ends = wide[-1, 1] / wide[1, 2], wide[-1, 2] / wide[1, 1]
    wrong, cases = arrays["violations"].sum(axis=0)
    return [
        checks.at_most(
            "engine",
            "engine against theory, largest |difference|/(1 + |theory|): G and slopes on the landscape, slope in mu at "
            "Polyak's pair",
            np.concatenate([arrays["engine_error"].ravel(), off]),
            1e-7,
        ),
        checks.between(
            "growth", "power of t by which |G_mu| grows at Polyak's pair, from t = 100 on", decades, 0.97, 1.03
        ),
        checks.between(
            "growth_limit",
            f"|G_mu|/t at Polyak's pair over its limit, t = {t[-1]}",
            slope[-1] / t[-1] / abs(arrays["limit"][1]),
            0.99,
            1.01,
        ),
        checks.between(
            "plain_flat",
            "without momentum: largest |G'| over eta, last horizon over the one before",
            arrays["plain"][-1] / arrays["plain"][-2],
            0.9,
            1.1,
        ),
        checks.none_of(
            "bounds", f"slopes above their bound where roots are real, {cases} tried", np.full(1, wrong == 0)
        ),
        checks.between(
            "complex_flat",
            f"all roots complex: 99 % quantile of |G_mu|, t = {t[-1]} over t = {t[1]}",
            ratio,
            0.25,
            4.0,
            ends,
        ),
        checks.at_most(
            "pole", "log10 f(w_2)/f(w_0) at the poles of two eigenvalues, largest of three", arrays["pole"], -25.0
        ),
    ]


def _training(config: Config, table: Table) -> list[Check]:
    lost = dict(zip(PAIRS, table.arrays["lost"], strict=True))
    alone, polyak, learned, thrown = (lost[name] for name in PAIRS)
    below, above = _holds(polyak - learned), _holds(thrown - polyak)
    return [
        checks.at_least(
            "best_gap",
            f"orders of magnitude from Polyak's pair to the best one, t = {config.steps}, median",
            *_median(polyak, 1.0),
        ),
        checks.at_least(
            "learned_share",
            "share of the tasks whose learned pair is better than Polyak's",
            below.mean(),
            0.5,
            checks.share_interval(below),
        ),
        checks.at_most(
            "learned_lost", "orders of magnitude from the learned pair to the best one, median", *_median(learned, 2.5)
        ),
        checks.at_least(
            "learned_gain",
            "orders of magnitude gained over the best step size without momentum, median",
            *_median(alone - learned, 1.0),
        ),
        checks.at_least(
            "thrown",
            "share of the trainings from Polyak's pair that end above where they began",
            above.mean(),
            0.5,
            checks.share_interval(above),
        ),
    ]


def _holds(x: np.ndarray) -> np.ndarray:
    """Return 1 where x > 0, 0 where not, and NaN where it is no number."""
    return np.where(np.isnan(x), np.nan, x > 0)


def _median(x: np.ndarray, bound: float) -> tuple[float, float, tuple[float, float]]:
    """Return the median over tasks, the bound, and its 95 % interval by order statistics."""
    ordered, n = np.sort(x), len(x)
    low = max(int(stats.binom.ppf(0.025, n, 0.5)) - 1, 0)
    ends = (np.nan, np.nan) if np.isnan(x).any() else (float(ordered[low]), float(ordered[n - 1 - low]))
    return float(np.median(x)), bound, ends
