"""Explosion and vanishing of the plain meta-gradient, over step size and horizon, between its bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import quadratic
from metagrad.theory.quadratic import bounds

claim = (
    "The meta-gradient F'(eta) of the plain objective f(w_t) is exponentially small for 0 < eta < 2/L and "
    "exponentially "
    "large above, for all but a window of step sizes of width O(1/t) (Wang et al. 2021, section 3)"
)
_LN10 = np.log(10.0)


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
    return ("vanishing", "exploding", "window", "bounds", "engine")


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
        "lower": bounds.log_lower_bound(spectrum, etas, steps) / _LN10,
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
    lam = 0.01 + 0.99 * lam
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
    """Exponential on both sides, window of width O(1/t), bounds never violated, engine on the theory."""
    arrays = table.arrays
    last = arrays["log10"][-1]
    small, large = (float(np.interp(eta, arrays["etas"], last)) for eta in (0.5, 2.5))
    steps = arrays["steps"]
    width = (arrays["window"][:, 1] - arrays["window"][:, 0]) * steps
    spread = float(width[-1] / width[-2])
    error, violations = float(arrays["engine_error"].max()), float(arrays["violations"][:, :2].sum())
    rate = np.log10(1 - 0.01 * 0.5) * 2 * steps[-1]
    return Verdict(
        claim,
        [
            Check(
                "vanishing",
                f"log10 |F'| at eta = 0.5/L, t = {steps[-1]}",
                small,
                f"<= {0.8 * rate:.3g}",
                small <= 0.8 * rate,
            ),
            Check(
                "exploding",
                f"log10 |F'| at eta = 2.5/L, t = {steps[-1]}",
                large,
                f">= {0.9 * 2 * steps[-1] * np.log10(1.5):.3g}",
                large >= 0.9 * 2 * steps[-1] * np.log10(1.5),
            ),
            Check(
                "window",
                "t x width of the window, last horizon over the one before",
                spread,
                "0.8 .. 1.25",
                0.8 <= spread <= 1.25,
            ),
            Check(
                "bounds",
                f"violated bounds in {int(arrays['violations'][:, 2].sum())} cases",
                violations,
                "0",
                violations == 0,
            ),
            Check("engine", "engine against theory: largest relative error", error, "<= 1e-8", error <= 1e-8),
        ],
    )
