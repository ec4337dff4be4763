"""The LSTM trained on digits: edge cases of configs, intervals, and a caption that says what the table says."""

from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from analysis import _baselines, lstm_digits
from metagrad.xp import rng
from paper_figs import lstm_digits as digits_figure
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


@pytest.mark.parametrize("nets", [("relu",), ("units", "trained", "relu"), tuple(lstm_digits.NETS)])
def test_checks_on_digits_are_about_the_net_that_they_name(nets):
    config = lstm_digits.Config(fresh=3, nets=nets, steps=40)
    table = lstm_digits.assemble(config, parts(lstm_digits, config, 3))
    checks = lstm_digits.verdict(config, table).checks
    assert tuple(check.key for check in checks) == lstm_digits.keys(config)
    assert [check.what for check in checks if check.key == "trained_share"] == ["trained: last loss over the first"] * (
        "trained" in nets
    )
    if "trained" in nets:
        row = nets.index("trained")
        share = next(check.measured for check in checks if check.key == "trained_share")
        assert share == table.arrays["end"][row, 0] / table.arrays["mean"][row, 0, 0]
    axes = digits_figure.draw(result(config, table)).axes
    assert sum(ax.axison for ax in axes) == len(nets)
    caption = digits_figure.caption(result(config, table))
    for row in range(len(nets)):
        path = table.arrays["path"][row]
        assert f"{path[0]:.3f} against {path[1:].min():.3f}" in caption
    assert "meta-trained on 784-20-10, sigmoid for 40 steps" in caption


def test_intervals_on_digits_are_students_and_paired():
    config = lstm_digits.Config(fresh=5, nets=("trained",), steps=20)
    found = parts(lstm_digits, config, 5)
    arrays = lstm_digits.assemble(config, found).arrays
    curves = np.stack([part["curves"] for part in found])
    low, high = stats.t.interval(0.95, 4, curves[2, 7].mean(), stats.sem(curves[2, 7]))
    np.testing.assert_allclose([arrays["mean"][0, 2, 7], 2 * arrays["width"][0, 2, 7]], [(low + high) / 2, high - low])
    gain = curves[3].mean(axis=0) - curves[0].mean(axis=0)
    np.testing.assert_allclose(
        arrays["path_gain"][0, 2], stats.t.interval(0.95, 4, gain.mean(), stats.sem(gain))[0], rtol=1e-12
    )


def test_bad_configs():
    with pytest.raises(ValueError, match="lstm_digits: fresh is 1; expected at least 2 networks"):
        lstm_digits.Config(fresh=1)
    with pytest.raises(ValueError, match=r"nets is rleu; expected a known kind\. Did you mean 'relu'"):
        lstm_digits.Config(nets=("rleu",))


def test_a_baseline_without_a_finite_loss_is_never_the_best():
    validation = np.array([[np.inf, 1.0], [np.nan, 0.1], [5.0, 5.0], [6.0, 6.0]])
    assert _baselines.best(validation) == 2
