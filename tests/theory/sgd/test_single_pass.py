"""SGD on fresh samples: against exact fractions, 50 digits, the closed form, differences, and simulated runs."""

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagrad.theory.sgd import single_pass as sp
from metagrad.theory.sgd.single_pass import SinglePass
from tests.theory.reference import log_error

LAMBDA, START = np.array([2.0, 0.5, 0.0, 0.125]), np.array([1.0, 3.0, 2.0, 0.25])


def recursion(problem, eta, steps, number):
    """s_t and ds_t/deta by the recursion of the second moment in `number`s (mpf or Fraction)."""
    lam, s = ([number(float(x)) for x in array] for array in (problem.eigenvalues, problem.start))
    ds, h, b = [number(0)] * len(s), number(float(eta)), problem.batch_size
    noise = number(float(problem.sigma)) ** 2
    for _ in range(steps):
        total = sum(x * v for x, v in zip(lam, s, strict=True)) + noise
        slope = sum(x * v for x, v in zip(lam, ds, strict=True))
        pairs = list(zip(lam, s, ds, strict=True))
        ds = [
            v - 2 * x * (u + h * v) + (1 + number(1) / b) * x**2 * (2 * h * u + h**2 * v)
            + x / b * (2 * h * total + h**2 * slope)
            for x, u, v in pairs
        ]  # fmt: skip
        s = [(1 - 2 * h * x + h**2 * (1 + number(1) / b) * x**2) * u + h**2 * x / b * total for x, u, _ in pairs]
    return s, ds


@pytest.mark.parametrize("b", [1, 3])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
@pytest.mark.parametrize("eta", [0.25, -0.125, 1.5, 0.5])
def test_value_and_slope_against_fractions(b, sigma, eta):
    problem = SinglePass(LAMBDA, START, sigma, b)
    steps = np.array([1, 2, 3, 12])
    risk, slope = sp.risk(problem, eta, steps).to_float(), sp.d_risk(problem, eta, steps).to_float()
    loss, d_loss = sp.excess_loss(problem, eta, steps).to_float(), sp.d_excess_loss(problem, eta, steps).to_float()
    for i, t in enumerate(steps):
        s, ds = recursion(problem, eta, t, Fraction)
        assert risk[i] == pytest.approx(float(sum(s)), rel=1e-14)
        assert slope[i] == pytest.approx(float(sum(ds)), rel=1e-12)
        assert loss[i] == pytest.approx(
            float(sum(Fraction(x) * v for x, v in zip(LAMBDA, s, strict=True)) / 2), rel=1e-14
        )
        assert d_loss[i] == pytest.approx(
            float(sum(Fraction(x) * v for x, v in zip(LAMBDA, ds, strict=True)) / 2), rel=1e-12
        )


@pytest.mark.parametrize("eta", [0.3, 5.0])
def test_two_thousand_steps_against_fifty_digits(eta):
    """Below the threshold without noise the risk vanishes; above, it explodes: 10^-1300 and 10^5000."""
    problem = SinglePass(LAMBDA[:2], START[:2], 0.0, 2)
    with mp.workdps(50):
        s, ds = recursion(problem, eta, 2000, mp.mpf)
        assert log_error(sp.risk(problem, eta, 2000), mp.fsum(s)) < 1e-14
        assert log_error(sp.d_risk(problem, eta, 2000), mp.fsum(ds)) < 1e-14


def test_a_million_steps_reach_the_limit():
    problem = SinglePass(LAMBDA, START, 0.7, 2)
    eta = 0.4 * sp.stability_threshold(problem)
    assert sp.risk(problem, eta, 10**6).to_float() == pytest.approx(sp.limit_risk(problem, eta), rel=1e-9)
    h = 1e-6 * eta
    slope = (sp.limit_risk(problem, eta + h) - sp.limit_risk(problem, eta - h)) / (2 * h)
    assert sp.d_risk(problem, eta, 10**6).to_float() == pytest.approx(slope, rel=1e-8)


def test_a_million_steps_without_noise_fall_at_the_rate_of_the_largest_root():
    problem = SinglePass([1.0, 0.25], [1.0, 1.0])
    eta, t = 0.4, 10**6
    A = np.diag(1 - 2 * eta * problem.eigenvalues + 2 * eta**2 * problem.eigenvalues**2)
    roots, vectors = np.linalg.eigh(A + eta**2 * np.outer(problem.eigenvalues, problem.eigenvalues))
    log = t * np.log(roots[-1]) + 2 * np.log(abs(np.sum(vectors[:, -1])))  # s_0 = 1 in both coordinates
    assert sp.risk(problem, eta, t).log == pytest.approx(log, rel=1e-14)


@pytest.mark.parametrize(("d", "b"), [(1, 1), (5, 1), (5, 8), (40, 3)])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_the_isotropic_closed_form_is_the_recursion(d, b, sigma):
    problem = SinglePass(np.ones(d), np.full(d, 2.0 / d), sigma, b)
    etas, steps = np.array([[0.01], [2 * b / (d + b + 1)], [1.0], [3.0], [-0.1]]), np.array([1, 2, 50, 10**5])
    at = {"start": 2.0, "sigma": sigma, "batch_size": b}
    closed, slope = sp.isotropic_risk(d, etas, steps, **at), sp.d_isotropic_risk(d, etas, steps, **at)
    found, d_found = sp.risk(problem, etas, steps), sp.d_risk(problem, etas, steps)
    np.testing.assert_allclose(closed.log, found.log, rtol=1e-10, atol=1e-10)
    assert np.array_equal(slope.sign, d_found.sign)
    np.testing.assert_allclose(slope.log, d_found.log, rtol=1e-9, atol=1e-9)


def test_the_isotropic_closed_form_against_fifty_digits():
    for eta, t in ((0.1, 10**6), (1 / 3, 7), (2.0, 10**4), (1e-9, 10**6), (0.0, 5)):
        with mp.workdps(50):
            h, q = mp.mpf(eta), 1 - 2 * mp.mpf(eta) + mp.mpf(eta) ** 2 * (2 + 1 + 6) / 2
            dq = -2 + mp.mpf(eta) * 9
            G = (1 - q**t) / (1 - q) if eta else mp.mpf(t)
            dG = (-t * q ** (t - 1) * (1 - q) + 1 - q**t) / (1 - q) ** 2 if eta else mp.mpf(t) * (t - 1) / 2
            value = q**t * 4 + mp.mpf(0.25) * h**2 * 3 * G
            slope = t * q ** (t - 1) * dq * 4 + mp.mpf(0.25) * 3 * (2 * h * G + h**2 * dG * dq)
            at = {"start": 4.0, "sigma": 0.5, "batch_size": 2}
            assert log_error(sp.isotropic_risk(6, eta, t, **at), value) < 1e-10
            assert log_error(sp.d_isotropic_risk(6, eta, t, **at), slope) < 1e-10


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=6),
    st.integers(1, 20),
)
def test_the_threshold_is_where_the_largest_root_is_one(eigenvalues, b):
    lam = np.array(eigenvalues)
    eta = sp.stability_threshold(SinglePass(lam, np.ones_like(lam), 0.0, b))

    def largest(h: float) -> float:
        A = np.diag(1 - 2 * h * lam + h**2 * (1 + 1 / b) * lam**2) + h**2 / b * np.outer(lam, lam)
        return float(np.linalg.eigvalsh(A)[-1])

    assert largest(eta * (1 + 1e-6)) > 1 - 1e-15
    assert largest(eta) == pytest.approx(1, abs=1e-12)
    assert largest(0.999 * eta) < 1


@pytest.mark.parametrize(("d", "b"), [(1, 1), (10, 4), (1000, 1)])
def test_the_isotropic_threshold(d, b):
    problem = SinglePass(np.full(d, 3.0), np.ones(d), 0.0, b)
    assert sp.stability_threshold(problem) == pytest.approx(2 * b / (d + b + 1) / 3, rel=1e-14)


def simulated(problem, eta, steps, runs, seed):
    """The squared distance to w* of `runs` runs after `steps` steps."""
    rng = np.random.default_rng(seed)
    e = np.sqrt(problem.start) * rng.choice([-1.0, 1.0], (runs, len(problem.start)))
    for _ in range(steps):
        x = np.sqrt(problem.eigenvalues) * rng.standard_normal((runs, problem.batch_size, len(problem.start)))
        residual = np.einsum("rbd,rd->rb", x, e) - problem.sigma * rng.standard_normal((runs, problem.batch_size))
        e -= eta / problem.batch_size * np.einsum("rbd,rb->rd", x, residual)
    return np.sum(e**2, axis=1)


def test_simulated_runs_agree_and_a_wrong_batch_size_does_not():
    problem = SinglePass(LAMBDA, START, 0.5, 2)
    found = simulated(problem, 0.25, 15, 20_000, 3)
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - sp.risk(problem, 0.25, 15).to_float()) < 4 * error
    wrong = SinglePass(LAMBDA, START, 0.5, 3)
    assert abs(found.mean() - sp.risk(wrong, 0.25, 15).to_float()) > 8 * error


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (([1.0], [1.0, 2.0]), ValueError, "start is of shape"),
        (([], []), ValueError, "d >= 1"),
        (([-1.0], [1.0]), ValueError, "eigenvalues is -1"),
        (([1.0], [-1.0]), ValueError, "start is -1"),
        (([np.nan], [1.0]), ValueError, "eigenvalues is nan"),
        (([1.0], [1.0], -0.5), ValueError, "sigma is -0.5"),
        (([1.0], [1.0], np.inf), ValueError, "sigma is inf"),
        (([1.0], [1.0], 0.0, 0), ValueError, "batch_size is 0"),
        (([1.0], [1.0], 0.0, 1.0), TypeError, "batch_size is a float"),
    ],
)
def test_problems_that_are_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        SinglePass(*arguments)


def test_calls_that_are_refused():
    problem = SinglePass([1.0], [1.0])
    with pytest.raises(ValueError, match="risk: eta is nan"):
        sp.risk(problem, np.nan, 3)
    with pytest.raises(ValueError, match=r"risk: eta is 1e\+80"):
        sp.risk(problem, 1e80, 3)
    with pytest.raises(ValueError, match="steps is 0"):
        sp.excess_loss(problem, 0.1, 0)
    with pytest.raises(ValueError, match="there is no limit"):
        sp.limit_risk(problem, 1.0)
    with pytest.raises(ValueError, match="Every step size is stable"):
        sp.stability_threshold(SinglePass([0.0], [1.0]))
    with pytest.raises(ValueError, match="d is 0"):
        sp.isotropic_risk(0, 0.1, 3, start=1.0, sigma=0.0)
    with pytest.raises(ValueError, match="start is -1"):
        sp.isotropic_risk(1, 0.1, 3, start=-1.0, sigma=0.0)


def test_without_curvature_nothing_moves():
    problem = SinglePass([0.0, 0.0], [1.0, 2.0], 1.0)
    assert sp.risk(problem, 0.5, 10).to_float() == pytest.approx(3.0, rel=1e-15)
    assert sp.d_risk(problem, 0.5, 10).sign == 0


@pytest.mark.parametrize("d", [1, 10, 1000, 10_000])
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_the_threshold_has_all_digits_at_any_size_and_dimension(d, batch_size, size):
    eigenvalues = size * np.exp(np.random.default_rng(d).uniform(-6, 0, d))
    found = sp.stability_threshold(SinglePass(eigenvalues, np.ones(d), batch_size=batch_size))
    with mp.workdps(40):
        lam, eta = [mp.mpf(float(x)) for x in eigenvalues], mp.mpf(found)
        terms = [2 - eta * (1 + mp.mpf(1) / batch_size) * x for x in lam]
        excess = mp.fsum(eta * x / y for x, y in zip(lam, terms, strict=True)) - batch_size
        slope = mp.fsum(2 * x / y**2 for x, y in zip(lam, terms, strict=True))
        assert float(abs(excess / (slope * eta))) < 2e-14  # a Newton step, relative
