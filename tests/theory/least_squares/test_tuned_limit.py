"""Tuned step sizes in the limit: against brute-force search, known values, and the paper's statements."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from metagrad.theory.least_squares import generalization as gen
from metagrad.theory.least_squares import proportional_limit as pl
from metagrad.theory.least_squares import tuned_limit as tl


@pytest.mark.parametrize("gamma", [0.2, 0.9, 3.0])
@pytest.mark.parametrize("sigma", [0.0, 0.3, 4.0])
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_step_sizes_beat_a_fine_search(gamma, sigma, steps):
    about = {"gamma": gamma, "sigma": sigma}
    top = 2.5 / (1 + np.sqrt(gamma)) ** 2
    grid = np.concatenate([np.geomspace(1e-6, top, 4000), np.linspace(1e-6, top, 4000)])
    for choose, f in ((tl.step_size_tbt, pl.train_loss), (tl.step_size_tbv, pl.risk)):
        start = grid[np.argmin(f(grid, steps, **about).log)]
        best = minimize_scalar(lambda eta, f=f: f(eta, steps, **about).log, bracket=(start * 0.99, start, start * 1.01))
        eta = choose(steps, **about)
        assert f(eta, steps, **about).log <= best.fun + 1e-12
        np.testing.assert_allclose(eta, best.x, rtol=1e-3)  # flat: the search itself is not closer


def test_train_by_train_interpolates_in_the_end():
    for gamma in (0.3, 2.0):
        errors = [
            abs(tl.step_size_tbt(t, gamma=gamma, sigma=1.0) - gen.interpolation_step_size(gamma)) for t in (50, 5000)
        ]
        assert errors[1] < errors[0] / 20
        found = tl.risk_tbt(3000, ratio=1 / gamma, sigma=0.7)
        np.testing.assert_allclose(found, gen.interpolation_risk(gamma, sigma=0.7), rtol=1e-9)
    # from the plateau of loss values, where they are equal to the last bit, the step size could not be told
    np.testing.assert_allclose(tl.step_size_tbt(200, gamma=0.1, sigma=1.0), 0.908330252, rtol=1e-8)


def test_the_global_minimum_is_taken_where_there_are_two():
    about = {"gamma": 0.5, "sigma": 0.3}
    eta = tl.step_size_tbv(200, **about)
    slopes = pl.d_risk(np.linspace(1e-4, 0.7, 20000), 200, **about).sign
    turns = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0))
    assert len(turns) == 2  # the other one lies behind a flat plateau
    candidates = np.linspace(1e-4, 0.7, 20000)[turns]
    risks = pl.risk(candidates, 200, **about).to_float()
    assert abs(eta - candidates[np.argmin(risks)]) < 1e-4
    assert abs(eta - candidates[np.argmax(risks)]) > 0.1


def test_the_boundary_is_where_both_risks_are_equal():
    found = tl.boundary(40, sigma=[1.0, 0.5, 0.1], points=48)
    assert [len(x) for x in found] == [1, 2, 0]
    np.testing.assert_allclose(found[0], [2.941], atol=5e-4)
    np.testing.assert_allclose(found[1], [0.671, 1.219], atol=5e-4)
    for ratio in found[0]:
        tbt, tbv = (f(40, ratio=ratio, sigma=1.0) for f in (tl.risk_tbt, tl.risk_tbv))
        np.testing.assert_allclose(tbt, tbv, rtol=1e-9)
        assert tl.advantage(40, ratio=ratio * 0.99, sigma=1.0) > 0 > tl.advantage(40, ratio=ratio * 1.01, sigma=1.0)


def test_with_all_samples_at_the_end_train_by_validation_wins_more_often():
    half, whole = tl.Tuning(), tl.Tuning(retrain=True)
    ratio = np.geomspace(0.2, 20, 12)
    gain = tl.advantage(40, ratio=ratio, sigma=1.0, tuning=whole) - tl.advantage(
        40, ratio=ratio, sigma=1.0, tuning=half
    )
    assert np.all(gain > 0)


def test_statements_of_the_paper_hold_in_the_limit():
    ratio = np.array([0.25, 0.5, 0.75])
    assert np.all(gen.few_samples_separate(200, ratio=ratio, sigma=5.0))
    assert not np.any(gen.few_samples_separate(200, ratio=10.0, sigma=5.0))  # many samples: nothing is overfitted
    np.testing.assert_allclose(gen.noise_fitted(200, ratio=ratio, sigma=5.0), [0.363, 1.020, 2.940], atol=6e-4)
    np.testing.assert_allclose(gen.signal_learned(200, ratio=ratio, sigma=5.0), [0.957, 0.953, 0.948], atol=6e-4)
    constants = [float(gen.signal_learned(200, ratio=0.5, sigma=s)) for s in (2.0, 10.0, 50.0)]
    assert constants[0] < constants[1] < constants[2] < 1
    np.testing.assert_allclose(constants[2], 1, atol=1e-3)
    many = np.array([10.0, 100.0, 1000.0])
    found = gen.excess_over_optimum(tl.risk_tbt(200, ratio=many, sigma=1.0), ratio=many, sigma=1.0)
    np.testing.assert_allclose(found, [1.1111, 1.0101, 1.0010], atol=1e-4)
    assert gen.many_samples_agree(200, ratio=100.0, sigma=1.0, eps=0.05)
    assert not gen.many_samples_agree(200, ratio=1.5, sigma=1.0, eps=0.05)


def test_the_global_minimum_against_a_dense_scan():
    """At random points no step size of a scan that is 60 times finer reaches a lower risk."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        t, gamma = int(rng.choice([1, 2, 3, 8, 21, 40])), float(np.exp(rng.uniform(-3, 3)))
        about = {"gamma": gamma, "sigma": float(np.exp(rng.uniform(-5, 3)))}
        top = 5 / (1 + np.sqrt(gamma)) ** 2
        scan = np.concatenate([np.geomspace(1e-6, top, 1500), np.linspace(1e-6, top, 2500)])
        best = np.min(pl.risk(scan, t, **about).log)
        assert pl.risk(tl.step_size_tbv(t, **about), t, **about).log <= best + 1e-12, (t, about)


def test_without_noise_risks_leave_the_floats_and_their_order_does_not():
    about = {"ratio": np.array([2.0, 10.0]), "sigma": 0.0}
    tbt, tbv = tl.reached_tbt(1000, **about), tl.reached_tbv(1000, **about)
    assert np.all(tbt.log < tbv.log)  # half of the samples learn more slowly
    assert tbt.log10[1] < -400
    with pytest.raises(OverflowError, match=r"10\^-4"):
        tl.risk_tbt(1000, **about)
    assert tl.boundary(1000, sigma=0.0, span=(2.0, 10.0), points=4)[0].size == 0


def test_a_small_gain_keeps_its_digits():
    gains = gen.signal_learned(50, ratio=0.5, sigma=np.array([1e3, 1e6, 1e12]))
    np.testing.assert_allclose(1 - gains, [1.25e-6, 1.25e-12, 0], rtol=1e-3, atol=1e-14)
    gain, risk = (f(7, ratio=2.0, sigma=1.0) for f in (tl.gain_tbv, tl.risk_tbv))
    np.testing.assert_allclose(gain, 1 - risk, rtol=1e-13)


def test_extreme_arguments():
    """Little or much signal only moves the step size: far below 1/s_+ it is signal/(sigma^2 gamma t)."""
    for signal in (1e-70, 1e-12):
        eta = tl.step_size_tbv(5, gamma=0.5, sigma=1.0, signal=signal)
        np.testing.assert_allclose(eta, signal / (0.5 * 5), rtol=1e-9)
    for gamma in (1e-8, 1.0, 1e8):
        risk = pl.risk(tl.step_size_tbv(5, gamma=gamma, sigma=1.0), 5, gamma=gamma, sigma=1.0)
        assert risk.log < 0
    assert tl.step_size_tbv(np.int8(100), gamma=1.0, sigma=1.0) == tl.step_size_tbv(100, gamma=1.0, sigma=1.0)
    assert tl.step_size_tbv(5, gamma=np.ones((0, 2)), sigma=1.0).shape == (0, 2)
    assert tl.boundary(5, sigma=[]) == []


def test_shapes():
    gamma, sigma = np.array([[0.5], [2.0]]), np.array([0.2, 1.0, 3.0])
    eta = tl.step_size_tbv(9, gamma=gamma, sigma=sigma)
    assert eta.shape == (2, 3)
    np.testing.assert_allclose(eta[1, 2], tl.step_size_tbv(9, gamma=2.0, sigma=3.0), rtol=1e-12)
    assert np.shape(tl.step_size_tbv(9, gamma=2.0, sigma=3.0)) == ()


BAD = [
    (lambda: tl.step_size_tbv(5, gamma=1.0, sigma=1.0, signal=0.0), "signal is 0"),
    (lambda: tl.step_size_tbv(5, gamma=-1.0, sigma=1.0), "gamma is -1"),
    (lambda: tl.step_size_tbt(5, gamma=1.0, sigma=-1.0), "sigma is -1"),
    (lambda: tl.risk_tbt(5, ratio=0.0, sigma=1.0), "ratio is 0"),
    (lambda: tl.Tuning(split=1.0), "Both parts need samples"),
    (lambda: tl.Tuning(split=0.0), "split is 0"),
    (lambda: tl.step_size_tbv([5, 6], gamma=1.0, sigma=1.0), "one horizon"),
    (lambda: tl.boundary(5, sigma=1.0, span=(10.0, 1.0)), "span and points"),
    (lambda: tl.boundary(5, sigma=1.0, points=1), "span and points"),
    (lambda: tl.boundary(5, sigma=[[1.0]]), "sigma is of shape"),
    (lambda: tl.boundary(5, sigma=1.0, signal=[1.0, 2.0]), "signal is of shape"),
    (lambda: gen.noise_fitted(5, ratio=1.0, sigma=0.0), "sigma is 0"),
    (lambda: gen.excess_over_optimum(np.nan, ratio=1.0, sigma=1.0), "risk is nan"),
    (lambda: gen.excess_over_optimum(1.0, ratio=1.0, sigma=0.0), "sigma is 0"),
    (lambda: gen.interpolation_step_size(-1.0), "gamma is -1"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
