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
    repeats=2,
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


def computed(seed=0):
    return [experiment.compute(TINY, shard, Context(seed, "cpu")) for shard in experiment.shards(TINY)]


def test_all_rules_meet_the_same_fresh_networks_and_end_apart():
    parts = computed()
    arrays = experiment.assemble(TINY, parts).arrays
    assert arrays["learned"].shape == (2, 2, 2, 4, 7, 3)
    assert arrays["sgd"].shape == (2, 2, 4, 7, 3)
    assert arrays["objectives"].shape == (2, 2, 3)
    assert arrays["sgd_eta"].shape == (2, 2)
    start = np.broadcast_to(arrays["sgd"][:, None, ..., 0, :], arrays["learned"][..., 0, :].shape)
    np.testing.assert_array_equal(start, arrays["learned"][..., 0, :])
    by_train, by_validation = arrays["learned"][:, :, :, 0, -1].swapaxes(0, 1)
    assert (by_train != by_validation).all()
    first = experiment.compute(TINY, experiment.shards(TINY)[0], Context(0, "cpu"))
    np.testing.assert_array_equal(first["curves"], parts[0]["curves"])


@pytest.mark.parametrize("seed", [0, 7])
def test_meta_trainings_share_neither_split_nor_noise_nor_tests_nor_weights(seed):
    pools = [experiment._images("digits8x8", 0.2, "cpu", experiment._seed(seed, "pool", k)) for k in range(2)]
    tested = [{image.tobytes() for image in pool.test_x} for pool in pools]
    trained = [{image.tobytes() for image in pool.train_x} for pool in pools]
    assert tested[0] != tested[1]
    assert all(tests.isdisjoint(images) for tests, images in zip(tested, trained, strict=True))
    labels = [dict(zip((x.tobytes() for x in pool.test_x), pool.test_y, strict=True)) for pool in pools]
    both = set(labels[0]) & set(labels[1])
    assert any(labels[0][image] != labels[1][image] for image in both)
    curves = experiment.compute(TINY, experiment.shards(TINY)[0], Context(seed, "cpu"))["curves"]
    assert (curves[0, 0] != curves[1, 0]).all()


@pytest.mark.parametrize("seed", [0, 3])
def test_side_by_side_each_meta_training_is_what_it_is_alone(seed):
    pools = [experiment._images("digits8x8", 0.2, "cpu", experiment._seed(seed, "pool", k)) for k in range(2)]
    together = experiment._tasks(TINY, 0, pools, 5)
    w = together.init(np.random.default_rng(seed))
    for k, pool in enumerate(pools):
        assert {x.tobytes() for x in together.x[k]} <= {x.tobytes() for x in pool.train_x}
        np.testing.assert_array_equal(together.test[0][k], pool.test_x)
        np.testing.assert_array_equal(together.test[1][k], pool.test_y)
        alone = experiment._tasks(TINY, 0, [pool], 5)
        one = tuple(leaf[k : k + 1] for leaf in w)
        np.testing.assert_allclose(alone.test_loss(one)[0], together.test_loss(w)[k], rtol=1e-5)


def test_the_meta_losses_see_other_images_than_the_inner_loop():
    pool = experiment._images("digits8x8", 0.2, "cpu", 1)
    task = experiment._tasks(TINY, 0, [pool, pool], 3)
    assert task.x.shape[1] == task.validation[0].shape[1] == 20
    for k in range(2):
        seen = {image.tobytes() for image in task.x[k]}
        assert seen.isdisjoint(image.tobytes() for image in task.validation[0][k])
        assert len(seen) == 20
    assert not np.array_equal(task.x[0], task.x[1])


def test_the_step_size_is_the_best_of_its_grid_and_never_one_that_diverges():
    task, means = experiment._tasks(TINY, 1, [experiment._images("digits8x8", 0.0, "cpu", 1)], 5, TINY.runs), {}
    found = experiment._tuned_step_size(TINY, task, 5)
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
    """Return a table in which the two ways end with these training and test losses and accuracies.

    `spread`: of the logs of meta-trainings; networks of one are alike.
    """
    rng = np.random.default_rng(0)
    repeats = 5
    learned = np.zeros((2, 2, repeats, 4, 7, 3))
    learned[..., 0, :] = 2.5
    for k in range(2):
        for curve, values in enumerate((train, test, (0.9, 0.9), score)):
            factors = np.exp(spread * rng.standard_normal((2, repeats, 1, 1)))
            learned[:, k, :, curve, 1:] = values[k] * factors
    return Table({"learned": learned, "sgd": learned[:, 0]}, {})


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, []),
        ({"train": (2.6, 2.7)}, ["learns"]),
        ({"train": (1.0, 1.0)}, ["few_train"]),
        ({"test": (1.5, 1.5)}, ["few_test"]),
        ({"test": (1.6, 1.5), "train": (1.0, 1.1), "spread": 0.3}, ["few_train", "few_test", "many_accuracy"]),
        ({"score": (0.75, 0.80)}, ["many_accuracy"]),
        ({"score": (0.80, 0.70)}, []),
    ],
)
def test_the_verdict(change, failing):
    checks = experiment.verdict(TINY, invented(**change)).checks
    assert [check.key for check in checks if check.fails] == failing


def test_many_networks_of_one_meta_training_do_not_decide():
    """One meta-training of five that goes the other way makes the interval wide, however many networks it has."""
    arrays = invented().arrays
    arrays["learned"][0, 0, 0, 1, 1:] = 0.1
    checks = {check.key: check for check in experiment.verdict(TINY, Table(arrays, {})).checks}
    assert checks["few_test"].fails
    assert checks["least_few_test"].measured < 0.1
