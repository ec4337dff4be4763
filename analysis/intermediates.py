"""What backpropagation carries on its way: state and adjoint run in opposite directions, their product stays put."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.checks import at_most, between, none_of, reported
from analysis.framework.contract import Check, Table, Verdict

claim = (
    "In backpropagation of the log objective through t steps the state goes as mu^k and its adjoint as mu^-k, up to "
    "factors that do not depend on k: their product, a step's share of the meta-gradient, is the same for every step, "
    "while plain floats lose every adjoint once the loss has left their range (Wang et al. 2021: intermediate terms "
    "explode or vanish numerically)"
)
WORDS = ("contracting", "expanding")  # what the steps do, for each step size
DTYPES = ("float32", "float64")
_RANGE = {"float32": 38, "float64": 308}  # orders of magnitude on either side of 1
_TIMES = 101
_ROUNDING = 1e-9  # in orders of magnitude, or relatively


@dataclass(frozen=True)
class Config:
    """The horizon, two step sizes in units of 1/L (one contracting, one expanding) and the task."""

    steps: int
    etas: tuple[float, float] = (0.5, 2.5)
    d: int = 20
    lowest: float = 0.1


presets = {"quick": Config(steps=2000), "default": Config(steps=5000), "paper": Config(steps=20_000)}
expected_seconds = {"quick": 1.0, "default": 2.0, "paper": 10.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    lost = tuple(f"lost_{name}" for name in DTYPES)
    each = ("spread", "sizes", "power_state", "power_adjoint", "orders", *lost)
    return tuple(f"{word}_{what}" for word in WORDS for what in each)


def orders(config: Config, eta: float) -> float:
    """Return how many orders of magnitude mu^k runs through."""
    return float(abs(np.log10(_mu(config, eta))) * config.steps)


def _mu(config: Config, eta: float) -> float:
    return max(abs(1 - eta * config.lowest), abs(1 - eta))


def leaves(config: Config, eta: float, dtype: str) -> bool:
    """Tell whether the loss, which runs through twice the orders of the state, leaves the range of a type."""
    return 2 * orders(config, eta) > _RANGE[dtype]


def shards(config: Config) -> list[dict[str, Any]]:
    """One step size each."""
    return [{"eta": eta} for eta in config.etas]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return log10 of the largest entries of state and adjoint (theory, engine, plain floats) and of a step's share."""
    draw = mg.random_quadratics(1, config.d, seed=context.seed)
    lam = np.linalg.eigvalsh(draw.H[0])
    lam = config.lowest + (1 - config.lowest) * (lam - lam[0]) / (lam[-1] - lam[0])
    w0 = draw.w0[0]
    found, k = _engine(lam, w0, shard["eta"], config.steps), times(config)
    return {
        **_theory(lam, w0, shard["eta"], k),
        "engine_state": found.record.state.log10abs()[k, 0],
        "engine_adjoint": found.record.adjoint.log10abs()[k, 0],
        "share": found.grad.eta.log10abs(),
        "share_sign": found.grad.eta.sign(),
        **_plain(lam, w0, shard["eta"], k),
    }


def times(config: Config) -> np.ndarray:
    """Return the times at which sizes are kept; shares are kept for every step."""
    return np.unique(np.linspace(0, config.steps, _TIMES).round().astype(int))


def _theory(lam: np.ndarray, w0: np.ndarray, eta: float, k: np.ndarray) -> dict[str, np.ndarray]:
    """Return the sizes from the eigenvalues, and the constants between which mu^k times a constant has them.

    w_k = a^k w_0 and v_k = lam a^(2t-k) w_0/(t f(w_t)), entry by entry, a = 1 - eta lam. With mu = max |a|, at the
    entry i, |w_0i| mu^k <= max |w_k| <= max |w_0| mu^k, and v_k so with lam w_0/(t f(w_t)) and mu^(2t-k).
    """
    a = np.log10(np.abs(1 - eta * lam))
    steps, at, start, pull = k[-1], int(np.argmax(a)), np.log10(np.abs(w0)), np.log10(lam * np.abs(w0))
    loss = np.log10(steps) + _log10_sum(np.log10(0.5 * lam * w0**2) + 2 * steps * a)
    end = 2 * steps * a[at] - loss
    return {
        "state": np.max(start + k[:, None] * a, axis=1),
        "adjoint": np.max(pull + (2 * steps - k[:, None]) * a, axis=1) - loss,
        "state_bounds": np.array([start[at], start.max()]),
        "adjoint_bounds": np.array([pull[at], pull.max()]) + end,
    }


def _engine(lam: np.ndarray, w0: np.ndarray, eta: float, steps: int) -> Any:
    """Return the engine's run: its sizes, and every step's share of G', the gradient of a schedule that is constant."""
    task = mg.DiagonalQuadratic(lam, w0)
    phi = mg.GradientDescent.Phi(np.full(steps, eta))
    found = mg.Reverse(record=True)(task, mg.Scheduled(mg.GradientDescent()), mg.LogFinal(), phi, steps=steps)
    if not found.ok:
        raise ArithmeticError(found.report())
    return found


def _plain(lam: np.ndarray, w0: np.ndarray, eta: float, times: np.ndarray) -> dict[str, np.ndarray]:
    """Return sizes in plain float32 and float64, as an ordinary implementation has them, and the share that is lost.

    NaN in a size: 0, inf or NaN took its place.
    """
    out, steps = {}, int(times[-1])
    for dtype in (np.float32, np.float64):
        h, rate = lam.astype(dtype), (1 - dtype(eta) * lam.astype(dtype)).astype(dtype)
        w = np.empty((steps + 1, len(lam)), dtype)
        w[0] = w0
        with np.errstate(all="ignore"):  # where it breaks is what is measured
            for k in range(steps):
                w[k + 1] = rate * w[k]
            loss = dtype(0.5) * np.sum(h * w[-1] * w[-1], dtype=dtype)
            v = np.empty_like(w)
            v[-1] = h * w[-1] * (dtype(1 / steps) / loss)
            for k in range(steps - 1, -1, -1):
                v[k] = rate * v[k + 1]
            sizes = {
                name: np.log10(np.abs(x.astype(np.float64)).max(axis=1)) for name, x in (("state", w), ("adjoint", v))
            }
        kept = {name: np.where(np.isfinite(size), size, np.nan) for name, size in sizes.items()}
        name = np.dtype(dtype).name
        out |= {f"{part}_{name}": size[times] for part, size in kept.items()}
        out[f"lost_{name}"] = np.isnan(kept["adjoint"]).mean()
    return out


def _log10_sum(logs: np.ndarray) -> Any:
    return np.log10(np.sum(10.0 ** (logs - logs.max()))) + logs.max()


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by step size."""
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    names = dict.fromkeys(arrays, (WORDS,))
    arrays |= {"etas": np.asarray(config.etas), "k": times(config)}
    return Table(arrays, {"etas": "1/lambda_max", "state": "orders of magnitude"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Shares are equal; sizes are those of theory and go as powers of mu; plain floats lose what they must, no more."""
    checks: list[Check] = []
    for index, (eta, word) in enumerate(zip(config.etas, WORDS, strict=True)):
        arrays = {name: x[index] for name, x in table.arrays.items() if name != "k"}
        checks += _checks(config, eta, word, arrays)
    return Verdict(claim, checks)


def _checks(config: Config, eta: float, word: str, arrays: dict[str, np.ndarray]) -> list[Check]:
    state, adjoint = arrays["engine_state"], arrays["engine_adjoint"]
    off = np.abs([state - arrays["state"], adjoint - arrays["adjoint"]])
    spread = np.abs(10 ** (arrays["share"] - arrays["share"][0]) * arrays["share_sign"] * arrays["share_sign"][0] - 1)
    power = times(config) * np.log10(_mu(config, eta))
    found = [
        at_most(f"{word}_spread", f"{word}: largest relative difference of a step's share", spread, _ROUNDING),
        at_most(f"{word}_sizes", f"{word}: engine off theory, largest, orders of magnitude", off, _ROUNDING),
    ]
    for name, size in (("state", state - power), ("adjoint", adjoint + power)):
        low, high = arrays[f"{name}_bounds"]
        inside = (size >= low - _ROUNDING) & (size <= high + _ROUNDING)
        what = f"{word}: engine's {name} farther from mu^{'k' if name == 'state' else '-k'} than the start allows"
        found.append(none_of(f"{word}_power_{name}", what, inside))
    found.append(reported(f"{word}_orders", f"{word}: orders of magnitude that the state runs through", np.ptp(state)))
    for name in DTYPES:
        lost = 1.0 if leaves(config, eta, name) else 0.0
        what = f"{word}: share of plain {name} adjoints lost"
        found.append(between(f"{word}_lost_{name}", what, arrays[f"lost_{name}"], lost, lost, said=f"{lost:g}"))
    return found
