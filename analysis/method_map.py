"""Which method returns a right, wrong, zero or NaN meta-gradient of the log objective, over step size and horizon.

One task of the paper's family (d = 20), scaled to lambda_max = 1. Every method is held against the closed form of the
very floats it was given. An error is measured against 2 sum_i p_i |lambda_i / a_i|, the sum of magnitudes that makes up
G' = -2 E_p[lambda/a]: near the balance point, where G' cancels, a small G' is not asked for more digits than it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework import checks
from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import quadratic

claim = (
    "Plain backpropagation of the log objective returns zeros, NaN or wrong numbers beyond a horizon that grows with "
    "the range of the dtype, and stop-gradient beyond two steps nearly everywhere; with exponents beside the digits "
    "float64 and float32 are right at every horizon, float16 on nine tenths of the map, and every plain number "
    "that left the range carries a Status (Wang et al. 2021, section 3: numerical issues of backpropagation)"
)

METHODS = (
    "public code, float32",
    "plain, float16",
    "plain, float32",
    "plain, float64",
    "matrix powers, float64",
    "scaled, float16",
    "scaled, float32",
    "scaled, float64",
)
_SCALED, _PLAIN = ([f"{kind}, float{bits}" for bits in (64, 32, 16)] for kind in ("scaled", "plain"))
OUTCOMES = ("right", "wrong", "zero", "not a number")
TOLERANCE = {"float16": 0.1, "float32": 1e-2, "float64": 1e-6}


@dataclass(frozen=True)
class Config:
    """The grid: `etas` step sizes in units of 1/L up to 3, `horizons` from 1 to `longest` steps."""

    etas: int
    horizons: int
    longest: int
    d: int = 20


presets = {
    "quick": Config(etas=40, horizons=16, longest=3000),
    "default": Config(etas=60, horizons=26, longest=100_000),
    "paper": Config(etas=120, horizons=31, longest=1_000_000),
}
expected_seconds = {"quick": 8.0, "default": 100.0, "paper": 3600.0}


def steps_of(config: Config) -> np.ndarray:
    """Return the horizons of the grid."""
    return np.unique(np.geomspace(1, config.longest, config.horizons).round().astype(int))


def etas_of(config: Config) -> np.ndarray:
    """Return the step sizes of the grid in units of 1/L; 1/L and 2/L fall between two of them."""
    return (np.arange(config.etas) + 0.5) * 3.0 / config.etas


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    words = [_word(name) for name in [*_SCALED, *_PLAIN]]
    longest = [f"{_word(name)}_longest" for name in _PLAIN]
    return (*words, *longest, "range_of_dtype", "public_code", "silent")


def _word(method: str) -> str:
    return method.replace(", ", "_")


def shards(config: Config) -> list[dict[str, Any]]:
    """One method at one horizon each."""
    return [{"method": m, "steps": int(t)} for m in range(len(METHODS)) for t in steps_of(config)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the outcome at every step size, and whether a Status was raised."""
    name, steps = METHODS[shard["method"]], shard["steps"]
    dtype = np.dtype(name.split(", ")[1])
    lam, w0, etas = _problem(config, context.seed, dtype)
    if name.startswith("public code"):
        found, flagged = _public_code(lam, w0, etas, steps), np.zeros(len(etas), dtype=bool)
        exact, size = _reference(lam, w0, etas, max(1, steps - 1))
        exact, size = exact * max(1, steps - 1), size * max(1, steps - 1)
    else:
        found, flagged = (
            _matrix_powers(lam, w0, etas, steps) if name.startswith("matrix") else _engine(name, lam, w0, etas, steps)
        )
        exact, size = _reference(lam, w0, etas, steps)
    return {"outcome": _judge(found, exact, size, TOLERANCE[dtype.name]), "flagged": flagged}


def _problem(config: Config, seed: int, dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    task = mg.random_quadratics(1, config.d, seed=seed)
    lam, Q = np.linalg.eigh(task.H[0])
    w0 = Q.T @ task.w0[0]
    return (lam / lam[-1]).astype(dtype), w0.astype(dtype), etas_of(config).astype(dtype)


def _reference(lam: np.ndarray, w0: np.ndarray, etas: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return G' and 2 sum_i p_i |lambda_i/a_i| of these floats."""
    lam, w0, etas = (x.astype(np.float64) for x in (lam, w0, etas))
    exact = quadratic.d_log_objective(quadratic.Spectrum(lam, w0**2), etas, steps)
    a = 1 - etas[:, None] * lam
    log_p = np.log(w0**2 * lam) + 2 * steps * np.log(np.abs(a))
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return exact, 2 * (p / p.sum(axis=1, keepdims=True) * np.abs(lam / a)).sum(axis=1)


def _engine(name: str, lam: np.ndarray, w0: np.ndarray, etas: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    task = mg.DiagonalQuadratic(np.tile(lam, (len(etas), 1)), np.tile(w0, (len(etas), 1)))
    estimator = mg.Reverse(per_task=True, scaling="none" if name.startswith("plain") else "auto")
    found = estimator(task, mg.GradientDescent(), mg.LogFinal(), mg.GradientDescent.Phi(etas), steps=steps)
    return found.grad.eta.to_float(out_of_range="ieee").astype(np.float64), found.status != 0


def _matrix_powers(lam: np.ndarray, w0: np.ndarray, etas: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return -(2/s) w0'A^{2t-1}H^2 w0 / w0'A^{2t}H w0, A = (I - eta H)/s, the paper's hand-derived form."""
    # s from the two ends of the spectrum, as in the paper; powers of the diagonal A
    s = np.where(etas <= 2 / (lam[0] + lam[-1]), 1 - etas * lam[0], etas * lam[-1] - 1)
    A = (1 - etas[:, None] * lam) / s[:, None]
    numerator = (w0**2 * lam**2 * A ** (2 * steps - 1)).sum(axis=1)
    return -2 / s * numerator / (w0**2 * lam * A ** (2 * steps)).sum(axis=1), np.zeros(len(etas), dtype=bool)


def _public_code(lam: np.ndarray, w0: np.ndarray, etas: np.ndarray, steps: int) -> np.ndarray:
    """Return d log f(w_{t-1}) with the gradient held constant, non-finite to zero, clipped at 1e4: as published."""
    w = np.tile(w0, (len(etas), 1))
    moved = np.zeros_like(w)
    with np.errstate(all="ignore"):  # what is studied here is what becomes of the overflow
        for _ in range(max(1, steps - 1)):
            g = lam * w
            w, moved = w - etas[:, None] * g, moved - g
        loss = 0.5 * (lam * w * w).sum(axis=1)
        slope = (lam * w * moved).sum(axis=1) / loss
    return np.clip(np.where(np.isfinite(slope), slope, 0), -1e4, 1e4).astype(np.float64)


def _judge(found: np.ndarray, exact: np.ndarray, size: np.ndarray, tolerance: float) -> np.ndarray:
    right = np.abs(found - exact) <= tolerance * size
    code = np.where(found == 0, OUTCOMES.index("zero"), OUTCOMES.index("wrong"))
    code = np.where(np.isfinite(found), code, OUTCOMES.index("not a number"))
    return np.where(right, OUTCOMES.index("right"), code)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return outcome and flagged (methods, horizons, etas), and the shares of the etas that are right."""
    shape = (len(METHODS), len(steps_of(config)), config.etas)
    arrays = {name: np.stack([part[name] for part in parts]).reshape(shape) for name in ("outcome", "flagged")}
    arrays |= {"steps": steps_of(config), "etas": etas_of(config)}
    arrays["share"] = (arrays["outcome"] == OUTCOMES.index("right")).mean(axis=-1)
    arrays["outcomes"] = np.asarray(OUTCOMES)  # what the codes in `outcome` stand for
    names = {"outcome": (METHODS,), "flagged": (METHODS,), "share": (METHODS,)}
    return Table(arrays, {"steps": "steps", "etas": "1/lambda_max"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Scaled: right everywhere. Plain: what is not right is flagged. All cells of a map count, whatever came out."""
    shares = dict(zip(METHODS, table.arrays["share"], strict=True))
    found = [
        checks.at_least(_word(name), f"{name}: share of the map that is right", shares[name].mean(), least)
        for name, least in zip(_SCALED, (1.0, 1.0, 0.9), strict=True)
    ]
    found += [
        checks.reported(_word(name), f"{name}: share of the map that is right", shares[name].mean()) for name in _PLAIN
    ]
    found += [
        checks.at_most(
            f"{_word(name)}_longest",
            f"{name}: share of the step sizes that is right at the longest horizon",
            shares[name][-1],
            0.9,
        )
        for name in _PLAIN
    ]
    public = shares["public code, float32"][table.arrays["steps"] > 2]
    return Verdict(
        claim,
        [
            *found,
            _range_of_dtype(table.arrays["steps"], shares),
            checks.at_most(
                "public_code", "public code: share of the map beyond two steps that is right", np.mean(public), 0.05
            ),
            _silent(table.arrays),
        ],
    )


def _range_of_dtype(steps: np.ndarray, shares: dict[str, np.ndarray]) -> Check:
    """Compare the horizons at which plain backpropagation first fails: they go as the largest exponents, 1:8:64.

    Sizes grow by powers of the number of steps. On the grid of horizons each is rounded up, by at most its spacing.
    """
    first = np.array([_first(steps, shares[name]) for name in _PLAIN])  # float64, float32, float16
    spacing = float(np.max(steps[1:] / steps[:-1], where=steps[1:] > 4, initial=1.0))
    what = "horizon from which plain backpropagation is not right everywhere, over that of the next shorter dtype"
    return checks.between("range_of_dtype", what, first[:-1] / first[1:], 8 / spacing, 8 * spacing)


def _first(steps: np.ndarray, share: np.ndarray) -> float:
    """Return the first horizon at which a share is below 1; NaN where there is none, or a share is no number."""
    below = np.flatnonzero(share < 1)
    return float(steps[below[0]]) if below.size and not np.isnan(share).any() else np.nan


def _silent(arrays: dict[str, np.ndarray]) -> Check:
    plain = [i for i, name in enumerate(METHODS) if name.startswith("plain")]
    # beyond t u = tolerance the digits themselves are used up by rounding: that is no matter of range
    units = np.array([np.finfo(name.split(", ")[1]).eps / 2 for name in METHODS])
    bounds = np.array([TOLERANCE[name.split(", ")[1]] for name in METHODS])
    used_up = (np.outer(units, arrays["steps"]) > bounds[:, None])[:, :, None]
    said = (arrays["outcome"] == OUTCOMES.index("right")) | arrays["flagged"] | used_up
    return checks.none_of("silent", "plain numbers not right, not flagged, with t u below tolerance", said[plain])
