"""Starts learned with and without a split: moments by hand, drawn tasks, the limit, and what is proved."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate

from metagrad.theory.least_squares import marchenko_pastur, proportional_limit
from metagrad.theory.starts import split, split_limit, wishart


def draw_meta_gradients(seed, n, d, alpha, steps, train, sigma, count=40_000):
    """Return the meta-gradient at w* (count, d) and the trace of its derivative over d (count,), by the recursion."""
    r = np.random.default_rng(seed)
    X, w = r.standard_normal((count, n, d)), r.standard_normal((count, d)) / np.sqrt(d)
    y = np.einsum("tnd,td->tn", X, w) + sigma * r.standard_normal((count, n))
    first = n if train is None else train
    a, b = (X[:, :first], y[:, :first]), ((X, y) if train is None else (X[:, first:], y[:, first:]))
    S = np.einsum("tni,tnj->tij", a[0], a[0]) / first
    S_b = np.einsum("tni,tnj->tij", b[0], b[0]) / b[1].shape[1]
    P, at = np.broadcast_to(np.eye(d), S.shape), np.zeros((count, d))
    for _ in range(steps):
        at = at - alpha * np.einsum("tnd,tn->td", a[0], np.einsum("tnd,td->tn", a[0], at) - a[1]) / first
        P = P - alpha * S @ P
    slope = np.einsum("tnd,tn->td", b[0], np.einsum("tnd,td->tn", b[0], at) - b[1]) / b[1].shape[1]
    derivative = np.einsum("tji,tjk,tki->t", P, S_b, P) / d
    return np.einsum("tij,ti->tj", P, slope), derivative


@pytest.mark.parametrize(
    ("powers", "expected"),
    [
        ((0,), lambda n, d: d),
        ((1,), lambda n, d: n * d),
        ((2,), lambda n, d: n * d * (n + d + 1)),
        ((1, 1), lambda n, d: n * d * (n * d + 2)),
        ((3,), lambda n, d: n * d * (n**2 + d**2 + 3 * n * d + 3 * n + 3 * d + 4)),
    ],
)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 3), (2, 7)])
def test_moments_by_hand(powers, expected, n, d):
    assert wishart.moment(n, d, powers) == expected(n, d)


def test_one_column_is_chi_square():
    """d = 1: W is chi-square of n degrees of freedom, of the moments n (n + 2) ... (n + 2m - 2)."""
    for n in (1, 4):
        for powers in ((6,), (4, 2), (1, 2, 3)):
            assert wishart.moment(n, 1, powers) == np.prod([n + 2 * j for j in range(6)])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("n", "d", "alpha", "steps", "train"),
    [(6, 4, 0.2, 2, None), (9, 4, 0.15, 3, 5), (3, 5, 0.08, 3, None), (8, 5, 0.1, 1, 2)],
)
def test_drawn_tasks(seed, n, d, alpha, steps, train):
    sigma = 0.8
    gradients, derivative = draw_meta_gradients(seed, n, d, alpha, steps, train, sigma)
    found = split.meta_moments(n, d, alpha, steps, train=train)
    squares = np.sum(gradients**2, axis=1)
    for drawn, expected in (
        (derivative, float(found.kappa)),
        (squares, float(found.spread) + sigma**2 * float(found.noise)),
    ):
        assert abs(drawn.mean() - expected) < 4.5 * drawn.std() / np.sqrt(len(drawn))
    assert split.start_error(n, d, alpha, steps, train=train, sigma=sigma) == pytest.approx(
        (float(found.spread) + sigma**2 * float(found.noise)) / float(found.kappa) ** 2, rel=1e-12
    )


@pytest.mark.parametrize("train", [None, 0.5, 0.25])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_limit_of_many_inputs(gamma, train):
    limit = split_limit.steps_limit(gamma, 0.2, 2, share=train, sigma=0.7)
    off = []
    for d in (256, 1024):
        n = int(d / gamma)
        found = split.start_error(n, d, 0.2, 2, train=None if train is None else int(train * n), sigma=0.7)
        off.append(abs(found / limit - 1))
    assert off[1] < 0.01
    assert off[0] / off[1] == pytest.approx(4, rel=0.15)  # of first order in 1/d


@pytest.mark.parametrize("gamma", [0.3, 1.0, 3.0])
def test_ridge_against_adaptive_integration(gamma):
    low, high = (float(x) for x in marchenko_pastur.edges(gamma))
    delta, sigma = 0.4, 0.6

    def mean(f):
        inside = integrate.quad(lambda s: f(s) * float(marchenko_pastur.density(s, gamma)), low, high, limit=400)[0]
        return inside + max(0.0, 1 - 1 / gamma) * f(0.0)

    kappa = mean(lambda s: s / (s + delta) ** 2)
    above = mean(lambda s: (s**2 + sigma**2 * gamma * s) / (s + delta) ** 4)
    assert split_limit.ridge_limit(gamma, delta, sigma=sigma) == pytest.approx(above / kappa**2, rel=1e-6)
    expected = 1 / mean(lambda s: s / (s + sigma**2 * gamma))
    assert split_limit.least_error(gamma, sigma=sigma) == pytest.approx(expected, rel=1e-6)
    b2, q = (lambda s: (delta / (s + delta)) ** 2), (lambda s: s / (s + delta) ** 2)
    half = mean(lambda s: b2(s) ** 2) + 0.9 * mean(b2) ** 2
    half += sigma**2 * (gamma * (mean(lambda s: b2(s) * q(s)) + 0.9 * mean(b2) * mean(q)) + 0.9 * mean(b2))
    found = split_limit.ridge_limit(1 / (1 / gamma + 1 / 0.9), delta, share=0.9 / (gamma + 0.9), sigma=sigma)
    assert found == pytest.approx(half / mean(b2) ** 2, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
@pytest.mark.parametrize(("n", "d"), [(4, 8), (10, 10), (30, 10)])
def test_what_is_proved(n, d, sigma):
    """No split beats all samples held out; without a split the slope at alpha = 0 is below it, by the formula."""
    least = 1 + Fraction(d + 1, n) + Fraction(sigma) ** 2 * Fraction(d, n)
    assert split.start_error(n, d, 0.0, 1, train=0, sigma=sigma) == pytest.approx(float(least), rel=1e-14)
    for train in {1, n // 2, n - 1}:
        for alpha in (0.01, 0.05, 0.1):
            assert float(split.meta_moments(n, d, alpha, 3, train=train).kappa) <= 1
            bound = 1 + (d + 1) / (n - train) + sigma**2 * d / (n - train)
            assert split.start_error(n, d, alpha, 3, train=train, sigma=sigma) >= bound >= float(least)
    two, three = (wishart.moment(n, d, (j,)) / (d * n**j) for j in (2, 3))
    slope = (split.start_error(n, d, 1e-7, 3, sigma=sigma) - float(least)) / 1e-7
    assert slope == pytest.approx(-12 * (three - two**2), rel=1e-4)
    assert slope < 0


def test_no_way_beats_gauss_and_markov():
    for gamma in (0.3, 1.0, 3.0):
        for sigma in (0.0, 0.5, 2.0):
            least = split_limit.least_error(gamma, sigma=sigma)
            for decay in (0.1, 1.0, 10.0):
                for share in (None, 0.0, 0.5):
                    assert split_limit.ridge_limit(gamma, decay, share=share, sigma=sigma) >= least


@pytest.mark.parametrize("gamma", [0.25, 1.0, 4.0])
def test_ridge_without_a_split_is_near_the_least_error(gamma):
    found = min(split_limit.ridge_limit(gamma, decay, sigma=1.0) for decay in np.geomspace(0.5, 50, 60))
    assert 1 <= found / split_limit.least_error(gamma, sigma=1.0) < 1.003


def test_the_risks_of_a_step_size_tend_to_the_limit():
    exact = [split.adapted_risk(2 * d, d, 0.3, 4, sigma=0.8) for d in (50, 200)]
    losses = [split.adapted_train_loss(2 * d, d, 0.3, 4, sigma=0.8) for d in (50, 200)]
    risk = float(proportional_limit.risk(0.3, 4, gamma=0.5, sigma=0.8).to_float())
    loss = float(proportional_limit.train_loss(0.3, 4, gamma=0.5, sigma=0.8).to_float())
    for found, limit in ((exact, risk), (losses, loss)):
        assert abs(found[1] - limit) < 0.3 * abs(found[0] - limit) < 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wishart.moment(3, 2, (16, 16)), "powers is .*at most 30"),
        (lambda: wishart.moment(3, 2, ()), "at least one integer"),
        (lambda: split.meta_moments(4, 2, 0.1, 8), "steps is 8; expected at most 7"),
        (lambda: split.meta_moments(4, 2, 0.1, 2, train=4), "train is 4; expected fewer than all n = 4"),
        (lambda: split.meta_moments(4, 2, 0.1, 2, scale=0.0), "scale is 0"),
        (lambda: split.start_error(4, 2, 0.1, 2, sigma=-1), "sigma is -1"),
        (lambda: split.adapted_risk(4, 2, 0.1, 8), "steps is 8"),
        (lambda: split_limit.ridge_limit(1.0, 0.0), "decay is 0"),
        (lambda: split_limit.steps_limit(1.0, 0.1, 2, share=1.0), "share is 1"),
        (lambda: split_limit.least_error(-1.0), "gamma is -1"),
        (lambda: split_limit.least_error(1.0, signal=0.0), "signal is 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
