"""The phase diagram of SGD: its curves are the theory's, its choices are minima, its verdict can fail."""

import numpy as np
import pytest

from analysis import _sgd_boundaries, _tuned_curves, _tuned_runs, sgd_phase
from analysis.framework.contract import Context, Table
from metagrad.theory import sgd
from metagrad.theory.least_squares import tuned_limit
from metagrad.theory.sgd import limit as sgd_limit
from metagrad.xp import rng

TINY = sgd_phase.Config(
    d=6,
    inputs=6,
    targets=(10, 40),
    per_octave=1,
    nodes=18,
    noises=30,
    batches=(1, 2, 0),
    exact_ratios=(1.0, 4.0),
    run_ratios=(1.0,),
)


@pytest.fixture(scope="module")
def parts():
    return [sgd_phase.compute(TINY, shard, Context(0, "cpu")) for shard in sgd_phase.shards(TINY)]


@pytest.fixture(scope="module")
def table(parts):
    return sgd_phase.assemble(TINY, parts)


def test_parts_are_those_of_the_recursion(parts):
    index = sgd_phase.shards(TINY).index({"what": "given", "ratio": 2.0, "batch": 2})
    X = rng(0, "sgd_phase", "inputs").standard_normal((6, 24, 6))[1, :12]
    steps, part = 4 * 12 // 2, parts[index]
    problem = sgd.SgdProblem(X, np.zeros(12), None, 2)
    for column, (name, sigma, signal) in enumerate([("train", 0, 1), ("train", 1, 0), ("risk", 0, 1), ("risk", 1, 0)]):
        average = sgd.SgdAverage(problem, sigma, signal)
        found = sgd.expected(average, getattr(average, name), part["times"][1, 5] / steps, steps)[-1]
        assert part["values"][1, 1, 5, column] == pytest.approx(float(found.to_float()), rel=1e-10)


def test_the_map_holds_the_risks_at_the_best_times():
    """Against a fine grid of training times, without interpolation."""
    ratios, sigmas = TINY.axes
    risks = sgd_phase._map(TINY, 4)
    r, s = 3, 20
    times = np.linspace(0.002, 0.95, 600) * 4 * 2 * ratios[r]
    levels = {"gamma": 1 / ratios[r], "sigma": sigmas[s]}
    best = times[np.argmin(sgd_limit.train_loss(times, 4, **levels).log)]
    assert risks[0, r, s] == pytest.approx(float(sgd_limit.risk(best, 4, **levels).to_float()), rel=2e-2)
    levels = {"gamma": 2 / ratios[r], "sigma": sigmas[s]}
    least = np.exp(sgd_limit.risk(times / 2, 4, **levels).log.min())
    assert risks[1, r, s] == pytest.approx(least, rel=1e-4)


def test_the_full_batch_has_the_boundary_of_the_limit(table):
    known = tuned_limit.boundary(4, sigma=[1.5], span=(0.3, 16.0))[0][0]
    found = np.interp(
        np.log(1.5), np.log(sgd_phase._limit_boundary(TINY, table, "full")[1]), np.log(table.arrays["ratios"])
    )
    assert np.exp(found) == pytest.approx(known, rel=0.03)


def test_crossings_of_a_known_curve():
    sigmas = np.geomspace(0.1, 10, 30)
    gain = np.log(sigmas / 0.5) * np.log(sigmas / 3)
    np.testing.assert_allclose(_tuned_curves.crossings(gain, sigmas), [0.5, 3], rtol=0.02)
    assert _tuned_curves.above(gain, sigmas) == pytest.approx(3, rel=0.02)
    assert np.isnan(_tuned_curves.above(-gain, sigmas))


def test_runs_scatter_around_the_exact_risk():
    point = _tuned_runs.Point(d=5, n=10, sigma=0.7, batch=2, epochs=3)
    stream = np.random.default_rng(1)
    tasks = _tuned_runs.draw(point, stream.standard_normal((1, 10, 5)), 1, stream)
    many = _tuned_runs.Tasks(*(np.repeat(part, 4000, axis=0) for part in tasks))
    w = _tuned_runs._run(point, many, np.array([2.0]), stream)[0]
    squares = np.sum((w - many.w_star) ** 2, axis=1)
    problem = sgd.SgdProblem(tasks.X[0], tasks.y[0], None, 2)
    exact = float(sgd.risk(problem, tasks.w_star[0], 2.0 / 15, 15)[-1].to_float())
    error = squares.std() / np.sqrt(4000)
    assert abs(squares.mean() - exact) < 4.5 * error
    assert abs(squares.mean() - 1.3 * exact) > 4.5 * error


def _given(seed, count, drift):
    """Curves of train loss t - 1 and risk with minima that depend on the noise, scattered from X to X."""
    stream = np.random.default_rng(seed)
    places = np.linspace(-2, 2, 200)
    scale = np.exp(0.1 * stream.standard_normal((count, 1)))
    train = (scale * np.exp(-places), scale * (1 + 0.1 * np.exp(-places)))
    risk = (scale * np.exp(-places), scale * drift * np.exp(places))
    return _sgd_boundaries.Given(places, np.stack([*train, *risk], axis=1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pseudo_values_are_those_of_the_statistic_with_one_left_out(seed):
    whole, half, sigmas = _given(seed, 5, 0.4), _given(seed + 10, 5, 0.7), np.geomspace(0.05, 5, 40)

    def level(which):
        means = [x[which].mean(axis=0) for x in _losses(whole, half, sigmas)]
        best, other = np.argmin(means[0], axis=1), np.argmin(means[2], axis=1)
        rows = np.arange(len(sigmas))
        return np.log(_tuned_curves.above(means[1][rows, best] - means[2][rows, other], sigmas))

    every = np.arange(5)
    expected = [5 * level(every) - 4 * level(np.delete(every, k)) for k in range(5)]
    found = _sgd_boundaries.pseudo_levels(whole, half, sigmas)
    np.testing.assert_allclose(found[0], expected, atol=0.02)


def _losses(whole, half, sigmas):
    return whole.logs("train", sigmas), whole.logs("risk", sigmas), half.logs("risk", sigmas)


def test_an_x_with_losses_out_of_all_bounds_moves_the_boundary_no_more_than_another():
    whole, half, sigmas = _given(0, 8, 0.4), _given(1, 8, 0.7), np.geomspace(0.05, 5, 40)
    wild = np.where(np.arange(8) == 0, 1e12, 1.0)[:, None, None]
    spoiled = (_sgd_boundaries.Given(x.places, wild * x.parts) for x in (whole, half))
    before = _sgd_boundaries.pseudo_levels(whole, half, sigmas)
    np.testing.assert_allclose(_sgd_boundaries.pseudo_levels(*spoiled, sigmas), before, atol=1e-8)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gains_are_unbiased_given_the_inputs_and_their_intervals_cover_them(seed):
    stream = np.random.default_rng(seed)
    exact = stream.uniform(0.5, 2, (3, 4))
    covered = 0
    for _ in range(200):
        runs = exact[..., None] * stream.chisquare(4, (3, 4, 30)) / 4
        gain = _sgd_boundaries.gain_of(runs, exact, 0.9)
        covered += np.sum(
            (gain["gain_interval"][:, 0] <= gain["gain_exact"]) & (gain["gain_exact"] <= gain["gain_interval"][:, 1])
        )
    assert 0.84 < covered / 400 < 0.96


def test_the_verdict_fails_where_both_ways_of_tuning_are_exchanged(table):
    swapped = {name: x[:, [1, 0, 2]] if name in ("sgd", "full") else x for name, x in table.arrays.items()}
    swapped["gain"], swapped["gain_interval"] = -table.arrays["gain"], -table.arrays["gain_interval"][..., ::-1]
    failed = {check.key for check in sgd_phase.verdict(TINY, Table(swapped, {})).checks if check.fails}
    assert failed >= {"runs", "sides", "dimension"}
