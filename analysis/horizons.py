"""At which horizon backpropagation leaves the range of a float type: predicted against measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.framework import checks
from analysis.framework.contract import Table, Verdict
from metagrad.theory import quadratic
from metagrad.theory.quadratic import horizons

claim = (
    "Plain backpropagation of f(w_t) and of (1/t) log f(w_t) breaks at the horizon that the range of the dtype "
    "predicts: where it overflows within one step, where it underflows within the predicted interval, each up to the "
    "steps by which rounding every product can shift it, which are many in bfloat16 alone (derived; Wang et al. 2021 "
    "observe the breakdown)."
)
DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Config:
    """Step sizes (in units of 1/lambda, one mode) on either side of 2, and the longest horizon that is tried.

    None of them lasts 4,000 steps in float64.
    """

    etas: int
    longest: int


presets = {
    "quick": Config(etas=14, longest=20_000),
    "default": Config(etas=40, longest=20_000),
    "paper": Config(etas=400, longest=20_000),
}
expected_seconds = {"quick": 2.0, "default": 3.0, "paper": 5.0}


def etas_of(config: Config) -> np.ndarray:
    """Return the step sizes: contracting ones in (0, 2) away from 1, expanding ones in (2, 3]."""
    half = config.etas // 2
    contracting = np.concatenate([np.linspace(0.1, 0.85, half - half // 2), np.linspace(1.15, 1.9, half // 2)])
    return np.concatenate([contracting, np.linspace(2.1, 3.0, config.etas - half)])


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    decided = [f"{objective}_{what}" for objective in ("plain", "log") for what in ("overflow", "underflow")]
    return (*decided, *(f"{what}_{name}" for name in DTYPES for what in ("gap", "allowed")))


def shards(config: Config) -> list[dict[str, Any]]:
    """One dtype each."""
    return [{"dtype": name} for name in DTYPES]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return predicted intervals and measured horizons (etas,) of F' and G'; -1 where the dtype cannot be had.

    `earliest` and `latest` are those of the step size as the dtype has it. Every product is rounded, and is off by a
    factor of at most 1 + u either way, u = eps/2; t of them by (1 + u)^t: what comes out is what a factor between
    |a|/(1 + u) and |a| (1 + u) makes in exact arithmetic. `lowest` and `highest` are the horizons of these two.
    """
    name, etas = shard["dtype"], etas_of(config)
    dtype, number = _dtype(name), horizons.RANGES[name]
    missing = np.full(len(etas), -1.0)
    a = 1 - etas if dtype is None else (1 - etas.astype(dtype)).astype(dtype)
    measured = {"plain": missing, "log": missing} if dtype is None else _measure(a, dtype, config.longest)
    spectrum, factor = quadratic.Spectrum(np.array([1.0]), np.array([1.0])), np.abs(a.astype(np.float64))
    out: dict[str, np.ndarray] = {}
    for objective, predict in (("plain", horizons.gradient_horizon), ("log", horizons.loss_horizon)):
        found = [predict(spectrum, 1 + factor * grown, number) for grown in _grown(number)]
        out[f"{objective}_earliest"], out[f"{objective}_latest"] = found[1]
        out[f"{objective}_lowest"] = np.minimum(found[0].earliest, found[2].earliest)
        out[f"{objective}_highest"] = np.maximum(found[0].latest, found[2].latest)
        out[f"{objective}_measured"] = measured[objective]
    return out


def _grown(number: horizons.FloatRange) -> tuple[float, float, float]:
    """Return by which factors a product is off at worst: down, not at all, up."""
    worst = 1 + number.eps / 2
    return 1 / worst, 1.0, worst


def _dtype(name: str) -> Any:
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def _measure(a: np.ndarray, dtype: Any, longest: int) -> dict[str, np.ndarray]:
    """Return the first horizons at which plain backpropagation loses F' and F, for w_0 = 1, lambda = 1, by bisection.

    w_k = a w_{k-1} forwards, v_k = a v_{k+1} backwards from v_t = w_t, F' = -t v_1 w_0, F = w_t (w_t/2); every product
    rounded to the dtype. Lost: inf, NaN, or off by more than a factor of two beside what rounding can do, as zero is,
    and as what got stuck on the last subnormal numbers is (`horizons.stagnation_floor`). What is lost at t is lost at
    every longer horizon.
    """
    first = {}
    with np.errstate(all="ignore"):  # losing the number is what is measured
        for name in ("plain", "log"):
            low, high = np.zeros(len(a), dtype=int), np.full(len(a), longest)
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
    unit = horizons.RANGES[dtype.name].eps / 2
    rounded = (2 * t + 1) * np.log2(1 + unit)  # 2t - 1 products of a power, t itself, and the last product
    return ~(off <= 1 + rounded)


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
    """Overflow: within one step of what rounding allows. Underflow: inside the interval, widened by it."""
    arrays = table.arrays
    expanding = etas_of(config) > 2
    found = [np.any(arrays[f"{objective}_measured"] != -1, axis=1) for objective in ("plain", "log")]
    there = np.array(found) | (np.array(DTYPES) != "bfloat16")  # which alone may be missing
    decided, gaps = [], []
    for row, objective in enumerate(("plain", "log")):
        measured, earliest, latest, lowest, highest = (
            arrays[f"{objective}_{part}"] for part in ("measured", "earliest", "latest", "lowest", "highest")
        )
        outside = np.maximum(np.maximum(lowest - measured, measured - highest), 0.0)
        over = there[row][:, None] & expanding
        under = there[row][:, None] & ~expanding & ~(highest >= config.longest)
        decided += [
            checks.at_most(
                f"{objective}_overflow",
                f"{objective}: overflow, largest distance from the horizons that rounding allows, in steps",
                outside[over],
                1.0,
            ),
            checks.none_of(
                f"{objective}_underflow",
                f"{objective}: underflow outside of the predicted interval by more than a step",
                outside[under] <= 1,
            ),
        ]
        allowed = np.maximum(earliest - lowest, highest - latest) + 1
        gaps.append(np.where(expanding & (measured != -1), [np.abs(measured - earliest), allowed], np.nan))
    gap, allowed = np.max(np.max(gaps, axis=0)[..., expanding], axis=-1)
    for name, found, most in zip(DTYPES, gap, allowed, strict=True):
        decided += [
            checks.reported(f"gap_{name}", f"{name}: overflow, largest gap to the prediction, in steps", found),
            checks.reported(f"allowed_{name}", f"{name}: overflow, the largest gap that is allowed, in steps", most),
        ]
    return Verdict(claim, decided)
