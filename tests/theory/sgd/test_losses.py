"""Expected losses of SGD against enumeration in exact fractions, and against what they must be in special cases."""

from fractions import Fraction

import numpy as np
import pytest

from metagrad.theory import sgd
from metagrad.theory.sgd import SgdProblem
from tests.theory.sgd.reference import Sample, enumerated, exact

ERROR = 2e-13
# n, d, b, t: more samples than columns, fewer (singular H), one of each, and the full batch
SHAPES = [(3, 2, 1, 3), (3, 2, 2, 2), (2, 3, 1, 4), (2, 3, 2, 2), (1, 1, 1, 3), (1, 2, 2, 3), (3, 1, 3, 2)]
CASES = [
    (*shape, replacement) for shape in SHAPES for replacement in (True, False) if replacement or shape[2] <= shape[0]
]
ETAS = np.array([0.5, 0.125, 1.75, -0.25])


def relative(found, reference: Fraction) -> float:
    return float(abs(Fraction(float(found)) - reference) / max(abs(reference), Fraction(1, 1000)))


def measured(kind: str, sample: Sample, problem: SgdProblem):
    """The measure, with the rows, targets and factor that make it factor * ||rows w - targets||^2."""
    rng = np.random.default_rng(7)
    d = sample.X.shape[1]
    if kind == "train":
        return sgd.train_measure(problem), sample.X, sample.y, Fraction(1, 2 * len(sample.y))
    if kind == "validation":
        X, y = rng.integers(-4, 5, (3, d)) / 2, rng.integers(-4, 5, 3) / 2
        return sgd.validation_measure(problem, X, y), X, y, Fraction(1, 6)
    w_star = rng.integers(-4, 5, d) / 4
    return sgd.risk_measure(problem, w_star), np.eye(d), w_star, Fraction(1)


@pytest.mark.parametrize("kind", ["train", "validation", "risk"])
@pytest.mark.parametrize(("n", "d", "b", "t", "replacement"), CASES)
def test_value_and_slope_of_every_run_together(n, d, b, t, replacement, kind):
    sample = Sample.random(1, n, d)
    problem = SgdProblem(sample.X, sample.y, sample.w0, b, replacement)
    measure, rows, targets, factor = measured(kind, sample, problem)
    eta = 0.375
    ((values, slopes),) = sgd.values_and_slopes(problem, [measure], eta, t)
    for k in range(1, t + 1):
        value, slope = enumerated(sample, rows, targets, b, replacement, [Fraction(eta)] * k, [Fraction(1)] * k)
        assert relative(values[k].to_float(), value * factor) < ERROR
        assert relative(slopes[k].to_float(), slope * factor) < ERROR


@pytest.mark.parametrize("kind", ["train", "validation", "risk"])
@pytest.mark.parametrize(("n", "d", "b", "t", "replacement"), CASES)
def test_a_schedule_and_its_gradient(n, d, b, t, replacement, kind):
    sample = Sample.random(2, n, d)
    problem = SgdProblem(sample.X, sample.y, sample.w0, b, replacement)
    measure, rows, targets, factor = measured(kind, sample, problem)
    schedule = ETAS[:t]
    value = sgd.expected(problem, measure, schedule)[-1]
    gradient = sgd.schedule_gradient(problem, measure, schedule)
    for k in range(t):
        direction = [Fraction(int(j == k)) for j in range(t)]
        reference, slope = enumerated(sample, rows, targets, b, replacement, exact(schedule), direction)
        assert relative(value.to_float(), reference * factor) < ERROR
        assert relative(gradient[k].to_float(), slope * factor) < ERROR


def test_a_wrong_batch_rule_is_caught():
    """With replacement and without differ by far more than the error allowed above."""
    sample = Sample.random(1, 3, 2)
    found = [sgd.train_loss(SgdProblem(sample.X, sample.y, None, 2, rule), 0.375, 2)[-1].to_float() for rule in (0, 1)]
    assert abs(found[0] / found[1] - 1) > 1e-3


def test_moments_are_those_of_every_run():
    sample = Sample.random(3, 3, 2)
    mean, second = sgd.moments(SgdProblem(sample.X, sample.y, sample.w0, 1), 0.375, 2)
    for i in range(2):
        direction = [Fraction(1)] * 2
        square, _ = enumerated(sample, np.eye(2)[[i]], [0.0], 1, True, [Fraction(0.375)] * 2, direction)
        shifted, _ = enumerated(sample, np.eye(2)[[i]], [-1.0], 1, True, [Fraction(0.375)] * 2, direction)
        assert relative(second[i, i], square) < ERROR
        assert relative(mean[i], (shifted - square - 1) / 2) < ERROR


def test_a_random_start_is_the_average_over_its_starts():
    sample = Sample.random(4, 3, 2)
    starts = np.array([[1.0, 0.5], [-2.0, 0.25], [0.5, 3.0]])
    mixed = SgdProblem(sample.X, sample.y, starts.mean(0), 2, second_moment=starts.T @ starts / 3)
    at = (np.array([1.0, -1.0]), 0.3, 5)
    each = [sgd.risk(SgdProblem(sample.X, sample.y, w0, 2), *at).to_float() for w0 in starts]
    assert sgd.risk(mixed, *at).to_float() == pytest.approx(np.mean(each, axis=0), rel=1e-13)


def test_a_grid_of_step_sizes_is_each_of_them_alone():
    sample = Sample.random(5, 6, 3)
    problem = SgdProblem(sample.X, sample.y, sample.w0, 2)
    etas = np.array([[0.1, 0.2, 5.0], [0.3, -1.0, 0.0]])
    together = sgd.d_train_loss(problem, etas, 20)
    assert together.shape == (2, 3, 21)
    for index in np.ndindex(etas.shape):
        alone = sgd.d_train_loss(problem, etas[index], 20)
        np.testing.assert_allclose(together[index].log, alone.log, rtol=1e-12)
        assert np.array_equal(together[index].sign, alone.sign)


def test_one_shift_of_a_schedule_is_the_sum_of_its_gradient():
    sample = Sample.random(6, 5, 3)
    problem = SgdProblem(sample.X, sample.y, sample.w0, 2, False)
    schedule = np.linspace(0.4, 0.05, 30)
    gradient = sgd.schedule_gradient(problem, sgd.excess_measure(problem), schedule)
    slope = sgd.d_excess_train_loss(problem, schedule)[-1]
    assert gradient.sum().to_float() == pytest.approx(slope.to_float(), rel=1e-11)


@pytest.mark.parametrize("n", [4, 12])
def test_the_full_batch_without_replacement_is_gradient_descent(n):
    """Its excess loss is T1's, at horizons where it lies hundreds of orders of magnitude below the loss."""
    from metagrad.theory import quadratic

    sample = Sample.random(7, n, 4)
    problem = SgdProblem(sample.X, sample.y, sample.w0, n, False)
    U, S, Vt = np.linalg.svd(sample.X, full_matrices=False)
    spectrum = quadratic.Spectrum(S**2 / n, (Vt @ sample.w0 - U.T @ sample.y / S) ** 2)
    eta, steps = 0.9 / spectrum.L, np.array([1, 10, 300, 1000])
    value, slope = sgd.excess_train_loss(problem, eta, 1000), sgd.d_excess_train_loss(problem, eta, 1000)
    np.testing.assert_allclose(value.log[steps], quadratic.objective(spectrum, eta, steps).log, atol=1e-9)
    np.testing.assert_allclose(slope.log[steps], quadratic.d_objective(spectrum, eta, steps).log, atol=1e-9)
    gradient = sgd.schedule_gradient(problem, sgd.excess_measure(problem), np.full(1000, float(eta)))
    assert gradient.sum().log == pytest.approx(float(slope.log[-1]), abs=1e-9)


@pytest.mark.parametrize("eta", [3.0, 1e40])
def test_above_the_threshold_the_logarithm_grows_on(eta):
    """One column: E e^2 is multiplied by 1 - 2 eta h + eta^2 (m4/b + (1 - 1/b) h^2) in every step."""
    X, steps = np.array([[1.0], [2.0], [0.5]]), 600
    problem = SgdProblem(X, X[:, 0], None, 2)
    h, m4 = np.mean(X**2), np.mean(X**4)
    q, dq = 1 - 2 * eta * h + eta**2 * (m4 + h**2) / 2, -2 * h + eta * (m4 + h**2)
    assert q > 1
    value, slope = sgd.risk(problem, [1.0], eta, steps), sgd.d_risk(problem, [1.0], eta, steps)
    np.testing.assert_allclose(value.log[1:], np.arange(1, steps + 1) * np.log(q), rtol=1e-12)
    assert slope.log[-1] == pytest.approx(np.log(steps * dq) + (steps - 1) * np.log(q), rel=1e-12)
    gradient = sgd.schedule_gradient(problem, sgd.risk_measure(problem, [1.0]), np.full(steps, eta))
    np.testing.assert_allclose(gradient.log, np.log(dq) + (steps - 1) * np.log(q), rtol=1e-12)
    with pytest.raises(OverflowError, match="to_float"):
        value.to_float()
    with pytest.raises(OverflowError, match="smaller eta"):
        sgd.moments(problem, eta, steps)


def test_noise_below_the_loss_by_many_orders_is_kept():
    """From w_0 at the solution, one step of SGD makes an excess of eta^2, however small."""
    X, y = np.array([[1.0], [1.0]]), np.array([1.0, -1.0])
    excess = sgd.excess_train_loss(SgdProblem(X, y), 1e-40, 1)[-1]
    assert excess.to_float() == pytest.approx(0.5e-80, rel=1e-12)


def test_nearly_collinear_columns_do_not_spoil_the_risk():
    """w_0 = 0 hardly moves along a direction of tiny curvature, where the least-squares solution is near 10^8."""
    rng = np.random.default_rng(8)
    sample = Sample(rng.normal(size=(6, 2)), rng.normal(size=6), np.zeros(2))
    sample.X[:, 1] = sample.X[:, 0] + 1e-8 * sample.X[:, 1]
    problem = SgdProblem(sample.X, sample.y, None, 1)
    assert np.linalg.norm(np.linalg.lstsq(sample.X, sample.y, rcond=None)[0]) > 1e6
    found = sgd.risk(problem, [1.0, 1.0], 0.25, 3)[-1]
    reference, _ = enumerated(sample, np.eye(2), [1.0, 1.0], 1, True, [Fraction(0.25)] * 3, [Fraction(1)] * 3)
    assert relative(found.to_float(), reference) < ERROR


@pytest.mark.parametrize(("n", "d", "b", "replacement"), [(5, 3, 1, True), (5, 3, 2, False), (3, 4, 2, True)])
def test_the_threshold_is_where_the_spectral_radius_crosses_one(n, d, b, replacement):
    sample = Sample.random(9, n, d)
    problem = SgdProblem(sample.X, sample.y, None, b, replacement)
    U, S, _ = np.linalg.svd(sample.X, full_matrices=False)
    rows = U * S
    H = rows.T @ rows / n
    eye = np.eye(len(S))
    fourth = np.mean([np.kron(np.outer(x, x), np.outer(x, x)) for x in rows], axis=0)

    def radius(eta: float) -> float:
        first = np.kron(H, eye) + np.kron(eye, H)
        second = problem.spread * fourth + (1 - problem.spread) * np.kron(H, H)
        return float(np.max(np.abs(np.linalg.eigvals(np.eye(len(S) ** 2) - eta * first + eta**2 * second))))

    eta = sgd.stability_threshold(problem)
    assert radius(eta * (1 - 1e-6)) < 1 < radius(eta * (1 + 1e-6))
    assert radius(eta) == pytest.approx(1, abs=1e-10)


def test_the_threshold_grows_with_the_batch_up_to_that_of_gradient_descent():
    sample = Sample.random(10, 8, 3)
    found = [sgd.stability_threshold(SgdProblem(sample.X, sample.y, None, b, False)) for b in range(1, 9)]
    assert np.all(np.diff(found) > 0)
    assert found[-1] == pytest.approx(2 / np.linalg.eigvalsh(sample.X.T @ sample.X / 8)[-1], rel=1e-12)


def test_a_run_at_the_threshold_is_bounded_and_above_it_is_not():
    sample = Sample.random(11, 6, 3)
    problem = SgdProblem(sample.X, sample.y, sample.w0, 1)
    eta = sgd.stability_threshold(problem)
    below, above = (sgd.risk(problem, np.zeros(3), factor * eta, 1500) for factor in (0.98, 1.02))
    assert below.log[-1] == pytest.approx(below.log[-500], abs=1e-6)
    assert above.log[-1] > above.log[-500] + 1


@pytest.mark.parametrize(("n", "d", "b"), [(6, 3, 2), (3, 4, 1), (5, 2, 5)])
@pytest.mark.parametrize("eta", [0.1, 0.0, 4.0])
def test_powers_of_the_map_are_its_steps(n, d, b, eta):
    """In the stable range and above it, with noise and without (fewer samples than columns; the full batch)."""
    sample = Sample.random(13, n, d)
    problem = SgdProblem(sample.X, sample.y, sample.w0, b, False)
    measures = [sgd.excess_measure(problem), sgd.risk_measure(problem, np.ones(d)), sgd.train_measure(problem)]
    steps = np.array([1, 2, 7, 700])
    powers = sgd.at_steps(problem, measures, [eta, 0.5 * eta], steps)
    recursed = sgd.values_and_slopes(problem, measures, [eta, 0.5 * eta], 700)
    for found, reference in zip(powers, recursed, strict=True):
        for number, exact_number in zip(found, reference, strict=True):
            expected = exact_number[:, steps]
            assert number.shape == (2, 4)
            assert np.array_equal(number.sign, expected.sign)
            np.testing.assert_allclose(number.log, expected.log, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize(("inputs", "targets"), [(1e-25, 1.0), (1e25, 1e-8), (1.0, 1e8), (1e-3, 1e-12)])
def test_units_do_not_matter(inputs, targets):
    """The loss is in units of y^2, eta in those of 1/x^2; the constant 1 and S may be 100 orders apart."""
    sample = Sample.random(15, 5, 3)
    plain = SgdProblem(sample.X, sample.y, sample.w0, 2)
    scaled = SgdProblem(inputs * sample.X, targets * sample.y, targets / inputs * sample.w0, 2)
    eta, steps = 0.5 * sgd.stability_threshold(plain), [1, 3, 500]
    ((value, slope),) = sgd.at_steps(plain, [sgd.train_measure(plain)], eta, steps)
    for measure in (sgd.at_steps, sgd.values_and_slopes):
        at = steps if measure is sgd.at_steps else 500
        ((found, d_found),) = measure(scaled, [sgd.train_measure(scaled)], eta / inputs**2, at)
        chosen = slice(None) if measure is sgd.at_steps else steps
        np.testing.assert_allclose(found.log[chosen] - 2 * np.log(targets), value.log, atol=1e-10)
        np.testing.assert_allclose(d_found.log[chosen] - 2 * np.log(targets * inputs), slope.log, atol=1e-9)


def test_a_million_steps_reach_the_stationary_risk():
    """Its moments solve S = S - eta P + eta^2 Q: one more step changes nothing, and the start is forgotten."""
    sample = Sample.random(14, 6, 3)
    problems = [SgdProblem(sample.X, sample.y, w0, 1) for w0 in (sample.w0, np.full(3, 1e6))]
    eta = 0.5 * sgd.stability_threshold(problems[0])
    found = [sgd.at_steps(p, [sgd.risk_measure(p, np.ones(3))], eta, [10**6, 10**6 + 1])[0] for p in problems]
    np.testing.assert_allclose(found[0][0].log, found[1][0].log[0], rtol=1e-9)
    np.testing.assert_allclose(found[0][1].log, found[1][1].log[0], rtol=1e-7)


def test_a_million_steps_of_gradient_descent_keep_their_digits():
    from metagrad.theory import quadratic

    problem = SgdProblem([[1.0], [2.0]], [1.0, 1.0], [3.0], 2, False)
    spectrum = quadratic.Spectrum([2.5], [(3.0 - 0.6) ** 2])
    ((value, slope),) = sgd.at_steps(problem, [sgd.excess_measure(problem)], 0.3, [10**6])
    assert value.log[0] == pytest.approx(float(quadratic.objective(spectrum, 0.3, 10**6).log), rel=1e-12)
    assert slope.log[0] == pytest.approx(float(quadratic.d_objective(spectrum, 0.3, 10**6).log), rel=1e-12)


def test_fifty_columns_and_a_thousand_steps_agree_with_the_average_over_runs():
    """A Monte-Carlo average of 400 runs at d = 50; the interval is four standard errors."""
    rng = np.random.default_rng(12)
    n, d, b, runs, steps, eta = 100, 50, 5, 400, 150, 0.05
    X, y = rng.normal(size=(n, d)), rng.normal(size=n)
    w = np.zeros((runs, d))
    for _ in range(steps):
        batch = rng.integers(0, n, (runs, b))
        x = X[batch]
        w -= eta / b * np.einsum("rbd,rb->rd", x, np.einsum("rbd,rd->rb", x, w) - y[batch])
    losses = np.mean((w @ X.T - y) ** 2, axis=1) / 2
    error = losses.std() / np.sqrt(runs)
    exact_loss = float(sgd.train_loss(SgdProblem(X, y, None, b), eta, steps)[-1].to_float())
    assert abs(losses.mean() - exact_loss) < 4 * error
    other = float(sgd.train_loss(SgdProblem(X, y, None, b, False), eta, steps)[-1].to_float())
    wrong = float(sgd.train_loss(SgdProblem(X, y, None, b + 1), eta, steps)[-1].to_float())
    assert abs(losses.mean() - wrong) > 8 * error
    assert other < exact_loss
