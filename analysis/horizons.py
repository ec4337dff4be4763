"""At which horizon backpropagation leaves the range of a float type: predicted against measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import quadratic
from metagrad.theory.quadratic import horizons

claim = (
    "Plain backpropagation of f(w_t) and of (1/t) log f(w_t) breaks at the horizon that the range of the dtype "
    "predicts: exactly where "
    "it overflows, within the predicted interval where it underflows (derived; Wang et al. 2021 observe the "
    "breakdown)"
)
DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Config:
    """Step sizes (in units of 1/lambda, one mode) on either side of 2, and the longest horizon that is tried."""

    etas: int
    longest: int


presets = {
    "quick": Config(etas=14, longest=20_000),
    "default": Config(etas=40, longest=200_000),
    "paper": Config(etas=80, longest=1_000_000),
}
expected_seconds = {"quick": 8.0, "default": 60.0, "paper": 500.0}


def etas_of(config: Config) -> np.ndarray:
    """Return the step sizes: contracting ones in (0, 2) away from 1, expanding ones in (2, 3]."""
    half = config.etas // 2
    contracting = np.concatenate([np.linspace(0.1, 0.85, half - half // 2), np.linspace(1.15, 1.9, half // 2)])
    return np.concatenate([contracting, np.linspace(2.1, 3.0, config.etas - half)])


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    return tuple(f"{objective}_{what}" for objective in ("plain", "log") for what in ("overflow", "underflow"))


def shards(config: Config) -> list[dict[str, Any]]:
    """One dtype each."""
    return [{"dtype": name} for name in DTYPES]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return predicted intervals and measured horizons (etas,) of F' and G'; -1 where the dtype cannot be had."""
    name, etas = shard["dtype"], etas_of(config)
    dtype = _dtype(name)
    missing = np.full(len(etas), -1.0)
    measured = {"plain": missing, "log": missing} if dtype is None else _measure(etas, dtype, config.longest)
    rounded = etas if dtype is None else etas.astype(dtype).astype(np.float64)
    spectrum, number = quadratic.Spectrum(np.array([1.0]), np.array([1.0])), horizons.RANGES[name]
    out: dict[str, np.ndarray] = {}
    for objective, predict in (("plain", horizons.gradient_horizon), ("log", horizons.loss_horizon)):
        interval = predict(spectrum, rounded, number)
        out[f"{objective}_earliest"], out[f"{objective}_latest"] = interval.earliest, interval.latest
        out[f"{objective}_measured"] = measured[objective]
    return out


def _dtype(name: str) -> Any:
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def _measure(etas: np.ndarray, dtype: Any, longest: int) -> dict[str, np.ndarray]:
    """Return the first horizons at which plain backpropagation loses F' and F, for w_0 = 1, lambda = 1, by bisection.

    w_k = a w_{k-1} forwards, v_k = a v_{k+1} backwards from v_t = w_t, F' = -t v_1 w_0, F = w_t (w_t/2); every product
    rounded to the dtype. Lost: inf, NaN, or off by more than a factor of two, as zero is, and as what got stuck on the
    last subnormal numbers is (`horizons.stagnation_floor`). What is lost at t is lost at every longer horizon.
    """
    a = (1 - etas.astype(dtype)).astype(dtype)
    first = {}
    with np.errstate(all="ignore"):  # losing the number is what is measured
        for name in ("plain", "log"):
            low, high = np.zeros(len(etas), dtype=int), np.full(len(etas), longest)
            while np.any(high - low > 1):
                middle = np.where(high - low > 1, (low + high) // 2, high)
                lost = _lost(name, a, middle, dtype)
                low, high = (
                    np.where(lost, low, np.maximum(low, np.minimum(middle, high - 1))),
                    np.where(lost, middle, high),
                )
            first[name] = np.where(_lost(name, a, high, dtype), high, np.inf)
    return first


def _lost(name: str, a: np.ndarray, t: np.ndarray, dtype: Any) -> np.ndarray:
    """Tell whether F' ("plain") or F ("log") after t (etas,) steps is lost in the dtype."""
    w = _power(np.ones_like(a), a, t, dtype)
    if name == "log":
        number = (w * (w / dtype.type(2)).astype(dtype)).astype(dtype)
    else:
        share = _power(w, a, t - 1, dtype)
        number = (share * t.astype(np.float64).astype(dtype)).astype(dtype)
    # what it should be: t a^{2t-1} and a^{2t}/2, for this very a
    log_a = np.log2(np.abs(a.astype(np.float64)))
    exact = 2 * t * log_a - 1 if name == "log" else np.log2(t) + (2 * t - 1) * log_a
    off = np.abs(np.log2(np.abs(number.astype(np.float64))) - exact)
    return ~(off <= 1)


def _power(start: np.ndarray, a: np.ndarray, count: np.ndarray, dtype: Any) -> np.ndarray:
    """Return start a^count, one product after another, each rounded to the dtype."""
    x, order = start.copy(), np.argsort(-count)
    for k in range(int(count.max())):
        active = order[: np.searchsorted(-count[order], -k)]
        x[active] = (x[active] * a[active]).astype(dtype)
    return x


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by dtype."""
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    names = dict.fromkeys(arrays, (DTYPES,))
    arrays["etas"] = etas_of(config)
    return Table(arrays, {"etas": "1/lambda", "plain_measured": "steps", "log_measured": "steps"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Overflow: equal, up to one step. Underflow: inside the interval."""
    arrays = table.arrays
    expanding = arrays["etas"] > 2
    checks = []
    for objective in ("plain", "log"):
        measured, earliest, latest = (arrays[f"{objective}_{part}"] for part in ("measured", "earliest", "latest"))
        there = (measured > 0) & np.isfinite(measured)
        gap = np.abs(measured - earliest)
        over = float(gap[there & expanding].max())
        slack = 1.0 + 0.01 * latest * (np.array(DTYPES) == "bfloat16")[:, None]  # a is rounded to 8 bits on the way
        inside = (measured >= earliest - slack) & (measured <= latest + slack)
        wanted = (measured != -1) & ~expanding & (latest < config.longest)
        share = float(inside[wanted].mean())
        checks += [
            Check(f"{objective}_overflow", f"{objective}: overflow, largest gap in steps", over, "<= 1", over <= 1),
            Check(
                f"{objective}_underflow",
                f"{objective}: underflow, share inside the predicted interval",
                share,
                "1",
                share == 1,
            ),
        ]
    return Verdict(claim, checks)
