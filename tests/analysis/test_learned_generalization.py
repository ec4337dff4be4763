"""The experiment on learned optimizers: what both ways share, the tuned step size, the verdict, and missing MNIST."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import learned_generalization as experiment
from analysis.framework.contract import Context, Table
from metagrad.optimizers import GradientDescent
from metagrad.unroll.rollout import rollout
from tests.cupy_double import double

TINY = replace(
    experiment.presets["quick"],
    samples=(20, 40),
    held=(20, 30),
    batch_size=8,
    episodes=(2, 1),
    outer=(0.02, 0.01),
    horizon=4,
    window=2,
    runs=3,
    steps=6,
    etas=(0.01, 0.3, 1e30),
)


@pytest.fixture(autouse=True)
def images():
    pytest.importorskip("sklearn", reason="the images are scikit-learn's; install the extra 'data'")
    experiment._images.cache_clear()
    yield
    experiment._images.cache_clear()


def computed():
    return [experiment.compute(TINY, shard, Context(0, "cpu")) for shard in experiment.shards(TINY)]


def test_all_rules_meet_the_same_fresh_networks_and_end_apart():
    parts = computed()
    arrays = experiment.assemble(TINY, parts).arrays
    start = arrays["sgd"][:, None, None, :, 0]
    np.testing.assert_array_equal(
        np.broadcast_to(start, arrays["learned"][..., 0, :].shape), arrays["learned"][..., 0, :]
    )
    by_train, by_validation = arrays["learned"][:, 0, :, 0, -1].swapaxes(0, 1)
    assert (by_train != by_validation).all()
    assert arrays["learned"].shape == (2, 1, 2, 4, 7, 3)
    assert arrays["objectives"].shape == (2, 1, 2, 3)
    first = experiment.compute(TINY, experiment.shards(TINY)[0], Context(0, "cpu"))
    np.testing.assert_array_equal(first["curves"], parts[0]["curves"])


def test_the_meta_losses_see_other_images_than_the_inner_loop():
    task = experiment._task(TINY, 0, "cpu", 3)
    assert task.x.shape[1] == task.validation[0].shape[1] == 20
    seen = {image.tobytes() for image in task.x[0]}
    assert seen.isdisjoint(image.tobytes() for image in task.validation[0][0])
    assert len(seen) == 20


def test_the_step_size_is_the_best_of_its_grid_and_never_one_that_diverges():
    def tasks(seed, count):
        return experiment._task(TINY, 1, "cpu", seed, count)

    found = experiment._tuned_step_size(TINY, tasks, 5)
    task, means = tasks(5, TINY.runs), {}
    for eta in TINY.etas[:2]:
        w = rollout(
            task,
            GradientDescent(),
            GradientDescent.Phi(np.float32(eta)),
            steps=TINY.horizon,
            seed=5,
            measure=task.validation_loss,
        )
        means[eta] = np.mean([w[t].mean() for t in range(1, TINY.horizon + 1)])
    assert found == min(means, key=means.get)


def test_on_the_double(monkeypatch):
    config = replace(TINY, gpu=True)
    shards = [experiment.shards(config)[0], experiment.shards(config)[-1]]
    here = [experiment.compute(config, shard, Context(0, "cpu")) for shard in shards]
    experiment._images.cache_clear()
    monkeypatch.setattr(experiment, "namespace_for", lambda device, where: double.NAMESPACE)
    there = [experiment.compute(config, shard, Context(0, "gpu")) for shard in shards]
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b["curves"], a["curves"], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_the_paper_size_needs_the_files_of_mnist(folder, monkeypatch):
    monkeypatch.delenv(experiment.MNIST, raising=False)
    if folder is not None:
        monkeypatch.setenv(experiment.MNIST, folder)
    config = experiment.presets["paper"]
    with pytest.raises(FileNotFoundError, match=experiment.MNIST if folder is None else "nowhere is no folder"):
        experiment.compute(config, experiment.shards(config)[0], Context(0, "cpu"))


def invented(train=(0.1, 1.0), test=(3.0, 1.5), score=(0.80, 0.80), spread=0.01):
    """Return a table in which the two ways end with these training and test losses and accuracies."""
    rng = np.random.default_rng(0)
    learned = np.zeros((2, 1, 2, 4, 7, 30))
    learned[..., 0, :] = 2.5
    for k in range(2):
        for curve, values in enumerate((train, test, (0.9, 0.9), score)):
            learned[:, :, k, curve, 1:] = values[k] + spread * rng.standard_normal((2, 1, 6, 30))
    return Table({"learned": learned}, {})


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, []),
        ({"train": (2.6, 2.7)}, [0]),
        ({"train": (1.0, 1.0)}, [1]),
        ({"test": (1.5, 1.5)}, [2]),
        ({"test": (1.6, 1.5), "spread": 1.0}, [1, 2, 3]),
        ({"score": (0.80, 0.75)}, [3]),
    ],
)
def test_the_verdict(change, failing):
    if "spread" in change:
        change = {**change, "train": (1.0, 1.1)}
    checks = experiment.verdict(TINY, invented(**change)).checks
    assert [k for k, check in enumerate(checks) if not check.holds] == failing
