"""References that share no code with metagrad.theory: 60-digit formulas in mpmath, recursions in exact fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np

mp.mp.dps = 60
MEASURES = ("loss", "squared_norm")


@dataclass(frozen=True)
class Case:
    """One problem at one step size and horizon; floats count as exact."""

    eigenvalues: np.ndarray
    weights: np.ndarray
    eta: float
    steps: int
    measure: str

    @property
    def exact(self) -> list[tuple[Any, Any, Any]]:
        """(kappa_i, lambda_i, a_i) in 60 digits."""
        eigenvalues = [mp.mpf(float(x)) for x in self.eigenvalues]
        weights = [mp.mpf(float(x)) for x in self.weights]
        half = [w * x / 2 if self.measure == "loss" else w for w, x in zip(weights, eigenvalues, strict=True)]
        factors = [1 - mp.mpf(float(self.eta)) * x for x in eigenvalues]
        return list(zip(half, eigenvalues, factors, strict=True))

    def F(self) -> Any:  # noqa: N802
        return mp.fsum(k * a ** (2 * self.steps) for k, _, a in self.exact)

    def dF_terms(self) -> list[Any]:  # noqa: N802
        return [-2 * self.steps * k * x * a ** (2 * self.steps - 1) for k, x, a in self.exact]

    def d2F(self) -> Any:  # noqa: N802
        t = self.steps
        return 2 * t * (2 * t - 1) * mp.fsum(k * x**2 * a ** (2 * t - 2) for k, x, a in self.exact)


def random_cases(seed: int, count: int, horizons: tuple[int, ...], *, largest_d: int = 7) -> list[Case]:
    """Spectra over six decades; eta negative, tiny, at 1/lambda_i, at a tie, and up to 3/L."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        d = int(rng.integers(1, largest_d + 1))
        eigenvalues = rng.uniform(0.01, 3, d) * 10.0 ** rng.integers(-3, 4)
        L, alpha = eigenvalues.max(), eigenvalues.min()
        tie = 2 / (alpha + L)
        choices = [
            rng.uniform(-1, 3) / L,
            1 / rng.choice(eigenvalues),
            tie,
            tie * (1 + 1e-7),
            0.01 / L,
            3 / L,
            1e-9 / L,
        ]
        measure = str(rng.choice(MEASURES))
        steps = int(rng.choice(np.array(horizons)))
        cases.append(Case(eigenvalues, rng.normal(size=d) ** 2, float(rng.choice(choices)), steps, measure))
    return cases


def log_error(value: Any, reference: Any) -> float:
    """Error of a SignedLog: of its logarithm, relative where that is above 1; inf if the sign is wrong."""
    if float(value.sign) != mp.sign(reference):
        return float("inf")
    if reference == 0:
        return 0.0 if np.isneginf(value.log) else float("inf")
    size = mp.log(abs(reference))
    return float(abs(mp.mpf(float(value.log)) - size) / max(1, abs(size)))


def relative_error(value: Any, reference: Any) -> float:
    return float(abs(mp.mpf(float(value)) - reference) / abs(reference))


def condition(terms: list[Any]) -> float:
    """How much the terms of a sum cancel: sum |x| / |sum x|."""
    total = abs(mp.fsum(terms))
    return float(mp.fsum(abs(x) for x in terms) / total) if total else 1.0


def run_exactly(case: Case, rho: Fraction = Fraction(1)) -> dict[str, Fraction]:
    """Gradient descent and its tangents in exact fractions: F, dF, the weighted sum, and the stop-gradient slope."""
    eta = Fraction(float(case.eta))
    out = dict.fromkeys(("F", "dF", "Phi", "dPhi", "held"), Fraction(0))
    for eigenvalue, weight in zip(case.eigenvalues, case.weights, strict=True):
        h, c = Fraction(float(eigenvalue)), Fraction(float(weight))
        kappa = c * h / 2 if case.measure == "loss" else c
        w, dw, held = Fraction(1), Fraction(0), Fraction(0)
        for k in range(1, case.steps + 1):
            w, dw, held = w - eta * h * w, dw - h * w - eta * h * dw, held - h * w
            out["Phi"] += kappa * rho**k * w * w
            out["dPhi"] += kappa * rho**k * 2 * w * dw
        out["F"] += kappa * w * w
        out["dF"] += kappa * 2 * w * dw
        out["held"] += kappa * 2 * w * held
    return out


def to_mp(value: Fraction) -> Any:
    return mp.mpf(value.numerator) / value.denominator
