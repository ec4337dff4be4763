"""At which horizon backpropagation leaves the range of a float type: predicted against measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework.contract import Check, Table, Verdict
from metagrad.theory import horizons, quadratic

claim = (
    "Plain backpropagation of f(w_t) and of (1/t) log f(w_t) breaks at the horizon that the range of the dtype predicts: exactly where "
    "it overflows, within the predicted interval where it underflows (derived; Wang et al. 2021 observe the breakdown)"
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
    """Return the first horizons at which plain backpropagation of F and of G loses its number, for w_0 = 1, lambda = 1.

    Backpropagation through t steps: w_k = a w_{k-1}, v_t = w_t, v_k = a v_{k+1}; F' = -t v_1 w_0 up to the order in
    which it is summed; G' = F'/(t F). Lost: zero, inf or NaN.
    """
    a = (1 - etas.astype(dtype)).astype(dtype)
    w = np.ones_like(a)
    first = {"plain": np.full(len(etas), np.inf), "log": np.full(len(etas), np.inf)}
    with np.errstate(all="ignore"):  # losing the number is what is measured
        for t in range(1, longest + 1):
            w = (w * a).astype(dtype)
            if t > 64 and t % max(1, t // 400):  # thin out: to a quarter of a percent of the horizon
                continue
            loss = (w * w / dtype.type(2)).astype(dtype)
            share = _adjoint_at_one(w, a, t, dtype)
            slope = (share * np.asarray(float(min(t, 60000)), dtype=dtype)).astype(dtype)
            for name, number in (("plain", slope), ("log", loss)):
                lost = (number == 0) | ~np.isfinite(number.astype(np.float64))
                first[name] = np.where(lost & np.isinf(first[name]), t, first[name])
            if all(np.isfinite(x).all() for x in first.values()):
                break
    return first


def _adjoint_at_one(w: np.ndarray, a: np.ndarray, t: int, dtype: Any) -> np.ndarray:
    """Return v_1 = a^{t-1} w_t, step by step in the dtype."""
    v = w.copy()
    for _ in range(t - 1):
        v = (v * a).astype(dtype)
        if not np.any(np.isfinite(v.astype(np.float64)) & (v != 0)):
            break
    return v


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by dtype."""
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    arrays |= {"etas": etas_of(config), "dtypes": np.asarray(DTYPES)}
    return Table(arrays, {"etas": "1/lambda", "plain_measured": "steps", "log_measured": "steps"})


def verdict(config: Config, table: Table) -> Verdict:
    """Overflow: equal up to the grid of horizons. Underflow: inside the interval."""
    arrays = table.arrays
    expanding = arrays["etas"] > 2
    checks = []
    for objective in ("plain", "log"):
        measured, earliest, latest = (arrays[f"{objective}_{part}"] for part in ("measured", "earliest", "latest"))
        there = (measured > 0) & np.isfinite(measured)
        gap = np.abs(measured - earliest) / np.maximum(1, earliest)
        over = float(gap[there & expanding].max())
        slack = np.maximum(2.0, 0.01 * latest)
        inside = (measured >= earliest - slack) & (measured <= latest + slack)
        share = float(inside[there & ~expanding].mean())
        checks += [
            Check(
                f"{objective}: overflow, largest relative gap",
                over,
                "<= 0.02 or one step",
                _close(gap, earliest, there & expanding),
            ),
            Check(f"{objective}: underflow, share inside the predicted interval", share, "1", share == 1),
        ]
    return Verdict(claim, checks)


def _close(gap: np.ndarray, earliest: np.ndarray, where: np.ndarray) -> bool:
    return bool(np.all((gap <= np.maximum(0.02, 1.01 / np.maximum(1, earliest)))[where]))
