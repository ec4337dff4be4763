"""The LSTMs on quadratics: the bound of all fixed schedules, the solvers beside them, intervals, and what is told."""

from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

import metagrad as mg
from analysis import _quadratic_rules as rules
from analysis import _quadratic_solvers as solvers
from analysis import _resampled_tasks as resampled
from analysis import lstm_quadratics
from metagrad.xp import rng
from paper_figs import lstm_quadratics as figure
from paper_figs.framework.results import Result

SEEDS = (0, 1, 2)


def regressions(seed, count=30, d=4, dtype="float64"):
    return mg.random_regressions(count, d, family="gaussian", seed=seed, dtype=dtype)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_is_that_of_a_dense_solve(seed):
    lam, r = solvers.spectra(regressions(seed))
    found = solvers.least_of_schedules(lam, r, 6).mean(axis=1)
    x, weights = lam.ravel() / lam.max(), r.ravel()
    for t in range(7):
        powers = weights[:, None] * x[:, None] ** np.arange(1, t + 1)
        left = weights + powers @ np.linalg.lstsq(powers, -weights, rcond=None)[0]
        np.testing.assert_allclose(found[t], (left**2).sum() / len(lam), rtol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_is_what_conjugate_gradients_reach_on_the_direct_sum(seed):
    lam, r = solvers.spectra(regressions(seed))
    x, e = lam.ravel(), r.ravel() * np.sqrt(2 / lam.ravel())
    residual = p = -x * e
    for losses in solvers.least_of_schedules(lam, r, 12):
        np.testing.assert_allclose(losses, (x * e**2 / 2).reshape(lam.shape).sum(axis=1), rtol=1e-6)
        step = (residual @ residual) / (p @ (x * p))
        e, after = e + step * p, residual - step * x * p
        residual, p = after, after + (after @ after) / (residual @ residual) * p


@pytest.mark.parametrize("seed", SEEDS)
def test_no_schedule_is_below_the_bound(seed):
    tasks, stream = rules.Tasks.of([regressions(seed)]), rng(seed, "schedules")
    bound = solvers.least_of_schedules(*solvers.spectra(tasks.task), 15).mean(axis=1)
    for rule in (mg.Scheduled(mg.Momentum()), mg.Scheduled(mg.Nesterov())):
        for _ in range(10):
            phi = rule.rule.Phi(0.03 * stream.random(15), stream.random(15))
            assert (mg.rollout(tasks.rotated, rule, phi, steps=15).mean(axis=1) >= bound * (1 - 1e-12)).all()
    one = stream.choice(len(tasks.task.y))  # a single task: conjugate gradients are no better than its best schedule
    alone = mg.LeastSquares(tasks.task.X[[one]], tasks.task.y[[one]], w0=tasks.task.w0[[one]])
    bound = solvers.least_of_schedules(*solvers.spectra(alone), 3)
    np.testing.assert_allclose(solvers.conjugate_gradients(alone, 3), bound, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_rotated_tasks_take_the_same_path(seed):
    tasks = rules.Tasks.of([regressions(seed), regressions(seed + 10)])
    for name in ("momentum, warmed up", "Nesterov"):
        rule = rules.BASELINES[name]
        losses = rule.losses(tasks, rule.points[0], 20)
        np.testing.assert_allclose(
            losses, mg.rollout(tasks.task, rule.rule, rule.phi(*map(float, rule.points[0])), steps=20), rtol=1e-7
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_solvers_solve(dtype):
    task = regressions(3, dtype=dtype)
    for solve, steps in ((solvers.conjugate_gradients, 40), (solvers.barzilai_borwein, 3000)):
        losses = solve(task, steps)
        assert losses.dtype == dtype
        np.testing.assert_allclose(losses[0], task.loss(task.w0, None), rtol=1e-5)
        assert np.median(losses[-1] / losses[0]) < 1e-10
    assert (solvers.conjugate_gradients(task, 3)[1:] < losses[0]).all()
    solved = mg.LeastSquares(np.ones((1, 1)), np.ones(1), w0=np.ones(1))
    for solve in (solvers.conjugate_gradients, solvers.barzilai_borwein):
        assert (solve(solved, 3) == 0).all(), "a task at its minimum stays there"


def test_steps_of_barzilai_and_borwein_are_those_of_their_equation():
    task = regressions(5)
    found, w, last = solvers.barzilai_borwein(task, 8), task.w0, None
    for t in range(9):
        np.testing.assert_allclose(found[t], task.loss(w, None), rtol=1e-6)
        g = task.gradient(w, None)
        if last is None:
            A, _ = solvers.halves(task)
            eta = (g * g).sum(axis=1) / (2 * np.einsum("bij,bj->bi", A, g) ** 2).sum(axis=1)
        else:
            s, y = w - last[0], g - last[1]
            eta = (s * y).sum(axis=1) / (y * y).sum(axis=1)
        w, last = w - eta[:, None] * g, (w, g)


def parts(config, tasks, seed=0):
    """Curves that fall from 2.3 at a rate of the rule's own, with noise of the task."""
    draw, steps = rng(seed, "curves"), np.arange(config.steps + 1)[:, None]
    noise, found = 0.05 * draw.random(tasks), []
    for k, name in enumerate(lstm_quadratics.RULES):
        part = {"curves": 2.3 * np.exp(-steps / (8 + k)) + noise + 0.02 * draw.random(tasks)}
        if name in rules.BASELINES:
            point = rules.BASELINES[name].points[1]
            inside = rules.BASELINES[name].inside(point)
            part |= {"chosen": point, "inside": inside, "hindsight": part["curves"][config.trained_steps]}
        found.append(part)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_of_means_and_ratios(seed):
    config = lstm_quadratics.Config(1, 1, 20, 30)
    found = parts(config, 400, seed)
    table = lstm_quadratics.assemble(config, found)
    arrays, now = table.arrays, list(table.arrays["times"]).index(20)
    for rule in (0, 4):
        x = found[rule]["curves"][20]
        low, high = arrays["interval"][:, rule, now]
        half = 1.96 * stats.sem(x)
        np.testing.assert_allclose([low, high], [x.mean() - half, x.mean() + half], atol=0.15 * half)
        ranks = np.searchsorted(np.sort(x), arrays["median_interval"][:, rule, now])
        assert ranks[0] + ranks[1] == 399, "as far from one end as from the other"
        assert 0.95 <= stats.binom.cdf(ranks[1], 400, 0.5) - stats.binom.cdf(ranks[0], 400, 0.5) <= 0.97
    one, other = (found[lstm_quadratics.RULES.index(name)]["curves"][20] for name in ("LSTM, seed 1", "Adam"))
    ratio, at = one.mean() / other.mean(), lstm_quadratics.TUNED.index("Adam")
    np.testing.assert_allclose(arrays["over_tuned"][1, at], ratio)
    half = 1.96 * stats.sem(one - ratio * other) / other.mean()  # paired: that of a ratio of means, to first order
    np.testing.assert_allclose(arrays["over_tuned_interval"][:, 1, at], [ratio - half, ratio + half], atol=0.2 * half)


def test_what_is_drawn_and_told():
    config = lstm_quadratics.Config(1, 1, 20, 30)
    table = lstm_quadratics.assemble(config, parts(config, 400))
    verdict = lstm_quadratics.verdict(config, table)
    assert tuple(check.key for check in verdict.checks) == lstm_quadratics.keys(config)
    sidecar = {"config": asdict(config), "names": table.names, "seed": 0, "preset": "quick", "claim": ""}
    result = Result("lstm_quadratics", table.arrays, {}, sidecar | {"checks": [asdict(x) for x in verdict.checks]})
    ends = np.sort(table.arrays["mean"][:3, 20])
    assert f"{ends[0]:.3g} to {ends[2]:.3g} for 3 LSTMs" in figure.caption(result)
    assert figure.headline(result.claims).startswith(f"mean loss {ends.mean():.3g}, of each at most")
    assert len(figure.draw(result).axes) == 3


def test_what_leaves_the_range_of_floats():
    losses, drawn = np.array([[1.0, 2.0], [1.0, np.inf]]), np.array([[1, 2], [1, 0]])
    np.testing.assert_array_equal(resampled.means(losses, drawn), [[1.5, 1.0], [np.inf, 1.0]])
    assert resampled.over(np.array([1.0, np.inf]), np.array([np.inf, 2.0])).tolist() == [0, np.inf]
    assert np.isnan(resampled.over(np.array(np.inf), np.array(np.inf)))
    assert rules.best(np.array([[np.inf, 1.0], rules.inf_where_lost(np.array([np.nan, 0.1])), [5.0, 5.0]])) == 2


def test_configs():
    with pytest.raises(ValueError, match="trained_steps is 300; expected 1 to steps = 200"):
        lstm_quadratics.Config(trained_steps=300, steps=200)
    config = lstm_quadratics.Config(1, 1, 5, 7)
    assert set(lstm_quadratics.assemble(config, parts(config, 16)).arrays["times"]) == {5, 7}
    for rule in rules.BASELINES.values():
        assert rule.inside(rule.points[0]).sum() == 0
        assert rule.points.shape == (np.prod([len(axis) for axis in rule.grid.values()]), len(rule.grid))
