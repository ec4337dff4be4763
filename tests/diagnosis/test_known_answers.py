"""Diagnoses whose answers are known beforehand, from theory or from the literature: every regime there is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import metagrad as mg

MAX = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}
TINY = {"float16": 2.0**-14, "float32": 2.0**-126, "float64": 2.0**-1022}
DIGITS = {"float16": 11 * math.log10(2), "float32": 24 * math.log10(2), "float64": 53 * math.log10(2)}
SLACK = {"float16": 2e-4, "float32": 2e-5, "float64": 2e-5}  # of rates, in decades a step


@dataclass(frozen=True)
class Known:
    """A case, and what is known of it: numbers by the path of a field, with an absolute tolerance, or words."""

    name: str
    arguments: Callable[[], tuple]
    steps: int
    words: dict[str, Any]
    numbers: dict[str, tuple[float, float]]
    dtype: str | None = None


def at(found, path):
    for name in path.split("."):
        found = found[int(name)] if name.isdecimal() else getattr(found, name)
    return found


# -- gradient descent on quadratics: w_t = a^t w_0 with a = 1 - eta lambda

LAMBDA = np.array([1.0, 0.1])


def on_a_quadratic(eta, objective, eigenvalues=LAMBDA):
    def arguments():
        task = mg.DiagonalQuadratic(np.asarray(eigenvalues, float), np.ones(len(eigenvalues)))
        return task, mg.GradientDescent(), objective, eta

    return arguments


def first_break_of_the_log(a, eigenvalue, dtype):
    """The first t at which t F overflows, or F = lambda a^{2t}/2 is subnormal: the gradient of log F divides by it."""
    start, rate = math.log10(eigenvalue / 2), 2 * math.log10(abs(a))
    if rate < 0:
        return (math.log10(TINY[dtype]) - start) / rate
    return next(t for t in range(1, 10**6) if math.log10(t) + start + t * rate >= math.log10(MAX[dtype]))


def descent(dtype):
    for where, eta, regime, a, eigenvalue in (
        ("below", 0.5, "contracting", 0.95, 0.1),
        ("at", 2.0, "neutral", -1.0, 1.0),
        ("above", 2.5, "exploding", -1.5, 1.0),
    ):
        growth = math.log10(abs(a))
        numbers = {f"{name}.value.0": (growth, SLACK[dtype]) for name in ("state", "adjoint", "tangent")}
        horizon = math.inf if where == "at" else first_break_of_the_log(a, eigenvalue, dtype)
        numbers |= {"plain.steps": (horizon, 1.0), "scaled.steps": (math.inf, 0.0)}
        words = {"regimes": (regime,), "plain.source": "theory", "status.0": 0}
        yield Known(f"descent-{where}-{dtype}", on_a_quadratic(eta, mg.LogFinal()), 200, words, numbers, dtype)


def objectives():
    """F = a^{2T}/2 vanishes or explodes, F' = -T a^{2T-1}; its log does neither, G' = -2/a."""
    for name, eta, trend in (("vanishing", 0.2, "vanishing"), ("exploding", 2.2, "exploding")):
        a, steps = 1 - eta, 100
        halves = {
            f"gradient.{where}": (math.log10(t) + (2 * t - 1) * math.log10(abs(a)), 1e-9)
            for where, t in (("half", steps // 2), ("whole", steps))
        }
        yield Known(f"final-{name}", on_a_quadratic(eta, mg.Final(), [1.0]), steps, {"trend": trend}, halves)
        slope = math.log10(2 / abs(a))
        halves = {f"gradient.{where}": (slope, 1e-9) for where in ("half", "whole")}
        yield Known(f"log-of-{name}", on_a_quadratic(eta, mg.LogFinal(), [1.0]), steps, {"trend": "steady"}, halves)


def momentum():
    """(w, m) goes by [[1 - eta, mu], [-eta, mu]]: its spectral radius is sqrt(mu) where the roots are complex."""
    for name, eta, mu, regime in (
        ("complex", 0.5, 0.81, "contracting"),
        ("slow", 0.005, 0.5, "contracting"),
        ("unstable", 3.5, 0.5, "exploding"),
    ):
        trace = 1 + mu - eta
        root = trace**2 - 4 * mu
        radius = math.sqrt(mu) if root < 0 else (abs(trace) + math.sqrt(root)) / 2
        numbers = {f"{one}.value.0": (math.log10(radius), 5e-4) for one in ("state", "tangent")}

        def arguments(eta=eta, mu=mu):
            task = mg.DiagonalQuadratic(np.ones(1), np.ones(1))
            return task, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(eta, mu)

        yield Known(f"momentum-{name}", arguments, 600, {"regimes": (regime,)}, numbers)


def cheaper_gradients():
    """F' = -T a^{2T-1}; with g held w_T' = -sum_t a^t, so that F' becomes -a^T (1 - a^T)/(1 - a); K steps give K/T."""
    steps = 40
    for name, eta in (("same-sign", 0.1), ("opposite-sign", 1.9)):
        a = 1 - eta
        full, held = -steps * a ** (2 * steps - 1), -(a**steps) * (1 - a**steps) / (1 - a)
        numbers = {
            "biases.0.relative": (abs(held / full - 1), 1e-6 * abs(held / full)),
            "biases.0.cosine": (math.copysign(1, held / full), 1e-12),
        }
        for k, window in enumerate((2, 8, 20), start=1):
            numbers |= {f"biases.{k}.window": (window, 0), f"biases.{k}.relative": (1 - window / steps, 1e-9)}
        yield Known(f"bias-{name}", on_a_quadratic(eta, mg.Final(), [1.0]), steps, {}, numbers)


# -- least squares: the floor, and whether a validation objective is called for


def a_regression(n, d, sigma, seed=0):
    draw = np.random.default_rng(seed)
    w = draw.standard_normal(d)
    X, w = draw.standard_normal((n, d)), w / np.linalg.norm(w)
    return X, X @ w + sigma * draw.standard_normal(n), w


def floor():
    """w - w_ls shrinks by max |1 - eta s| a step, s the eigenvalues of X'X/n: w rounds after digits/rate steps."""
    X, y, _ = a_regression(40, 3, 0.5)
    eta = 0.3
    rate = math.log10(np.max(np.abs(1 - eta * np.linalg.eigvalsh(X.T @ X / 40))))
    for dtype, steps, regime in (("float32", 20, "contracting"), ("float32", 400, "floor"), ("float64", 800, "floor")):
        numbers = {"scaled.steps": (DIGITS[dtype] / -rate, 0.2 * DIGITS[dtype] / -rate)}
        if regime == "contracting":
            numbers = {"tangent.value.0": (rate, 0.1 * abs(rate))}

        def arguments():
            return mg.LeastSquares(X, y), mg.GradientDescent(), mg.Final("train"), eta

        yield Known(f"floor-{dtype}-{steps}", arguments, steps, {"regimes": (regime,)}, numbers, dtype)


def phase_diagram():
    """For large noise both ways to tune are equal at n/d = 2 sigma^2 + 0.85 (200 steps: 50.85 at sigma = 5)."""
    boundary = 2 * 5.0**2 + 1 - (2 * 200 * math.expm1(math.log(2) / 200) - 1) ** 2
    for name, sigma, ratio, verdict, measure in (
        ("few-noisy", 5.0, boundary / 3, "yes", "train"),
        ("many-noisy", 5.0, 3 * boundary, "no", "train"),
        ("few-clean", 0.01, 0.5, "no", "train"),  # 1/2 of the signal is out of reach; with half of n, 3/4
        ("used", 5.0, 10.0, "used", "validation"),
    ):
        n, d = round(ratio * 8), 8
        X, y, w = a_regression(n, d, sigma, seed=1)
        numbers = {"validation.ratio": (n / d, 0), "validation.noise": (sigma, 0.35 * sigma)}
        if sigma > 1:
            numbers["validation.boundary"] = (boundary, 0.7 * boundary)  # twice as sensitive to the noise

        def arguments(X=X, y=y, w=w, measure=measure):
            task = mg.LeastSquares(X, y, w_star=w, validation=(X, y))
            return task, mg.GradientDescent(), mg.Final(measure), 0.01

        words = {"validation.verdict": verdict}
        yield Known(f"validation-{name}", arguments, 200, words, {} if verdict == "used" else numbers)


def unknown_noise():
    """With n < d a fit is exact: the samples alone do not tell noise from signal."""
    X, y, _ = a_regression(5, 8, 1.0)

    def arguments():
        return mg.LeastSquares(X, y), mg.GradientDescent(), mg.Final("train"), 0.05

    yield Known("validation-unknown", arguments, 30, {"validation.verdict": "unknown"}, {})


# -- the logistic map: w - eta (w^2 - w) is x -> r x (1 - x) with r = 1 + eta, x = w eta/r


def cubic():
    start = np.array([[0.3141592653589793]])
    return mg.FunctionTask(lambda w: np.sum(w**3 / 3 - w**2 / 2, axis=-1), start)


def logistic_map():
    """Lyapunov numbers: ln 2 at r = 4, ln|4 + 2r - r^2|/2 on the cycle of two, ln|2 - r| at the fixed point."""
    for name, r, lyapunov, regime, tolerance in (
        ("chaos", 4.0, math.log(2), "chaotic", 0.1),
        ("cycle", 3.2, math.log(abs(4 + 2 * 3.2 - 3.2**2)) / 2, "floor", 1e-3),
        ("fixed-point", 2.8, math.log(0.8), "floor", 1e-3),
    ):
        steps = 400
        for dtype in ("float32", "float64"):
            growth = lyapunov / math.log(10)
            numbers = {"tangent.value.0": (growth, tolerance * abs(growth))}
            words = {"regimes": (regime,)}
            if regime == "chaotic":
                numbers["scaled.steps"] = (DIGITS[dtype] / growth, 0.1 * DIGITS[dtype] / growth)
                words |= {"trend": "exploding", "digits.gradient.0": 0.0}

            def arguments(r=r):
                return cubic(), mg.GradientDescent(), mg.Final(), r - 1

            yield Known(f"logistic-{name}-{dtype}", arguments, steps, words, numbers, dtype)


CASES = [
    *(one for dtype in MAX for one in descent(dtype)),
    *objectives(),
    *momentum(),
    *cheaper_gradients(),
    *floor(),
    *phase_diagram(),
    *unknown_noise(),
    *logistic_map(),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_known_answer(case):
    task, rule, objective, phi = case.arguments()
    found = mg.diagnose(task, rule, objective, phi, steps=case.steps, dtype=case.dtype)
    for path, expected in case.words.items():
        assert at(found, path) == expected, (path, at(found, path))
    for path, (expected, tolerance) in case.numbers.items():
        came = at(found, path)
        assert came == expected or abs(came - expected) <= tolerance, (path, came, expected)
