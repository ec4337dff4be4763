"""SGD averaged over the targets, against sums over the unit vectors of w* and of the noise, in exact fractions.

The losses are quadratic in (w*, xi), without a linear or constant part: their average over independent, isotropic w*
and xi is that sum, and nothing is drawn.
"""

from fractions import Fraction

import numpy as np
import pytest

from metagrad.theory import sgd
from metagrad.theory.least_squares import Regression, average_case
from metagrad.theory.sgd import SgdAverage, SgdProblem
from tests.theory.sgd.reference import Sample, enumerated

ERROR = 2e-13
SHAPES = [(3, 2, 1, 3), (3, 2, 2, 2), (2, 3, 1, 4), (2, 3, 2, 2), (1, 1, 1, 3), (1, 2, 2, 3), (3, 1, 3, 2)]
CASES = [
    (*shape, replacement) for shape in SHAPES for replacement in (True, False) if replacement or shape[2] <= shape[0]
]
ETA, SIGMA, SIGNAL = 0.375, 1.5, 0.75
X_VAL = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])


def inputs(n: int, d: int, kind: str) -> np.ndarray:
    """Inputs (n, d); "open": the last column all but repeats the first."""
    X = Sample.random(4, n, d).X
    if kind == "open" and d > 1:
        X[:, -1] = X[:, 0] + 2.0**-12 * np.arange(1, n + 1)
    return X


def targets(n: int, d: int):
    """The unit vectors of (w*, xi), each with its weight in the average."""
    for i in range(d):
        yield Fraction(SIGNAL) / d, np.eye(d)[i], np.zeros(n)
    for i in range(n):
        yield Fraction(SIGMA) ** 2, np.zeros(d), np.eye(n)[i]


def summed(X, measure: str, how, steps: int):
    """The average over batches and targets, and its derivative in eta."""
    n, d = X.shape
    value = slope = Fraction(0)
    rows, factor = {
        "train": (X, Fraction(1, 2 * n)),
        "risk": (np.eye(d), Fraction(1)),
        "validation": (X_VAL[:, :d], Fraction(1, 4)),
    }[measure]
    for weight, w_star, noise in targets(n, d):
        y = X @ w_star + noise
        goal = y if measure == "train" else rows @ w_star
        schedule = [Fraction(ETA)] * steps
        found = enumerated(Sample(X, y, np.zeros(d)), rows, goal, *how, schedule, [Fraction(1)] * steps)
        value, slope = value + weight * factor * found[0], slope + weight * factor * found[1]
    return value + (Fraction(SIGMA) ** 2 / 2 if measure == "validation" else 0), slope


def average(X, b: int, replacement: bool, **levels) -> SgdAverage:
    return SgdAverage(
        SgdProblem(X, np.zeros(len(X)), None, b, replacement), **{"sigma": SIGMA, "signal": SIGNAL} | levels
    )


def measured(found: SgdAverage, name: str):
    return found.validation(X_VAL[:, : found.X.shape[1]]) if name == "validation" else getattr(found, name)


def relative(found, exact: Fraction) -> float:
    return float(abs(Fraction(float(found)) - exact) / max(abs(exact), Fraction(1, 1000)))


@pytest.mark.parametrize("kind", ["kept", "open"])
@pytest.mark.parametrize("measure", ["train", "risk", "validation"])
@pytest.mark.parametrize(("n", "d", "b", "t", "replacement"), CASES)
def test_value_and_slope_are_sums_over_all_targets_and_batches(n, d, b, t, replacement, measure, kind):
    X = inputs(n, d, kind)
    of = average(X, b, replacement)
    ((values, slopes),) = sgd.values_and_slopes(of, [measured(of, measure)], ETA, t)
    ((value, slope),) = sgd.at_steps(of, [measured(of, measure)], ETA, [t])
    exact, exact_slope = summed(X, measure, (b, replacement), t)
    for found in (values[t], value[0]):
        assert relative(found.to_float(), exact) < ERROR
    for found in (slopes[t], slope[0]):
        assert relative(found.to_float(), exact_slope) < ERROR


def test_the_case_with_an_open_direction_has_one():
    assert list(average(inputs(3, 2, "open"), 1, True).kept) == [True, False]
    assert list(average(inputs(3, 2, "kept"), 1, True).kept) == [True, True]


def test_a_wrong_noise_level_is_caught():
    X = inputs(3, 2, "kept")
    of = average(X, 1, True, sigma=1.01 * SIGMA)
    exact, _ = summed(X, "risk", (1, True), 2)
    assert relative(sgd.expected(of, of.risk, ETA, 2)[-1].to_float(), exact) > 1e-3


@pytest.mark.parametrize(("n", "d"), [(30, 12), (12, 30), (20, 20)])
def test_all_samples_at_once_are_gradient_descent(n, d):
    rng = np.random.default_rng(n)
    X, X_val, etas = rng.standard_normal((n, d)), rng.standard_normal((7, d)), np.array([0.01, 0.2, 0.5])
    of, levels = average(X, n, False), {"sigma": SIGMA, "signal": SIGNAL}
    found = sgd.values_and_slopes(of, [of.train, of.risk, of.validation(X_val)], etas, 50)
    given = Regression.of(X, np.zeros(n))
    about = (etas, 50)
    references = [
        (average_case.expected_train_loss, average_case.d_expected_train_loss, ()),
        (average_case.expected_risk, average_case.d_expected_risk, ()),
        (average_case.expected_validation_loss, average_case.d_expected_validation_loss, (X_val,)),
    ]
    for (value, slope), (exact, exact_slope, other) in zip(found, references, strict=True):
        np.testing.assert_allclose(
            value[:, -1].to_float(), exact(given, *other, *about, **levels).to_float(), rtol=1e-9
        )
        np.testing.assert_allclose(
            slope[:, -1].to_float(), exact_slope(given, *other, *about, **levels).to_float(), rtol=1e-8
        )


@pytest.mark.parametrize("n", [6, 14])
def test_noise_and_signal_add_up(n):
    """So that two runs give every noise level."""
    X = np.random.default_rng(3).standard_normal((n, 9))
    halves = [average(X, 2, True, sigma=a, signal=b) for a, b in ((0.0, 1.0), (1.0, 0.0))]
    for name in ("train", "excess", "risk"):
        signal, noise = (sgd.expected(half, getattr(half, name), 0.05, 40).to_float() for half in halves)
        both = average(X, 2, True)
        found = sgd.expected(both, getattr(both, name), 0.05, 40).to_float()
        np.testing.assert_allclose(found, SIGNAL * signal + SIGMA**2 * noise, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("n", [6, 14])
def test_the_excess_is_the_loss_above_its_least_value(n):
    X = np.random.default_rng(4).standard_normal((n, 9))
    of = average(X, 1, True)
    train, excess = (sgd.expected(of, measure, 0.02, 30).to_float() for measure in (of.train, of.excess))
    np.testing.assert_allclose(train - excess, SIGMA**2 * (1 - min(n, 9) / n) / 2, rtol=1e-12, atol=1e-13)


def test_with_fewer_samples_than_inputs_the_loss_falls_far_below_rounding():
    X = np.random.default_rng(5).standard_normal((4, 40))
    of = average(X, 1, True)
    loss = sgd.expected(of, of.train, 0.4 * sgd.stability_threshold(of.problem), 3000)
    early, late = loss.log[1000] - loss.log[500], loss.log[3000] - loss.log[2500]
    assert loss.log[-1] < -60
    assert early == pytest.approx(late, rel=0.05)


@pytest.mark.parametrize("name", ["sigma", "signal"])
@pytest.mark.parametrize("level", [-1.0, np.nan, 1e200])
def test_levels_that_are_none(name, level):
    with pytest.raises(ValueError, match=f"SgdAverage: {name}"):
        average(np.eye(2), 1, True, **{name: level})


def test_validation_inputs_of_another_width():
    with pytest.raises(ValueError, match="X_val"):
        average(np.eye(2), 1, True).validation(np.ones((3, 3)))
