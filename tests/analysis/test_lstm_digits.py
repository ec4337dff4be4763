"""The trained LSTM on digits: what networks learn from and are tested on, the search, intervals, caption."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from analysis import _digit_networks as networks
from analysis import _rule_search as rule_search
from analysis import lstm_digits
from analysis.framework.contract import Context
from metagrad.data import load_digits5000
from metagrad.unroll.rollout import rollout
from metagrad.xp import rng
from paper_figs import lstm_digits as figure
from paper_figs.framework.results import Result

ALL = lstm_digits.presets["default"].cases


def parts(config, seed=0):
    """Scores near 0.5, curves that fall, of as many networks as the config has."""
    draw, n = rng(seed, "parts"), config.fresh
    found = []
    for shard in lstm_digits.shards(config):
        missing = len(lstm_digits.MEASURES) - len(lstm_digits.measures_of(shard["case"]))
        arrays = {
            "train": 0.1 + draw.random((4, config.steps + 1, n)),
            "test": 0.1 + draw.random((4, config.steps // config.every, n)),
            "accuracy": draw.random((4, config.steps // config.every, n)),
            "scores": 0.3 + 0.4 * draw.random((4, n)),
            "points": np.full((4, 4), np.nan),
        }
        for x in arrays.values():
            x[len(x) - missing :] = np.nan
        if missing:
            arrays["test"][:] = np.nan
        found.append(arrays)
    return found


def verdict_of(config, table):
    """Return the checks, of cases without anything that decides too."""
    with np.errstate(all="ignore"):
        return lstm_digits.checks_of(config, table)


def rows(x):
    """Return images as a set."""
    return {image.tobytes() for image in x.reshape(-1, x.shape[-1])}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("digits", list(networks.DIGITS))
def test_no_network_is_tested_on_a_digit_that_it_or_meta_training_saw(digits, seed):
    images, of = load_digits5000(), networks.DIGITS[digits]
    seen, apart = rows(images.train_x), rows(images.test_x)
    fresh = networks.fresh("trained", digits, 2, seed, 128)
    assert fresh.task.n == of.learned
    assert rows(fresh.task.x) <= (seen if of.seen else apart)
    if of.seen:
        assert fresh.part == "test"
        assert rows(fresh.task.test[0]) == apart
    else:
        assert fresh.part is None, "all that are apart are learned from"
    tuning = networks.tuning("trained", digits, 2, seed, 128)
    for k in range(2):
        learned, held = rows(tuning.task.x[k]), rows(tuning.task.validation[0][k])
        assert learned | held <= seen
        assert not learned & held


def test_a_run_in_parts_is_the_run():
    fresh = networks.fresh("trained", "few", 2, 3, 128)
    rule, phi = rule_search.SPACES["Adam"].at(np.array([-1.5, -1.0, -2.0, 1.0]), 20)
    losses, tests, shares = fresh.follow(rule, phi, 20, 5)
    np.testing.assert_array_equal(losses, rollout(fresh.task, rule, phi, steps=20, seed=3))
    whole = rollout(fresh.task, rule, phi, steps=20, seed=3, measure=fresh.task.test_loss)
    np.testing.assert_array_equal(tests, whole[5::5])
    assert shares.shape == (4, 2)
    assert ((shares > 0) & (shares < 1)).all()
    score = networks.scores(losses, tests, 4)
    np.testing.assert_allclose(
        score[:, 1], [losses[:, 1].mean(), losses[-4:, 1].mean(), tests[:, 1].mean(), tests[-1, 1]]
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", list(rule_search.SPACES))
def test_points_are_in_their_box_and_a_step_size_decays(name, seed):
    space, stream = rule_search.SPACES[name], rng(seed, "draw")
    low, high = np.transpose(space.ranges)
    drawn = space.draw(stream, 8)
    for point in space.known:
        assert len(point) == len(low) + 1
        assert ((low <= point[:-1]) & (point[:-1] <= high)).all()
    assert ((drawn[:, :-1] >= low) & (drawn[:, :-1] <= high)).all()
    assert sorted(drawn[:, -1]) == sorted(2 * rule_search.DECAYS)
    near = space.around(stream, drawn[0], 50)
    assert ((near[:, :-1] >= low) & (near[:, :-1] <= high) & (near[:, -1:] >= 0)).all()
    still = np.append(drawn[0, :-1], 0.0)
    _, phi = space.at(still, 10)
    np.testing.assert_array_equal(phi.eta, phi.eta[0])
    _, phi = space.at(np.append(still[:-1], 2.0), 10)
    np.testing.assert_allclose(phi.eta / phi.eta[0], (1 - np.arange(10) / 10) ** 2, rtol=1e-6)
    assert all(0 <= float(x) < 1 for field, x in phi._asdict().items() if field in ("mu", "rho", "beta1", "beta2"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_search_finds_the_best_of_each_measure_and_no_run_without_a_loss(seed):
    space = rule_search.SPACES["momentum"]

    def losses(point):
        away = [abs(point[0] - 0.2), np.nan if point[1] > -0.6 else abs(point[1] + 1.0)]
        return np.array(away)

    found = rule_search.search(space, losses, (40, 20), range(2), rng(seed, "search"))
    assert losses(found[0])[0] < 0.05
    assert losses(found[1])[1] < 0.05
    alone = rule_search.search(space, losses, (40, 0), range(2), rng(seed, "search"))
    assert losses(found[0])[0] <= losses(alone[0])[0]
    known = rule_search.search(replace(space, known=((0.2, -1.0, 0.0),)), losses, (1, 0), range(2), rng(seed, "search"))
    assert known.tolist() == [[0.2, -1.0, 0.0]] * 2


@pytest.mark.parametrize("cases", [("units_unseen",), ("trained_many", "relu_unseen"), ALL])
def test_checks_are_about_the_case_that_they_name(cases):
    config = lstm_digits.Config(cases, 1, 3, (4, 1), steps=40)
    table = lstm_digits.assemble(config, parts(config))
    checks = {check.key: check for check in verdict_of(config, table)}
    assert tuple(checks) == lstm_digits.keys(config)
    for row, case in enumerate(cases):
        for k, measure in enumerate(lstm_digits.measures_of(case)):
            key, x = f"{case.removeprefix('trained_')}_{measure}", table.arrays["scores"][row, :, k]
            assert checks[f"{key}_lstm"].measured == x[0].mean()
            assert checks[f"{key}_least"].measured == x[1:].mean(axis=-1).min()
            logs = np.log(x[1:] / x[0])
            if key == "few_test_end":
                high = logs.mean(axis=-1) + stats.t.ppf(1 - 0.025 / 6, 2) * stats.sem(logs, axis=-1)
                np.testing.assert_allclose(checks[key].interval[0], np.exp(-high.min()))
            else:
                low = logs.mean(axis=-1) - stats.t.ppf(0.975, 2) * stats.sem(logs, axis=-1)
                np.testing.assert_allclose(checks[key].interval[0], np.exp(low.min()))
    found = result(config, table)
    assert sum(ax.axison for ax in figure.draw(found).axes) == len(cases) + sum("unseen" not in case for case in cases)
    figure.caption(found)  # of the cases that there are
    told = figure.details(found)
    for row in range(len(cases)):
        path = table.arrays["scores"][row, :, 0].mean(axis=-1)
        assert f"{path[0]:.3f} against {path[1:].min():.3f}" in told


def result(config, table):
    checks = [asdict(check) for check in verdict_of(config, table)]
    about = {"config": asdict(config), "names": table.names, "checks": checks, "claim": lstm_digits.claim}
    return Result("lstm_digits", table.arrays, {}, about | {"seed": 0, "preset": "quick"})


def test_a_shard_of_a_baseline_and_of_the_lstm():
    config = lstm_digits.Config(("trained_few", "trained_unseen"), 1, 2, (2, 1), steps=4, every=2, last=2)
    for case in config.cases:
        for rule in ("LSTM", "SGD"):
            found = lstm_digits.compute(config, {"case": case, "rule": rule}, Context(0, "cpu"))
            count = len(lstm_digits.measures_of(case))
            assert np.isfinite(found["scores"]).all(axis=-1).tolist() == [True] * count + [False] * (4 - count)
            for k in range(count):
                expected = networks.scores(found["train"][k], found["test"][k], config.last)[k]
                np.testing.assert_array_equal(found["scores"][k], expected)
            assert np.isnan(found["points"]).all() == (rule == "LSTM")
            np.testing.assert_allclose(found["train"][0, 0], np.log(10), atol=0.02)


def test_bad_configs():
    with pytest.raises(ValueError, match="lstm_digits: fresh is 1; expected at least 2 networks"):
        lstm_digits.Config(ALL, 1, 1, (2, 1))
    with pytest.raises(ValueError, match=r"cases is rleu_unseen; expected a known case\. Did you mean 'relu_unseen'"):
        lstm_digits.Config(("rleu_unseen",), 1, 2, (2, 1))
    with pytest.raises(ValueError, match="every is 7; expected a divisor of the 100 steps"):
        lstm_digits.Config(ALL, 1, 2, (2, 1), every=7)
