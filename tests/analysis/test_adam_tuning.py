"""The tuning of Adam: the recipe is the one that ships, intervals are paired, and the verdict can fail."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from analysis import adam_tuning
from analysis.framework.contract import Context, Table
from metagrad.training.config import read_config, setup
from metagrad.xp import rng
from paper_figs import adam_tuning as figure
from paper_figs.framework.results import Result

TINY = adam_tuning.Config(
    2, 2, evaluate_every=2, tuned=("eta", "eps", "all"), fresh=40, tuning=20, raw=(0.1, 1e-12), raw_episodes=1
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
    run = adam_tuning._setup(TINY, "all", adam_tuning._seed(0, "meta-train", 1))
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
        np.testing.assert_allclose(grid["measures"][measure], _by_measure([curve])[measure][0], rtol=1e-12)


def _by_measure(curves):
    logs = [np.log10(curve) for curve in curves]
    return [log[-1] for log in logs], [curve[-1] for curve in curves], [log[1:].mean(axis=0) for log in logs]


def test_adams_own_numbers_leave_their_range_unless_the_steps_are_below_eps(table):
    left = table.arrays["raw_left"]  # (seeds, outer step sizes, hyper-parameters)
    assert (left[:, 0, 3] == 1).all(), "the first step of Adam moves eps by 0.1"
    assert (left[:, 1] == 0).all()


def test_intervals_are_paired_and_wide_where_a_run_was_lost():
    draw = rng(0, "intervals").standard_normal((2, 2, 3, 500))
    found = adam_tuning._interval(draw[0] - draw[1])  # (seeds, measures, 2)
    low, high = stats.norm.interval(0.95, (draw[0] - draw[1])[1, 2].mean(), stats.sem((draw[0] - draw[1])[1, 2]))
    np.testing.assert_allclose(found[1, 2], [low, high])
    draw[0, 0, 1, 7] = np.inf
    assert adam_tuning._interval(draw[0] - draw[1])[0, 1].tolist() == [-np.inf, np.inf]


def test_intervals_of_medians_are_exact():
    x = rng(0, "medians").random((3, 400))
    low, high = adam_tuning._median_interval(x)
    inside = [(row >= a).sum() + (row <= b).sum() - 400 for row, a, b in zip(x, low, high, strict=True)]
    below = (400 - inside[0]) // 2
    assert inside == [inside[0]] * 3
    assert 0.95 <= stats.binom.cdf(400 - below - 1, 400, 0.5) - stats.binom.cdf(below, 400, 0.5) <= 0.97


def test_the_verdict_fails_where_grid_and_tuned_are_exchanged_or_a_step_size_is_off(table):
    names = list(adam_tuning.rules(TINY))
    gain = np.zeros_like(table.arrays["gain"])
    gain[names.index("all"), names.index("grid")] = [-0.2, -0.1]
    gain[names.index("all"), names.index("eta")] = [-0.2, -0.1]
    chosen = np.repeat(table.arrays["grid_eta"][None, :, :1], 3, axis=0) * np.ones(4)
    good = table.arrays | {"gain": gain, "chosen": chosen, "grid_eta": chosen[0][:, :3]}
    left = [("raw_left", np.zeros_like(good["raw_left"]))]
    assert [check.what for check in _failed(good)] == ["tunings of Adam's own numbers that leave their range, share"]
    assert len(_failed(good | {"gain": -gain})) == 4
    assert len(_failed(good | {"chosen": 2 * chosen})) == 2
    assert len(_failed(good | dict(left))) == 1
    assert tuple(check.key for check in adam_tuning.verdict(TINY, table).checks) == adam_tuning.keys(TINY)


def test_every_way_of_tuning_has_its_checks(table):
    config = replace(TINY, tuned=("eta", "eps", "all", "far"))
    count = len(adam_tuning.rules(config))
    gain = np.ones((count, count, 3, 2, 2))
    chosen = np.repeat(table.arrays["chosen"][:1], 4, axis=0)
    checks = adam_tuning.verdict(config, Table(table.arrays | {"gain": gain, "chosen": chosen}, {})).checks
    assert tuple(check.key for check in checks) == adam_tuning.keys(config)


def _failed(arrays):
    return [check for check in adam_tuning.verdict(TINY, Table(arrays, {})).checks if not check.holds]


def test_the_caption_says_what_the_table_says(table):
    about = json.loads(json.dumps({"config": asdict(TINY), "names": table.names}))
    result = Result("adam_tuning", table.arrays, {}, about)
    caption = figure.caption(result)
    assert f"{10 ** table.arrays['mean'][1, 0].mean():.2g}" in caption
    assert len(figure.draw(result).axes) == 2


def test_bad_configs():
    with pytest.raises(ValueError, match=r"adam_tuning: tuned is \('all',\); expected 'eta' and 'all'"):
        replace(TINY, tuned=("all",))
