"""Explosion and vanishing of the plain meta-gradient, over step size and horizon, between its bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.checks import at_least, at_most, between, none_of, reported
from analysis.framework.contract import Table, Verdict
from metagrad.theory import quadratic
from metagrad.theory.quadratic import bounds

claim = (
    "The meta-gradient F'(eta) of the plain objective f(w_t) is exponentially small for 0 < eta < 2/L and "
    "exponentially large above, at the rate of the mode with the largest |1 - eta lambda|, for all but a window of "
    "step sizes of width O(1/t) (Wang et al. 2021, section 3)"
)
_LN10 = np.log(10.0)
_ALPHA = 0.01  # the least eigenvalue; the largest is 1
_ROUNDING = 1e-12  # of a logarithm


@dataclass(frozen=True)
class Config:
    """Horizons, step sizes of the lines and of the engine's points, and random tasks on which the bounds are tried."""

    horizons: tuple[int, ...]
    lines: int
    points: int
    tasks: int
    d: int = 20


presets = {
    "quick": Config(horizons=(10, 100, 1000), lines=600, points=13, tasks=20),
    "default": Config(horizons=(10, 100, 1000, 10_000), lines=1200, points=25, tasks=200),
    "paper": Config(horizons=(10, 100, 1000, 10_000, 100_000), lines=1200, points=25, tasks=1000),
}
expected_seconds = {"quick": 2.0, "default": 4.0, "paper": 15.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("vanishing", "exploding", "rates", "window", "between_bounds", "bounds", "engine", "small", "large")


def shards(config: Config) -> list[dict[str, Any]]:
    """One horizon each."""
    return [{"steps": t} for t in config.horizons]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return log10 |F'| and its bounds on a line of step sizes, the engine's points, and the violations of bounds."""
    steps = shard["steps"]
    spectrum, lam, w0 = _task(config, context.seed)
    etas = np.linspace(0.005, 2.6, config.lines)
    derivative = quadratic.d_objective(spectrum, etas, steps)
    points = np.linspace(0.11, 2.51, config.points)
    found = _engine(lam, w0, points, steps)
    low, high = bounds.window(spectrum, steps)
    return {
        "log10": derivative.log / _LN10,
        "upper": bounds.log_upper_bound(spectrum, etas, steps) / _LN10,
        "lower": bounds.log_lower_bound(spectrum, etas, steps) / _LN10,  # NaN where none applies
        "rate": 2 * np.log10(np.abs(1 - np.outer(points, lam)).max(axis=1)),  # of the slowest or fastest mode
        "engine": found.log10abs(),
        "engine_error": _relative_error(found, quadratic.d_objective(spectrum, points, steps)),
        "window": np.array([float(low), float(high)]),
        "violations": _violations(config, context.seed, steps),
    }


def _task(config: Config, seed: int) -> tuple[quadratic.Spectrum, np.ndarray, np.ndarray]:
    """Return a task of the paper's family, scaled to lambda_max = 1, with condition number 100."""
    draw = mg.random_quadratics(1, config.d, seed=seed)
    lam, Q = np.linalg.eigh(draw.H[0])
    lam = np.maximum(lam / lam[-1], 0.0)
    lam = _ALPHA + (1 - _ALPHA) * lam
    w0 = Q.T @ draw.w0[0]
    return quadratic.Spectrum(lam, w0**2), lam, w0


def _engine(lam: np.ndarray, w0: np.ndarray, etas: np.ndarray, steps: int) -> mg.Scaled:
    task = mg.DiagonalQuadratic(np.tile(lam, (len(etas), 1)), np.tile(w0, (len(etas), 1)))
    phi = mg.GradientDescent.Phi(etas)
    found = mg.Reverse(per_task=True)(task, mg.GradientDescent(), mg.Final(), phi, steps=steps)
    if not found.ok:
        raise ArithmeticError(found.report())
    return found.grad.eta


def _relative_error(found: mg.Scaled, exact: Any) -> np.ndarray:
    return np.asarray(found.relative_difference(mg.Scaled.from_log(exact.sign, exact.log)))


def _violations(config: Config, seed: int, steps: int) -> np.ndarray:
    """Count violations of the two bounds on random tasks and step sizes, and how many were tried."""
    draw = mg.random_quadratics(config.tasks, config.d, seed=seed + 1)
    spectrum = quadratic.Spectrum.of(draw.H, draw.w0)
    etas = np.linspace(-0.5, 3.0, 141)[:, None] / spectrum.L
    upper = bounds.upper_bound_holds(spectrum, etas, steps)
    lower = bounds.lower_bound_holds(spectrum, etas, steps)
    return np.array([np.sum(~upper), np.sum(~lower), upper.size])


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by horizon."""
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    arrays |= {"steps": np.asarray(config.horizons), "etas": np.linspace(0.005, 2.6, config.lines)}
    arrays |= {"points": np.linspace(0.11, 2.51, config.points)}
    units = {"etas": "1/lambda_max", "points": "1/lambda_max", "log10": "orders of magnitude"}
    return Table(arrays, units, {"window": (None, ("from", "to")), "violations": (None, ("upper", "lower", "cases"))})


def verdict(config: Config, table: Table) -> Verdict:
    """Exponential on both sides at the rate of theory, a window of width O(1/t), inside the bounds, engine on theory.

    Growth is that of the engine's |F'|/t per step, between the last two horizons, at the points outside of the window
    of the first of them. The bounds leave it the growth of mu^(2t - 1), to log10(2 S / g) between two horizons.
    """
    arrays = table.arrays
    steps, points = arrays["steps"].astype(float), arrays["points"]
    low, high = arrays["window"][-2]
    outside = ~((low <= points) & (points <= max(high, 2.0)))
    below, above = outside & ~(points > 2.0), outside & ~(points < 2.0)
    span = steps[-1] - steps[-2]
    growth = (arrays["engine"][-1] - arrays["engine"][-2] - np.log10(steps[-1] / steps[-2])) / span
    growth = np.where(np.isnan(low + high), np.nan, growth)  # outside of what is not known
    theory = np.where(np.isnan(points), np.nan, arrays["rate"][-1])
    room = (arrays["upper"] - arrays["lower"])[~np.isnan(arrays["lower"])].max()
    apart = np.abs(growth - theory)[outside] * span / room
    width = np.diff(arrays["window"], axis=1)[:, 0] * steps
    violations, count = arrays["violations"][:, :2], int(arrays["violations"][:, 2].sum())
    small, large = (_at(arrays, eta) for eta in (0.5, 2.5))
    between_two = f"t = {steps[-2]:.0f} to {steps[-1]:.0f}"
    return Verdict(
        claim,
        [
            at_least(
                "vanishing",
                f"growth of |F'|/t below 2/L over that of the slowest mode, least of all points, {between_two}",
                growth[below] / theory[below],
                0.95,
            ),
            between(
                "exploding",
                f"growth of |F'|/t above 2/L over 2 log10(eta L - 1), all points, {between_two}",
                growth[above] / theory[above],
                0.99,
                1.01,
            ),
            at_most("rates", "growth apart from theory over what the bounds leave it, largest of all", apart, 1.0),
            between(
                "window", "t x width of the window, last horizon over the one before", width[-1] / width[-2], 0.8, 1.25
            ),
            none_of(
                "between_bounds", "|F'| outside of its bounds, or without a lower one, on the lines", _inside(arrays)
            ),
            at_most("bounds", f"most violated bounds at one horizon, on random tasks, in {count} cases", violations, 0),
            at_most("engine", "engine against theory: largest relative error", arrays["engine_error"], 1e-8),
            reported("small", f"log10 |F'| at eta = 0.5/L, t = {steps[-1]:.0f}", small),
            reported("large", f"log10 |F'| at eta = 2.5/L, t = {steps[-1]:.0f}", large),
        ],
    )


def _at(arrays: dict[str, np.ndarray], eta: float) -> float:
    return float(np.interp(eta, arrays["etas"], arrays["log10"][-1]))


def _inside(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return where |F'| is between its bounds; only inside of the window it may have no lower bound."""
    log10, etas, (low, high) = arrays["log10"], arrays["etas"], arrays["window"].T[:, :, None]
    slack = _ROUNDING * (1 + np.abs(arrays["upper"]))
    without = np.isnan(arrays["lower"]) & (low <= etas) & (etas <= high)
    return np.asarray((without | (arrays["lower"] <= log10 + slack)) & (log10 <= arrays["upper"] + slack))
