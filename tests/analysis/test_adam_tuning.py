"""The tuning of Adam: the recipe is the one that ships, intervals are paired, and the verdict can fail."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from analysis import _adam_search, adam_tuning
from analysis.framework.contract import Context, Table
from metagrad.training.config import read_config, setup
from paper_figs import adam_tuning as figure
from paper_figs.framework.results import Result

TINY = adam_tuning.Config(
    2, 2, 2, 2, evaluate_every=2, tuned=("eta", "eps", "all"), fresh=40, tuning=20, raw=(0.1, 1e-12), raw_episodes=1
)
CONTEXT = Context(0, "cpu")


@pytest.fixture(scope="module")
def found():
    return [adam_tuning.compute(TINY, shard, CONTEXT) for shard in adam_tuning.shards(TINY)]


@pytest.fixture(scope="module")
def table(found):
    return adam_tuning.assemble(TINY, found)


def test_the_recipe_is_the_one_that_ships_with_stages_in_proportion():
    shipped = setup(read_config(adam_tuning.RECIPE)).trainer
    ours = adam_tuning._setup(TINY, "far").trainer
    assert (ours.recipe, ours.outer_phi) == (shipped.recipe, shipped.outer_phi)
    assert ours.optimizer.start == shipped.optimizer.start._replace(eta=adam_tuning.FAR)
    short = adam_tuning._setup(adam_tuning.Config(episodes=30)).trainer.recipe
    assert short.outer_factors == tuple((first // 10, factor) for first, factor in shipped.recipe.outer_factors)


def test_plain_numbers_are_enough_and_the_path_is_that_of_the_run(table):
    start = table.arrays["start"][1]
    run = adam_tuning._setup(TINY, "all", adam_tuning._seed(0, "meta-train", 1), start)
    last = run.trainer.optimizer.phi(run.trainer.run(run.phi).last)  # with exponents beside the digits
    eta, rest1, rest2, eps = table.arrays["path_all"][1, -1]
    assert (eta, eps) == (last.eta, last.eps)
    assert (rest1, rest2) == (1 - last.beta1, 1 - last.beta2)


def test_the_grid_chooses_what_is_best_on_the_tasks_for_it(found):
    grid = next(part for part, shard in zip(found, adam_tuning.shards(TINY), strict=True) if shard["kind"] == "grid")
    tuning = adam_tuning._tasks(TINY, TINY.tuning, adam_tuning._seed(0, "tuning", 0))
    fresh = adam_tuning._tasks(TINY, TINY.fresh, adam_tuning._seed(0, "fresh", 0))
    runs = [adam_tuning.rollout(tuning, adam_tuning.mg.Adam(), float(eta), steps=100) for eta in adam_tuning.GRID]
    best = [np.argmin([np.mean(one) for one in runs]) for runs in _by_measure(runs)]
    np.testing.assert_array_equal(grid["best"], best)
    for measure, at in enumerate(best):
        curve = adam_tuning.rollout(fresh, adam_tuning.mg.Adam(), float(adam_tuning.GRID[at]), steps=100)
        np.testing.assert_allclose(grid["measures"][measure], _by_measure([curve])[measure][0].mean(), rtol=1e-12)


def _by_measure(curves):
    logs = [np.log10(curve) for curve in curves]
    return [log[-1] for log in logs], [curve[-1] for curve in curves], [log[1:].mean(axis=0) for log in logs]


def test_adams_own_numbers_leave_their_range_unless_the_steps_are_below_eps(table):
    left = table.arrays["raw_left"]  # (seeds, outer step sizes, hyper-parameters)
    assert (left[:, 0, 3] == 1).all(), "the first step of Adam moves eps by 0.1"
    assert (left[:, 1] == 0).all()


def test_the_meta_trainings_start_at_the_best_of_few_step_sizes(table):
    assert set(table.arrays["start"]) <= set(adam_tuning.STARTS)
    np.testing.assert_allclose(table.arrays["path_all"][:, 0, 0], table.arrays["start"], rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_candidates_scored_at_once_are_those_scored_one_by_one(seed):
    task, given = adam_tuning._tasks(TINY, 5, seed), _adam_search.candidates(70, seed)
    found = _adam_search.scores(task, given, 30, adam_tuning._measures)
    for k in (0, 64, 69):
        curve = adam_tuning.rollout(task, adam_tuning.mg.Adam(), adam_tuning.mg.Adam.Phi(*given[k], 1e-8), steps=30)
        np.testing.assert_allclose(found[:, k], adam_tuning._measures(curve).mean(axis=-1), rtol=1e-9)
    low, high = np.array(list(_adam_search.BOX.values())).T
    shown = np.column_stack([given[:, 0], 1 - given[:, 1:]])
    assert ((shown >= low - 1e-12) & (shown <= high + 1e-12)).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_search_runs_at_most_its_cost_and_no_less_than_nearly_all_of_it(seed):
    runs = []

    def tasks(count, at):
        return adam_tuning._tasks(TINY, count, at)

    def measures(curve):
        runs.append(curve.shape[1])
        return adam_tuning._measures(curve)

    best = _adam_search.Search(1000, 20, tasks, measures).run(seed)
    assert best.shape == (3, 3)
    assert 0.9 * 1000 <= sum(runs) <= 1000


def test_a_meta_gradient_costs_no_more_operations_than_are_counted():
    counted = {"gradient": 0, "loss": 0}

    class Counting(adam_tuning.mg.LeastSquares):
        def gradient(self, w, sample):
            counted["gradient"] += 1
            return super().gradient(w, sample)

        def loss(self, w, sample):
            counted["loss"] += 1
            return super().loss(w, sample)

    task, steps = adam_tuning._tasks(TINY, 3, 0), 50
    task = Counting(task.X, task.y, w0=task.w0)
    phi = adam_tuning.mg.Adam.Phi(0.1)
    adam_tuning.Reverse(scaling="none")(task, adam_tuning.mg.Adam(), adam_tuning.mg.MeanLog(), phi, steps=steps)
    # A gradient multiplies by X twice, a loss once; each is gone through backwards once, at the cost of going forwards.
    products = 2 * (counted["gradient"] + steps) + counted["loss"] + steps
    assert 3 * 2 * steps <= products <= 1.15 * adam_tuning._adam_search.META_GRADIENT * 2 * steps


def test_the_cost_has_start_meta_gradients_and_evaluations():
    config = adam_tuning.Config(episodes=100, evaluate_every=5)
    recipe = adam_tuning._setup(config).trainer.recipe
    evaluations = recipe.episodes // recipe.evaluate_every * recipe.evaluation_tasks * 32
    assert adam_tuning.cost(config) == 4 * 32 + 5 * 32 * recipe.episodes + evaluations


def test_every_way_of_tuning_has_its_checks(table):
    config = replace(TINY, tuned=("eta", "eps", "all", "far"))
    mean = table.arrays["mean"]
    changed = {"mean": np.concatenate([mean, mean[-1:]]), "chosen": np.repeat(table.arrays["chosen"][:1], 4, axis=0)}
    checks = adam_tuning.verdict(config, Table(table.arrays | changed, {})).checks
    assert tuple(check.key for check in checks) == adam_tuning.keys(config)
    assert tuple(check.key for check in adam_tuning.verdict(TINY, table).checks) == adam_tuning.keys(TINY)


def test_intervals_over_tunings_decide(table):
    gain = np.array([-0.1, -0.2])
    mean = np.zeros_like(table.arrays["mean"])
    names = list(adam_tuning.rules(TINY))
    mean[names.index("all"), :] = gain
    check = _check(table.arrays | {"mean": mean}, "all_less_grid_log_path")
    low, high = stats.t.interval(0.95, 1, gain.mean(), stats.sem(gain))
    np.testing.assert_allclose(check.interval, [low, high])
    assert check.fails, "two tunings that differ so do not decide it"
    mean[names.index("all"), :] = [-0.1, -0.101]
    assert _check(table.arrays | {"mean": mean}, "all_less_grid_log_path").holds


def _check(arrays, key):
    return {check.key: check for check in adam_tuning.verdict(TINY, Table(arrays, {})).checks}[key]


def test_the_caption_says_what_the_table_says(table):
    checks = [asdict(check) for check in adam_tuning.verdict(TINY, table).checks]
    about = {"config": asdict(TINY), "names": table.names, "checks": checks, "seed": 0, "preset": "quick", "claim": ""}
    result = Result("adam_tuning", table.arrays, {}, json.loads(json.dumps(about)))
    gain = (table.arrays["search"][0, 1].mean(axis=-1) - table.arrays["mean"][1, 1]).mean()
    assert f"{gain:+.3f}" in figure.details(result)
    assert f"{gain:+.3f}" in figure.headline(result.claims)
    assert len(figure.draw(result).axes) == 3


def test_bad_configs():
    with pytest.raises(ValueError, match=r"adam_tuning: tuned is \('all',\); expected 'eta' and 'all'"):
        replace(TINY, tuned=("all",))
