"""The log objective's meta-gradient stays bounded, at every step size and horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.checks import at_least, at_most, between
from analysis.framework.contract import Table, Verdict
from metagrad.theory import quadratic
from metagrad.theory.quadratic import bounds

claim = (
    "The meta-gradient G'(eta) of the log objective (1/t) log f(w_t) is bounded uniformly in eta, and the bound "
    "tends to 2L(L+alpha)/(L-alpha) as t grows, which G' comes near; that of f(w_t) spans thousands of orders of "
    "magnitude (Wang et al. 2021, section 3)"
)


_NAMES = {"violations": (None, ("local", "global", "cases")), "plain": (None, ("least", "largest"))}


@dataclass(frozen=True)
class Config:
    """Horizons, step sizes of the lines and of the engine's points, and random tasks on which the bounds are tried."""

    horizons: tuple[int, ...]
    lines: int
    points: int
    tasks: int
    d: int = 20


presets = {
    "quick": Config(horizons=(10, 100, 1000, 10_000), lines=1200, points=16, tasks=20),
    "default": Config(horizons=(10, 100, 1000, 100_000), lines=3000, points=25, tasks=200),
    "paper": Config(horizons=(10, 100, 10_000, 1_000_000), lines=3000, points=25, tasks=1000),
}
expected_seconds = {"quick": 6.0, "default": 40.0, "paper": 400.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return ("below_bound", "largest", "growth", "global_bound", "bounds", "engine", "plain")


def shards(config: Config) -> list[dict[str, Any]]:
    """One horizon each."""
    return [{"steps": t} for t in config.horizons]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return G' and its local bound on a line of step sizes, the engine's points, and the violations of bounds."""
    steps = shard["steps"]
    spectrum, lam, w0 = _task(config, context.seed)
    etas, points = _lines(config), _points(config)
    exact = quadratic.d_log_objective(spectrum, points, steps)
    plain = quadratic.d_objective(spectrum, etas, steps).log / np.log(10.0)
    found = _engine(lam, w0, points, steps)
    return {
        "slope": quadratic.d_log_objective(spectrum, etas, steps),
        "bound": bounds.local_gradient_bound(spectrum, etas, steps),
        "engine": found,
        "engine_error": np.abs(found - exact) / np.abs(exact),
        "plain": np.array([np.min(plain), np.max(plain)]),
        "global_bound": np.asarray(bounds.global_gradient_bound(spectrum, steps)),
        "violations": _violations(config, context.seed, steps),
    }


def _lines(config: Config) -> np.ndarray:
    return np.linspace(0.005, 3.0, config.lines)


def _points(config: Config) -> np.ndarray:
    return np.linspace(0.1, 2.9, config.points)


def _task(config: Config, seed: int) -> tuple[quadratic.Spectrum, np.ndarray, np.ndarray]:
    """Return a task of the paper's family, scaled to lambda_max = 1 and lambda_min = 0.1."""
    draw = mg.random_quadratics(1, config.d, seed=seed)
    lam, Q = np.linalg.eigh(draw.H[0])
    lam = 0.1 + 0.9 * np.maximum(lam - lam[0], 0.0) / (lam[-1] - lam[0])
    w0 = Q.T @ draw.w0[0]
    return quadratic.Spectrum(lam, w0**2), lam, w0


def _engine(lam: np.ndarray, w0: np.ndarray, etas: np.ndarray, steps: int) -> np.ndarray:
    task = mg.DiagonalQuadratic(np.tile(lam, (len(etas), 1)), np.tile(w0, (len(etas), 1)))
    phi = mg.GradientDescent.Phi(etas)
    found = mg.Reverse(per_task=True)(task, mg.GradientDescent(), mg.LogFinal(), phi, steps=steps)
    if not found.ok:
        raise ArithmeticError(found.report())
    return np.asarray(found.grad.eta.to_float())


def _violations(config: Config, seed: int, steps: int) -> np.ndarray:
    draw = mg.random_quadratics(config.tasks, config.d, seed=seed + 1)
    spectrum = quadratic.Spectrum.of(draw.H, draw.w0)
    etas = np.linspace(-0.5, 3.0, 141)[:, None] / spectrum.L
    local = bounds.local_gradient_bound_holds(spectrum, etas, steps)
    everywhere = bounds.global_gradient_bound_holds(spectrum, etas, steps)
    return np.array([np.sum(~local), np.sum(~everywhere), local.size])


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by horizon, and the limit of the bound."""
    spectrum_limit = 2 * 1.0 * (1.0 + 0.1) / (1.0 - 0.1)
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    arrays |= {"steps": np.asarray(config.horizons), "etas": _lines(config), "points": _points(config)}
    arrays |= {"limit": np.asarray(spectrum_limit)}
    units = {"etas": "1/lambda_max", "points": "1/lambda_max", "slope": "lambda_max", "plain": "orders"}
    return Table(arrays, units, _NAMES)


def verdict(config: Config, table: Table) -> Verdict:
    """|G'| below its bound at every horizon, near the bound's limit at the last, no growth; the engine on theory."""
    arrays = table.arrays
    largest = np.abs(arrays["slope"]).max(axis=1)
    limit, bound, last = float(arrays["limit"]), arrays["global_bound"], arrays["steps"][-1]
    below = np.concatenate([largest / bound, (np.abs(arrays["slope"]) / arrays["bound"]).max(axis=1)])
    violations, count = arrays["violations"][:, :2], int(arrays["violations"][:, 2].sum())
    span = np.diff(arrays["plain"][-1])
    return Verdict(
        claim,
        [
            at_most(
                "below_bound", "largest |G'| over its bound, the global and the local, all horizons", below, 1 + 1e-9
            ),
            between(
                "largest",
                f"largest |G'| over eta at t = {last}",
                largest[-1],
                0.95 * limit,
                float(bound[-1]),
                said=(f"{0.95 * limit:.4g} to the bound {float(bound[-1]):.4g}"),
            ),
            between("growth", "largest |G'|, last horizon over the one before", largest[-1] / largest[-2], 0.9, 1.1),
            between("global_bound", "global bound over its limit at the last horizon", bound[-1] / limit, 1, 1.05),
            at_most("bounds", f"most violated bounds at one horizon, on random tasks, in {count} cases", violations, 0),
            at_most("engine", "engine against theory: largest relative error", arrays["engine_error"], 1e-8),
            at_least("plain", f"orders of magnitude that F' of f(w_t) spans over eta at t = {last}", span, 1000),
        ],
    )
