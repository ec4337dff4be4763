"""`ClosedForm` at every scale: right, or with a Status that says why not; against mpmath and exact fractions."""

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

from metagrad import (
    ClosedForm,
    DiagonalQuadratic,
    Final,
    GradientDescent,
    LeastSquares,
    LogFinal,
    Mean,
    MeanLog,
    Quadratic,
    Reverse,
    Scheduled,
    Status,
    random_least_squares,
)
from tests.estimators import closed_form_cases as cases

GD, Phi = GradientDescent(), GradientDescent.Phi
ROUNDING = Status.GRADIENT_ROUNDING


def as_mp(number):
    """Return the entries of a Scaled."""
    entries = zip(np.ravel(number.mantissa), np.ravel(number.exponent), strict=True)
    return [mp.mpf(float(m)) * mp.mpf(2) ** int(e) for m, e in entries]


def error(found, right):
    if found == right:
        return 0.0
    return float(abs(found - right) / max(abs(found), abs(right))) if mp.isfinite(found) else np.inf


@pytest.mark.parametrize("make", [cases.diagonal, cases.schedule, cases.dense, cases.regression])
def test_it_is_right_or_says_why(make):
    checked = flagged = 0
    for seed in range(120):
        case = make(np.random.default_rng([seed, 10]))
        if case is None:
            continue
        estimator = ClosedForm(gradient=case.gradient)
        found = estimator(case.task, case.rule, case.objective, Phi(np.asarray(case.eta)), steps=case.steps)
        checked, flagged = checked + 1, flagged + (not found.ok)
        if found.ok:
            right = [case.value, *case.slopes]
            assert max(map(error, as_mp(found.value) + as_mp(found.grad.eta), right)) < 0.1, (seed, case)
    assert checked > 90
    assert flagged < 0.2 * checked


def exact_log_slope(H, w, eta, steps):
    """Return (log F)'/T by the recursion of w and its derivative in fractions, and F."""
    H, w = [[Fraction(float(x)) for x in row] for row in H], [Fraction(float(x)) for x in w]
    eta, v = Fraction(float(eta)), [Fraction(0)] * len(w)
    for _ in range(steps):
        g, Hv = ([sum(h * x for h, x in zip(row, y, strict=True)) for row in H] for y in (w, v))
        v = [a - b - eta * c for a, b, c in zip(v, g, Hv, strict=True)]
        w = [a - eta * b for a, b in zip(w, g, strict=True)]
    g = [sum(h * x for h, x in zip(row, w, strict=True)) for row in H]
    value = sum(a * b for a, b in zip(w, g, strict=True)) / 2
    return sum(a * b for a, b in zip(v, g, strict=True)) / value / steps if value else None, value


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rank_deficient_matrices_by_exact_fractions(dtype):
    """H = A'A of integers, exactly singular: the null space adds nothing, and no Status is in the way."""
    checked = 0
    for seed in range(100):
        rng = np.random.default_rng([seed, 5])
        d = int(rng.integers(2, 7))
        rank = int(rng.integers(1, d))
        A = rng.integers(-2, 3, (rank, d))
        H, w0 = (A.T @ A).astype(dtype), rng.integers(-3, 4, d).astype(dtype)
        if not (H @ w0).any():
            continue
        eta, steps = float(np.float32(rng.uniform(0.1, 2.2) / np.linalg.eigvalsh(H.astype(float)).max())), 25
        right, _ = exact_log_slope(H, w0, eta, steps)
        found = ClosedForm()(Quadratic(H, w0), GD, LogFinal(), Phi(eta), steps=steps)
        if found.ok:
            assert float(found.grad.eta.to_float()) == pytest.approx(float(right), rel=1e-9), seed
        checked += found.ok
    assert checked > 80


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-2)])
def test_rank_deficient_gram_matrices_of_floats(dtype, tolerance):
    """H = A'A rounded: right where the rounding of H does not decide, and a Status where it does."""
    known = 0
    for seed in range(100):
        rng = np.random.default_rng([seed, 6])
        d, rank = int(rng.integers(3, 8)), int(rng.integers(1, 3))
        A, w0 = rng.normal(size=(rank, d)), rng.normal(size=d)
        S, Vt = np.linalg.svd(A, full_matrices=False)[1:]
        eta, steps = rng.uniform(0.2, 2.2) / S[0] ** 2, int(rng.choice([5, 20, 300]))
        with mp.workdps(60):
            right = cases.of_modes(cases.exact(S**2), cases.exact((Vt @ w0) ** 2), mp.mpf(eta), steps, LogFinal())
        task = Quadratic((A.T @ A).astype(dtype), w0.astype(dtype))
        found = ClosedForm()(task, GD, LogFinal(), Phi(eta), steps=steps)
        as_it_stands = found.ok and dtype is np.float32  # to a digit of what was meant
        assert error(as_mp(found.grad.eta)[0], right[1]) < (
            0.1 if as_it_stands else tolerance
        )  # of the rank that was meant, whatever the Status
        known += found.ok
    assert known > 30


TASKS = {
    "the mean of three": (Quadratic(np.ones((3, 3)) / 3, np.array([1.0, 2.0, 0.0])), 0.7, 20, -20 / 3),
    "rank one": (Quadratic(np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), np.array([1.0, 0.0, 0.0])), 0.1, 100, 70.0),
    "a start of 1e-200": (DiagonalQuadratic(np.array([2.0, 0.5]), np.array([1e-200, 1.0])), 1.4, 3000, 20 / 9),
    "starts at both ends": (DiagonalQuadratic(np.array([1.0, 0.5]), np.array([1e-200, 1e200])), 1.9, 400, None),
    "a curvature of 1e300": (DiagonalQuadratic(np.array([1e300]), np.array([1.0])), 1.5e-300, 100, 4e300),
}


@pytest.mark.parametrize("name", TASKS)
def test_values_that_were_wrong(name):
    task, eta, steps, right = TASKS[name]
    found = ClosedForm()(task, GD, LogFinal(), Phi(eta), steps=steps)
    if right is None:
        with mp.workdps(500):
            squares = [x * x for x in cases.exact(task.w0)]
            right = float(cases.of_modes(cases.exact(task.eigenvalues), squares, mp.mpf(eta), steps, LogFinal())[1])
    assert found.ok
    assert float(found.grad.eta.to_float()) == pytest.approx(right, rel=1e-13)


@pytest.mark.parametrize("objective", [Final(), LogFinal()])
@pytest.mark.parametrize("size", [1e300, 1e307, 1e-280])
@pytest.mark.parametrize("dense", [True, False])
def test_the_reverse_sweep_at_the_ends_of_the_range(objective, size, dense):
    """Products with H alone leave the range of floats, the steps do not."""
    H, w0 = np.array([size, size / 2]), np.array([1.0, 0.5])
    task = Quadratic(np.diag(H), w0) if dense else DiagonalQuadratic(H, w0)
    found, right = (e(task, GD, objective, Phi(1.5 / size), steps=50) for e in (Reverse(), ClosedForm()))
    assert found.ok
    assert float(found.grad.eta.relative_difference(right.grad.eta)) < 1e-11


@pytest.mark.parametrize(
    ("H", "w0", "eta"),
    [
        (np.ones((3, 3)) / 3, [1.0, 2.0, 0.0], 1.0),  # eta = 1/lambda: the factor is rounding
        (np.ones((3, 3)) / 3, [1.0, -1.0, 0.0], 0.7),  # the start is in the null space
        (np.diag([1.0, 1.0, 2.0]) + 1e-17 * np.ones((3, 3)), [1.0, 1.0, 1.0], 1.0),
    ],
)
def test_it_says_where_no_digit_is_left(H, w0, eta):
    found = ClosedForm()(Quadratic(H, np.array(w0)), GD, LogFinal(), Phi(eta), steps=30)
    (status,) = (Status.from_code(code) for code in found.status)
    # Where LAPACK has the eigenvalue, or the zero, to the bit, nothing is left at all, and the loss is 0.
    assert status is ROUNDING or (status is Status.LOG_OF_ZERO and found.value.mantissa[0] == -np.inf)


def test_an_eigenvalue_below_rounding_decides_and_it_says_so():
    """(1, 1e-20) rotated: after 400 steps the small one is all that is left, and H does not know it."""
    c, s = np.cos(0.3), np.sin(0.3)
    Q = np.array([[c, -s], [s, c]])
    task = Quadratic(Q * [1.0, 1e-20] @ Q.T, np.array([1.0, 1.0]))
    assert ClosedForm()(task, GD, LogFinal(), Phi(0.5), steps=10).ok
    assert not ClosedForm()(task, GD, LogFinal(), Phi(0.5), steps=400).ok
    plain = Quadratic(np.diag([1.0, 1e-20]), np.array([1.0, 1.0]))  # this one does
    found = ClosedForm()(plain, GD, Final(), Phi(0.5), steps=400)
    assert found.ok
    assert float(found.value.to_float()[0]) == pytest.approx(5e-21, rel=1e-12)


@pytest.mark.parametrize("measure", ["train", "excess", "validation", "risk"])
@pytest.mark.parametrize("steps", [100, 1000, 20_000])
def test_without_noise_the_solution_is_w_star(measure, steps):
    """Against w_t = w* + a^t (w_0 - w*) at 60 digits, far below the rounding of y."""
    task = random_least_squares(2, 24, 4, sigma=0.0, seed=1, split=0.5)
    eta = 0.9 / max(np.linalg.eigvalsh(X.T @ X / len(X)).max() for X in task.X)
    found = ClosedForm(per_task=True)(task, GD, LogFinal(measure), Phi(np.full(2, eta)), steps=steps)
    unrolled = task.centred(), GD, LogFinal(measure), Phi(np.full(2, eta))
    centred = Reverse(per_task=True)(*unrolled, steps=steps) if steps <= 1000 else None  # 20,000 steps take a minute
    for b in range(2):
        with mp.workdps(60):
            X, away = mp.matrix(task.X[b].tolist()), mp.matrix((-task.w_star[b]).tolist())
            values, V = mp.eigsy(X.T * X / X.rows)
            along = V.T * away
            left, rate = mp.matrix(4, 1), mp.matrix(4, 1)
            for j in range(4):
                a = 1 - mp.mpf(float(eta)) * values[j]
                left[j], rate[j] = a**steps * along[j], -steps * values[j] * a ** (steps - 1) * along[j]
            left, rate = V * left, V * rate
            rows = {"validation": mp.matrix(task.validation[0][b].tolist()), "risk": mp.eye(4)}.get(measure, X)
            square = sum(x * x for x in rows * left)
            right = 2 * sum(x * y for x, y in zip(rows * left, rows * rate, strict=True)) / square / steps
        assert float(found.grad.eta[b].to_float()) == pytest.approx(float(right), rel=1e-10)
        if centred is not None and centred.status[b] == 0:
            assert float(centred.grad.eta[b].to_float()) == pytest.approx(float(right), rel=1e-6)
    if steps == 100:
        assert found.ok
    if steps == 20_000 and measure != "excess":  # what the rounded y has left is something else
        assert not found.ok


def test_without_noise_in_exact_arithmetic_there_is_nothing_to_say():
    task = LeastSquares(np.array([[1.0]]), np.array([1.0]), w_star=np.array([1.0]))
    found = ClosedForm()(task, GD, Final("risk"), Phi(0.5), steps=600)
    assert found.ok
    assert float(found.value.log10abs()[0]) == pytest.approx(1200 * np.log10(0.5), rel=1e-13)


TWO = DiagonalQuadratic(np.ones((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ClosedForm()(TWO, GD, Final(), Phi(np.full(2, 0.1)), steps=3), "phi is eta of shape"),
        (lambda: ClosedForm(per_task=True)(TWO, GD, Final(), Phi(np.full(3, 0.1)), steps=3), "phi is eta of shape"),
        (
            lambda: ClosedForm()(TWO, Scheduled(GD), Final(), Phi(np.full(3, 0.1)), steps=5),
            "phi is an array of 3 steps",
        ),
        (lambda: ClosedForm()(TWO, GD, Final(), Phi(np.nan), steps=3), "phi.eta is not finite"),
        (lambda: ClosedForm()(TWO, GD, Final(), None, steps=3), "eta is a NoneType"),
        (lambda: ClosedForm()(TWO, GD, Final(), Phi("x"), steps=3), "phi.eta is of dtype"),
        (lambda: ClosedForm()(TWO, GD, Final(), Phi(0.1), steps=2.5), "steps is 2.5"),
        (lambda: ClosedForm()(TWO, GD, Final(), Phi(0.1), steps=0), "steps is 0"),
        (lambda: ClosedForm()(TWO, GD, Final(), Phi(0.1), steps=np.array([1, 2])), "steps is an array"),
        (lambda: ClosedForm()(TWO, GD, MeanLog(), Phi(0.1), steps=10**10), "steps is 10000000000 .* 6e[+]10 terms"),
        (lambda: ClosedForm(gradient="stop"), "gradient is 'stop'"),
        (lambda: ClosedForm(per_task="no"), "per_task is 'no'"),
    ],
)
def test_what_it_refuses(call, says):
    with pytest.raises((ValueError, TypeError), match=f"(closed_form|ClosedForm|an estimator): {says}.*; expected "):
        call()


def test_horizons_of_any_length_without_a_sum():
    for objective in (Final(), LogFinal(), Mean()):
        assert ClosedForm()(TWO, GD, objective, Phi(0.1), steps=10**10).ok
