"""The best schedules on average: 30-digit integrals, exact rationals, whole matrices, and that nothing does better."""

import time
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

from metagrad.theory import schedules
from metagrad.theory.schedules import descent, optimal, orthogonal, proportional
from metagrad.theory.schedules.average_case import AverageCase

CASES = [(0.25, 0.0, 3), (0.5, 1.0, 4), (0.5, 0.05**0.5, 8), (1.0, 0.5, 8), (1.0, 0.0, 5), (2.0, 1.0, 6), (2.0, 0.0, 4)]
# the values of the best T steps with noise, to the digits that were known beforehand
KNOWN = [
    (0.5, 1.0, 1, 1 / 2), (0.5, 1.0, 2, 3 / 7), (0.5, 1.0, 4, 17 / 41), (0.5, 1.0, 8, 0.4142139268),
    (0.5, 0.05, 4, 0.0684375912), (0.5, 0.05, 8, 0.0465979782), (1.0, 0.25, 8, 0.3905275778),
    (2.0, 1.0, 6, 0.7807765627),
]  # fmt: skip


def drawn(seed, size=7, *, noise=0.3, at_zero=0.2):
    r = np.random.default_rng(seed)
    return AverageCase(r.uniform(0.1, 3.0, size), r.uniform(0.1, 1.0, size), at_zero, signal=1.7, noise=noise)


def oracle(problem, etas, decay):
    """Return the risk at 30 digits, from the definition: (1 - sq)^2 + noise s q^2 at each eigenvalue."""
    total = mp.mpf(problem.at_zero) * problem.signal
    for s, w in zip(map(mp.mpf, problem.nodes), map(mp.mpf, problem.weights), strict=True):
        A = mp.mpf(1)
        for eta in etas:
            A *= 1 - eta * (s + decay)
        q = (1 - A) / (s + decay)
        total += w * (problem.signal * (1 - s * q) ** 2 + problem.noise * s * q**2)
    return total


def integral(gamma, noise, etas, decay):
    """Return the risk in the limit at 30 digits by integration over the law of Marchenko and Pastur."""
    g, v = mp.mpf(gamma), mp.mpf(noise)

    def inner(angle):
        sine, cosine = mp.sin(angle / 2), mp.cos(angle / 2)
        s = (1 - mp.sqrt(g)) ** 2 + 4 * mp.sqrt(g) * cosine**2
        q = mp.mpf(0)
        for eta in etas:
            q += eta * (1 - (s + decay) * q)
        weight = 2 * sine**2 / mp.pi if g == 1 else 8 * (sine * cosine) ** 2 / (mp.pi * s)
        return weight * ((1 - s * q) ** 2 + v * s * q**2)

    # mass 1 - 1/gamma at 0 for gamma > 1
    return mp.quad(inner, mp.linspace(0, mp.pi, 9)) + max(mp.mpf(0), 1 - 1 / g)


@pytest.mark.parametrize(("gamma", "variance", "steps", "expected"), KNOWN)
def test_the_known_values(gamma, variance, steps, expected):
    found = proportional.best_risk(steps, gamma=gamma, sigma=variance**0.5)
    assert abs(found - expected) < 6e-11
    problem = AverageCase.limit(gamma, steps, sigma=variance**0.5)
    etas = proportional.best_schedule(steps, gamma=gamma, sigma=variance**0.5)
    np.testing.assert_allclose(schedules.risk(problem, etas, decay=problem.decay).to_float(), found, rtol=1e-13)


@pytest.mark.parametrize(("gamma", "sigma", "steps"), CASES)
def test_the_limit_at_thirty_digits(gamma, sigma, steps):
    with mp.workdps(35):
        g, v = mp.mpf(gamma), mp.mpf(sigma) ** 2 * mp.mpf(gamma)
        z = (1 + g + v) / (2 * mp.sqrt(g))
        etas = [1 / (v + 1 + g + 2 * mp.sqrt(g) * mp.cos(k * mp.pi / (steps + 1))) for k in range(1, steps + 1)]
        closed = 1 - mp.chebyu(steps - 1, z) / (mp.sqrt(g) * mp.chebyu(steps, z))
        assert abs(integral(gamma, v, etas, v) - closed) < mp.mpf(10) ** -25
        bayes = 1 - (z - mp.sqrt(z * z - 1)) / mp.sqrt(g)
    ask = {"gamma": gamma, "sigma": sigma}
    np.testing.assert_allclose(
        np.sort(proportional.best_schedule(steps, **ask)), np.sort(np.array(etas, float)), rtol=1e-14
    )
    np.testing.assert_allclose(proportional.best_risk(steps, **ask), float(closed), rtol=1e-14)
    np.testing.assert_allclose(proportional.bayes_risk(**ask), float(bayes), rtol=1e-14, atol=1e-30)
    left = proportional.best_excess(steps, **ask).to_float()
    np.testing.assert_allclose(left, float(closed - bayes), rtol=1e-13)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_the_rule_of_few_nodes_has_the_risk_of_the_limit(gamma, decay):
    """T nodes for T steps, whatever the schedule and the decay."""
    etas = [0.3, 0.7, -0.2, 0.5]
    problem = AverageCase.limit(gamma, 4, sigma=0.8)
    with mp.workdps(30):
        expected = integral(gamma, problem.noise, etas, decay)
    np.testing.assert_allclose(schedules.risk(problem, etas, decay=decay).to_float(), float(expected), rtol=1e-13)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decay", [0.0, 0.3 / 1.7, 0.05, 2.0])
def test_risk_and_derivatives_at_thirty_digits(seed, decay):
    problem = drawn(seed)
    etas = np.random.default_rng(50 + seed).uniform(-0.2, 1.5, 5)
    etas[1] = 1 / (problem.nodes[2] + decay)  # a factor that is 0, or next to it
    with mp.workdps(40):
        exact = [mp.mpf(float(x)) for x in etas]
        value = oracle(problem, exact, mp.mpf(decay))
        slope = [
            mp.diff(lambda x, k=k: oracle(problem, [*exact[:k], x, *exact[k + 1 :]], mp.mpf(decay)), exact[k])
            for k in range(5)
        ]
        turn = mp.diff(lambda x: oracle(problem, exact, x), mp.mpf(decay), direction=1 if decay == 0 else 0)
    np.testing.assert_allclose(schedules.risk(problem, etas, decay=decay).to_float(), float(value), rtol=1e-13)
    size = max(abs(float(x)) for x in slope)
    found = schedules.d_risk(problem, etas, decay=decay).to_float()
    np.testing.assert_allclose(found, np.array(slope, float), rtol=1e-11, atol=1e-13 * size)
    np.testing.assert_allclose(schedules.d_risk_decay(problem, etas, decay=decay).to_float(), float(turn), rtol=1e-10)


def test_exact_rationals():
    """17/41 by the recursion of the matrices themselves: moments of the law are integers over powers of n/d."""
    found = [Fraction(1), Fraction(2)]  # p_0, p_1 at gamma = delta = 1/2
    for _ in range(3):
        found.append(2 * found[-1] - Fraction(1, 2) * found[-2])
    assert 1 - found[3] / found[4] == Fraction(17, 41)


@pytest.mark.parametrize(("n", "d"), [(12, 5), (4, 6)])
def test_a_sample_by_whole_matrices(n, d):
    """E||w_T - w*||^2 given X, from the matrices that the recursion multiplies targets and signal by."""
    r = np.random.default_rng(n)
    X, sigma, signal, decay = r.standard_normal((n, d)), 0.7, 1.3, 0.2
    H, etas = X.T @ X / n, [0.3, 0.1, 0.4]
    of_signal, of_noise = np.zeros((d, d)), np.zeros((d, n))
    for eta in etas:
        of_signal = of_signal - eta * (H @ of_signal - H + decay * of_signal)
        of_noise = of_noise - eta * (H @ of_noise - X.T / n + decay * of_noise)
    expected = signal / d * np.sum((of_signal - np.eye(d)) ** 2) + sigma**2 * np.sum(of_noise**2)
    problem = AverageCase.of(np.linalg.eigvalsh(H), n, sigma=sigma, signal=signal)
    np.testing.assert_allclose(schedules.risk(problem, etas, decay=decay).to_float(), expected, rtol=1e-12)
    assert problem.at_zero == pytest.approx(max(0, 1 - n / d))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_nothing_beats_the_best_schedule(seed, steps):
    """Its slope vanishes in the steps and in the decay, and the best polynomial by least squares is no better."""
    problem = drawn(seed)
    etas = schedules.best_schedule(problem, steps)
    value = schedules.best_risk(problem, steps)
    scale = np.abs(schedules.d_risk(problem, 0.7 * etas, decay=problem.decay).to_float()).max()
    assert np.abs(schedules.d_risk(problem, etas, decay=problem.decay).to_float()).max() < 1e-12 * scale
    assert abs(schedules.d_risk_decay(problem, etas, decay=problem.decay).to_float(ieee=True)) < 1e-11 * scale
    with mp.workdps(30):  # min over q of a quadratic, in the basis of powers
        s, w = problem.nodes, problem.weights
        gram, aim = mp.zeros(steps), mp.zeros(steps, 1)
        for a in range(steps):
            aim[a] = mp.fsum(mp.mpf(p) * x ** (a + 1) for x, p in zip(map(mp.mpf, s), w, strict=True)) * problem.signal
            for b in range(steps):
                gram[a, b] = mp.fsum(
                    mp.mpf(p) * (problem.signal * x ** (a + b + 2) + problem.noise * x ** (a + b + 1))
                    for x, p in zip(map(mp.mpf, s), w, strict=True)
                )
        best = (
            problem.signal * (mp.mpf(problem.at_zero) + mp.fsum(map(mp.mpf, w))) - (aim.T * mp.lu_solve(gram, aim))[0]
        )
    np.testing.assert_allclose(value, float(best), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_zeros_are_those_of_the_orthogonal_polynomial(seed):
    problem = drawn(seed)
    for steps in range(1, 7):
        found = orthogonal.zeros(problem, steps)
        values = np.prod(problem.nodes[:, None] - found, axis=1)
        sizes = np.prod(np.abs(problem.nodes[:, None] - found), axis=1)
        for power in range(steps):  # orthogonal to every lower power
            weight = problem.weights * problem.nodes ** (power + 1)
            assert abs(np.sum(weight * values)) < 1e-11 * np.sum(weight * sizes)
    np.testing.assert_allclose(orthogonal.zeros(problem, 7), problem.nodes, rtol=1e-13)
    assert schedules.best_excess(problem, 7).log == -np.inf


@pytest.mark.parametrize("gamma", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("steps", [2, 17, 60])
def test_closed_form_and_lanczos_agree(gamma, steps):
    problem = AverageCase.limit(gamma, 2 * steps, sigma=0.4)
    closed = proportional.best_schedule(steps, gamma=gamma, sigma=0.4)
    np.testing.assert_allclose(optimal.best_schedule(problem, steps), closed, rtol=1e-10)


def test_extremes_of_the_limit():
    assert proportional.best_risk(10, gamma=1.0) == pytest.approx(1 / 11, rel=1e-14)
    assert proportional.best_excess(10_000, gamma=0.25).log == pytest.approx(10_000 * np.log(0.25) + np.log(0.75))
    assert proportional.bayes_risk(gamma=0.5, sigma=1e-30) == pytest.approx(1e-60, rel=1e-12)  # gamma sigma^2/(1-gamma)
    grid = proportional.best_risk(3, gamma=[0.5, 1.0, 2.0], sigma=0.3, signal=[[1.0], [2.0]])
    assert grid.shape == (2, 3)
    np.testing.assert_allclose(grid[1], 2 * proportional.best_risk(3, gamma=[0.5, 1.0, 2.0], sigma=0.3 / 2**0.5))
    long = proportional.best_risk(1000, gamma=0.5, sigma=1.0)
    assert long == pytest.approx(2**0.5 - 1, rel=1e-14)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 3.0])
def test_the_excess_falls_by_the_rate(sigma):
    slope = np.diff([float(proportional.best_excess(t, gamma=0.5, sigma=sigma).log) for t in (20, 21)])
    np.testing.assert_allclose(slope, 2 * proportional.log_rate(gamma=0.5, sigma=sigma), rtol=1e-3)


def test_factors_of_any_size():
    """1000 steps of 1e3 and of 1e-3: nothing overflows, and the logarithm is that of the dominant mode."""
    problem = AverageCase([1.0, 2.0], [1.0, 1.0])
    found = schedules.risk(problem, np.full(1000, 1e3))
    assert found.log == pytest.approx(2000 * np.log(1999.0), rel=1e-12)
    slope = schedules.d_risk(problem, np.full(1000, 1e3))
    assert np.all(slope.sign == 1)
    expected = np.log(4) + 1999 * np.log(1999.0)
    np.testing.assert_allclose(slope.log, expected, rtol=1e-12)


def test_long_schedules_are_cheap():
    """The closed form in no time, and value and gradient at most twice a rollout's cost (best of three, each)."""

    def seconds(call):
        found = []
        for _ in range(3):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
        return min(found)

    assert seconds(lambda: proportional.best_schedule(1000, gamma=0.5)) < 1.0
    d, n, r = 1000, 1000, np.random.default_rng(0)
    X, y = r.standard_normal((n, d)), r.standard_normal(n)
    problem = AverageCase.of(np.linspace(0.0, 4.0, d), n, sigma=1.0)
    etas = r.uniform(0.1, 0.5, 1000)

    def rollout():
        w = np.zeros(d)
        for eta in etas:
            w = w - eta * (X.T @ (X @ w - y) / n)

    assert seconds(lambda: schedules.d_risk(problem, etas)) < 2 * seconds(rollout)


def test_descent_finds_the_closed_form():
    """From an almost straight line, without noise and with decay."""
    for gamma, sigma, steps in ((0.25, 0.0, 3), (1.0, 0.0, 4), (0.5, 1.0, 3)):
        problem = AverageCase.limit(gamma, steps, sigma=sigma)
        start = np.linspace(0.9, 1.1, steps) / (1 + gamma)
        found = descent.descended(problem, start, decay=problem.decay)
        expected = proportional.best_schedule(steps, gamma=gamma, sigma=sigma)
        np.testing.assert_allclose(np.sort(found)[::-1], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: AverageCase([0.0, 1.0], [0.5, 0.5]), "at_zero"),
        (lambda: AverageCase.of([0.0, 0.0], 3), "not all 0"),
        (lambda: AverageCase.of([-0.1, 1.0], 3), "at least 0"),
        (lambda: AverageCase.limit(0.0, 3), "d/n > 0"),
        (lambda: AverageCase.limit(0.5, 0), "at least 1"),
        (lambda: AverageCase.limit(0.5, 3, sigma=-1.0), "at least 0"),
        (lambda: schedules.risk(AverageCase.limit(0.5, 3), np.ones(4)), "AverageCase.limit"),
        (lambda: schedules.risk(AverageCase.limit(0.5, 3), np.ones(0)), "T >= 1"),
        (lambda: schedules.best_schedule(AverageCase([1.0, 2.0], [1.0, 1.0]), 3), "leave no error"),
        (lambda: proportional.best_schedule(0, gamma=0.5), "at least 1"),
        (lambda: proportional.best_schedule(3, gamma=0.5, signal=0.0), "w = 0 is best"),
    ],
)
def test_what_is_out_of_range_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
