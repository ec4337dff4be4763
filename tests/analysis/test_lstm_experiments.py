"""The LSTM trained on quadratics: edge cases of configs, intervals, and a caption that says what the table says."""

import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from analysis import _baselines, lstm_quadratics
from metagrad.xp import rng
from paper_figs import lstm_quadratics as quadratics_figure
from paper_figs.framework.results import Result


def parts(experiment, config, tasks):
    """Curves that fall from 2.3 at a rate of the shard's own, with noise of the task."""
    draw, steps = rng(0, "curves"), np.arange(config.steps + 1)[:, None]
    noise = 0.05 * draw.random(tasks)
    return [
        {
            "curves": 2.3 * np.exp(-steps / (8 + k)) + noise + 0.02 * draw.random(tasks),
            "ends": 0.1 + noise + draw.random((2, 1)),
            "eta": np.array(0.1 + k),
        }
        for k, _ in enumerate(experiment.shards(config))
    ]


def result(config, table):
    return Result("lstm", table.arrays, {}, {"config": asdict(config), "names": table.names})


def test_bad_configs():
    with pytest.raises(ValueError, match="trained_steps is 300; expected 1 to steps = 200"):
        lstm_quadratics.Config(trained_steps=300, steps=200)


def test_intervals_on_quadratics_are_those_of_the_bootstrap():
    config = lstm_quadratics.Config(1, 1, 20, 30)
    found = parts(lstm_quadratics, config, 400)
    table = lstm_quadratics.assemble(config, found)
    at = list(table.arrays["times"]).index(20)
    for rule in (0, 4):
        x = found[rule]["curves"][20]
        low, high = table.arrays["interval"][:, rule, at]
        half = 1.96 * stats.sem(x)
        np.testing.assert_allclose([low, high], [x.mean() - half, x.mean() + half], atol=0.1 * half)
        ranks = np.searchsorted(np.sort(x), table.arrays["median_interval"][:, rule, at])
        assert ranks[0] + ranks[1] == 399, "as far from one end as from the other"
        assert 0.95 <= stats.binom.cdf(ranks[1], 400, 0.5) - stats.binom.cdf(ranks[0], 400, 0.5) <= 0.97
    caption = quadratics_figure.caption(result(config, table)).split("Mean loss at")[1].split("With step sizes")[0]
    said = [float(x) for x in re.findall(r"(?:LSTM|SGD|Adam) ([\d.e-]+)", caption)]
    means = table.arrays["mean"][:, 20]
    np.testing.assert_allclose(said, means[[0, 1, 6]], rtol=5e-3)
    quadratics_figure.draw(result(config, table))


def test_curves_shorter_than_ten_steps():
    config = lstm_quadratics.Config(1, 1, 5, 7)
    table = lstm_quadratics.assemble(config, parts(lstm_quadratics, config, 16))
    assert set(table.arrays["times"]) == {5, 7}


def test_a_baseline_without_a_finite_loss_is_never_the_best():
    validation = np.array([[np.inf, 1.0], [np.nan, 0.1], [5.0, 5.0], [6.0, 6.0]])
    assert _baselines.best(validation) == 2
    assert len(lstm_quadratics.shards(replace(lstm_quadratics.presets["quick"]))) == 1 + len(_baselines.NAMES)
