"""What backpropagation carries on its way: state and adjoint run in opposite directions, their product stays put."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import metagrad as mg
from analysis.framework.contract import Check, Table, Verdict

claim = (
    "In backpropagation of the log objective through t steps the state goes as mu^k and its adjoint as mu^-k: "
    "their product, a "
    "step's share of the meta-gradient, is the same for every step, while the factors leave the range of floats "
    "(Wang et al. 2021: "
    "intermediate terms explode or vanish numerically)"
)
WORDS = ("contracting", "expanding")  # what the steps do, for each step size


@dataclass(frozen=True)
class Config:
    """The horizon, two step sizes in units of 1/L (one contracting, one expanding) and the task."""

    steps: int
    etas: tuple[float, float] = (0.5, 2.5)
    d: int = 20
    lowest: float = 0.1


presets = {"quick": Config(steps=2000), "default": Config(steps=5000), "paper": Config(steps=20_000)}
expected_seconds = {"quick": 3.0, "default": 6.0, "paper": 25.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    found = []
    for eta, word in zip(config.etas, WORDS, strict=True):
        lost = (f"{word}_lost_{name}" for name in beyond(config, eta))
        found += [f"{word}_spread", f"{word}_orders", *lost]
    return tuple(found)


def orders(config: Config, eta: float) -> float:
    """Return how many orders of magnitude the state, and the adjoint, should run through."""
    rate = np.log10(max(abs(1 - eta * config.lowest), abs(1 - eta)))
    return float(abs(rate) * config.steps)


def beyond(config: Config, eta: float) -> list[str]:
    """Return the types whose range the adjoint should leave."""
    return [name for name, limit in (("float32", 39), ("float64", 309)) if orders(config, eta) > limit]


def shards(config: Config) -> list[dict[str, Any]]:
    """One step size each."""
    return [{"eta": eta} for eta in config.etas]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return log10 of the norms of state and adjoint (theory and plain floats) and of a step's share (engine)."""
    draw = mg.random_quadratics(1, config.d, seed=context.seed)
    lam = np.linalg.eigvalsh(draw.H[0])
    lam = config.lowest + (1 - config.lowest) * (lam - lam[0]) / (lam[-1] - lam[0])
    w0 = draw.w0[0]
    eta, steps = shard["eta"], config.steps
    share = _shares(lam, w0, eta, steps)
    k = np.arange(steps + 1)
    a = 1 - eta * lam
    log_state = np.log10(np.abs(w0)) + k[:, None] * np.log10(np.abs(a))
    log_adjoint = np.log10(lam * np.abs(w0)) + (2 * steps - k[:, None]) * np.log10(np.abs(a))
    log_loss = _log10_sum(np.log10(0.5 * lam * w0**2) + 2 * steps * np.log10(np.abs(a)), axis=-1)
    return {
        "state": _log10_sum(2 * log_state, axis=1) / 2,
        "adjoint": _log10_sum(2 * log_adjoint, axis=1) / 2 - log_loss - np.log10(steps),
        "share": share.log10abs(),
        "share_sign": share.sign(),
        **_measured(lam, w0, eta, steps),
    }


def _shares(lam: np.ndarray, w0: np.ndarray, eta: float, steps: int) -> mg.Scaled:
    """Return every step's share of G' by the engine: the gradient of a schedule that is constant."""
    task = mg.DiagonalQuadratic(lam, w0)
    phi = mg.GradientDescent.Phi(np.full(steps, eta))
    found = mg.Reverse()(task, mg.Scheduled(mg.GradientDescent()), mg.LogFinal(), phi, steps=steps)
    if not found.ok:
        raise ArithmeticError(found.report())
    return found.grad.eta


def _measured(lam: np.ndarray, w0: np.ndarray, eta: float, steps: int) -> dict[str, np.ndarray]:
    """Return norms in plain float64 and float32, as an ordinary implementation has them; inf and 0 where they break."""
    out = {}
    for dtype in (np.float32, np.float64):
        a = (1 - dtype(eta) * lam.astype(dtype)).astype(dtype)
        w = np.empty((steps + 1, len(lam)), dtype)
        w[0] = w0
        with np.errstate(all="ignore"):  # where it breaks is what is measured
            for k in range(steps):
                w[k + 1] = a * w[k]
            loss = dtype(0.5) * np.sum(lam.astype(dtype) * w[-1] * w[-1], dtype=dtype)
            v = np.empty_like(w)
            v[-1] = lam.astype(dtype) * w[-1] * (dtype(1 / steps) / loss)
            for k in range(steps - 1, -1, -1):
                v[k] = a * v[k + 1]
        for name, x in (("state", w), ("adjoint", v)):
            peak = np.abs(x.astype(np.float64))
            with np.errstate(all="ignore"):
                top = peak.max(axis=1, keepdims=True)
                size = np.log10(top[:, 0]) + 0.5 * np.log10(np.sum((peak / top) ** 2, axis=1))
            out[f"{name}_{np.dtype(dtype).name}"] = np.where(np.isfinite(size), size, np.nan)
    return out


def _log10_sum(logs: np.ndarray, axis: int) -> np.ndarray:
    top = logs.max(axis=axis, keepdims=True)
    return np.log10(np.sum(10.0 ** (logs - top), axis=axis)) + np.squeeze(top, axis)


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by step size."""
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    names = dict.fromkeys(arrays, (WORDS,))
    arrays["etas"] = np.asarray(config.etas)
    return Table(arrays, {"etas": "1/lambda_max", "state": "orders of magnitude"}, names)


def verdict(config: Config, table: Table) -> Verdict:
    """Shares are equal; the factors span the orders predicted; plain floats break where these leave their range."""
    arrays, checks = table.arrays, []
    for index, (eta, word) in enumerate(zip(config.etas, WORDS, strict=True)):
        spread = float(10 ** (arrays["share"][index].max() - arrays["share"][index].min()) - 1)
        span = float(np.ptp(arrays["state"][index]))
        rate = orders(config, eta)
        checks += [
            Check(f"{word}_spread", f"{word}: spread of the steps' shares", spread, "<= 1e-9", spread <= 1e-9),
            Check(
                f"{word}_orders",
                f"{word}: orders of magnitude of the state",
                span,
                f"{rate:.4g}, 5 %",
                abs(span / rate - 1) < 0.05,
            ),
        ]
        for name in beyond(config, eta):
            lost = float(np.isnan(arrays[f"adjoint_{name}"][index]).mean())
            checks.append(
                Check(f"{word}_lost_{name}", f"{word}: share of plain {name} adjoints lost", lost, "> 0", lost > 0)
            )
    return Verdict(claim, checks)
