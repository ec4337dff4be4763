"""Reptile's pseudo-gradient: against the way of a rollout, in every unit, and what it refuses."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.errors import Status

RULES = {
    "descent": (mg.GradientDescent(), 0.1),
    "Adam": (mg.Adam(), mg.Adam.Phi(0.05)),
    "schedule": (mg.Scheduled(mg.GradientDescent()), np.array([0.1, 0.2, 0.05])),
}


def family(count=4, dtype=np.float64, seed=0):
    r = np.random.default_rng(seed)
    x, y = r.standard_normal((count, 6, 2)).astype(dtype), r.standard_normal((count, 6)).astype(dtype)

    def loss(w):
        z = np.einsum("bni,bi->bn", x, w["a"]) + w["b"]
        return np.mean((np.tanh(z) - y) ** 2, axis=-1)

    w0 = {"a": r.standard_normal((count, 2)).astype(dtype), "b": np.zeros((count, 1), dtype)}
    return mg.LearnedStart(mg.FunctionTask(loss, w0))


def end(task, rule, phi, seed=0):
    _, at = mg.rollout(task, rule, phi, steps=3, seed=seed, with_end=True)
    return at.w


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_the_way_of_the_run(name, dtype):
    task, (rule, of_rule) = family(dtype=dtype), RULES[name]
    of_rule = of_rule.astype(dtype) if isinstance(of_rule, np.ndarray) else of_rule
    phi = mg.Joint(of_rule, task.first())
    found = mg.meta_gradient(task, rule, mg.Final(), phi, steps=3, method="reptile")
    last = end(task, rule, phi)
    assert found.ok
    assert found.end is None
    tolerance = 8 * np.finfo(dtype).eps
    for key in ("a", "b"):
        expected = phi.task[key] - last[key].mean(axis=0)
        np.testing.assert_allclose(found.grad.task[key].to_float(), expected, rtol=0, atol=tolerance)
    value = mg.value(task, rule, mg.Final(), phi, steps=3).value.to_float()
    np.testing.assert_array_equal(found.value.to_float(), value)
    of_rule = [leaf.to_float() for leaf in mg.ad.leaves(found.grad.rule)]
    assert of_rule
    assert not any(leaf.any() for leaf in of_rule), "the rule is held"
    assert "pseudo-gradient" in found.report()


def test_the_unit_and_a_start_of_each_task():
    task = family()
    starts = mg.ad.tree_map(lambda leaf: np.stack([leaf + k for k in range(4)]), task.first())
    ask = (task, mg.GradientDescent(), mg.Final(), mg.Joint(np.full(4, 0.1), starts))
    found = mg.meta_gradient(*ask, steps=3, method="reptile", per_task=True, step_size=0.1)
    _, at = mg.rollout(*ask[:2], ask[3], steps=3, per_task=True, with_end=True)
    for key in ("a", "b"):
        expected = (starts[key] - at.w[key]) / 0.1
        np.testing.assert_allclose(found.grad.task[key].to_float(), expected, rtol=0, atol=1e-13)


def test_a_run_that_outgrows_the_floats():
    """w_k = (1 - 3)^k phi, after 2000 steps of a quadratic: the way is phi - w_k, of any size."""
    task = mg.LearnedStart(mg.Quadratic(np.eye(1), np.ones((2, 1))))
    ask = (task, mg.GradientDescent(), mg.Final(), mg.Joint(3.0, np.array([0.75])))
    found = mg.meta_gradient(*ask, steps=2000, method="reptile")
    assert found.ok
    np.testing.assert_allclose(found.grad.task.log10abs(), 2000 * np.log10(2) + np.log10(0.75), rtol=1e-14)
    assert found.grad.task.sign() == -1
    near = mg.meta_gradient(*ask[:3], mg.Joint(0.5, np.array([0.75])), steps=2000, method="reptile")
    assert near.grad.task.to_float() == 0.75, "w_k is 0 beside phi"


def test_an_entry_that_is_lost_beside_one_that_grows_faster_has_a_status():
    """w_k = (1 - 100 h)^k phi: with one exponent for both, 99^2000 is 0 beside 399^2000."""
    task = mg.LearnedStart(mg.Quadratic(np.diag([1.0, 4.0]), np.ones((2, 2))))
    ask = (task, mg.GradientDescent(), mg.Final(), mg.Joint(100.0, np.array([0.5, 0.2])))
    found = mg.meta_gradient(*ask, steps=2000, method="reptile")
    assert found.grad.task.log2abs()[0] == -np.inf
    assert (found.status == Status.ENTRIES_LOST.code).all()
    assert mg.meta_gradient(*ask, steps=20, method="reptile").ok


def test_tasks_of_far_sizes_are_added_and_kept_apart():
    H = np.array([[[1.0]], [[0.5]]])
    task = mg.LearnedStart(mg.Quadratic(H, np.ones((2, 1))))
    found = mg.meta_gradient(
        task, mg.GradientDescent(), mg.Final(), mg.Joint(3.0, np.array([1.0])), steps=1100, method="reptile"
    )
    np.testing.assert_allclose(found.grad.task.log10abs(), 1100 * np.log10(2) - np.log10(2), rtol=1e-13)
    starts = mg.Joint(np.full(2, 3.0), np.ones((2, 1)))
    each = mg.meta_gradient(
        task, mg.GradientDescent(), mg.Final(), starts, steps=1100, method="reptile", per_task=True
    ).grad.task
    np.testing.assert_allclose(each.log10abs()[:, 0], [1100 * np.log10(2), 0.0], atol=1e-10)


def test_a_task_that_diverges_has_a_status():
    def loss(w):
        return np.sum(w**4, axis=-1)

    task = mg.LearnedStart(mg.FunctionTask(loss, np.ones((2, 1))))
    phi = mg.Joint(10.0, np.array([3.0]))
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), phi, steps=20, method="reptile")
    assert not found.ok
    assert not np.isfinite(found.grad.task.mantissa).all()


def test_a_way_longer_than_the_floats():
    task = mg.LearnedStart(mg.FunctionTask(lambda w: np.sum(w, axis=-1), np.ones((1, 1))))
    phi = mg.Joint(1e308, np.array([1.5e308]))
    found = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), phi, steps=3, method="reptile")
    assert found.status.tolist() == [Status.GRADIENT_OVERFLOW.code]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"phi": 0.1}, "without a start that is learned"),
        ({"phi": mg.Joint(0.1)}, "without a start that is learned"),
        ({"at": mg.Position(np.ones((3, 2)), (), np.zeros(3, int), 5)}, "a position at step 5"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_what_it_refuses(change, words):
    task = mg.LearnedStart(mg.Quadratic(np.eye(2), np.ones((3, 2))))
    given = {"phi": mg.Joint(0.1, np.ones(2)), "steps": 2} | change
    with pytest.raises(ValueError, match=words):
        mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), **given, method="reptile")


def test_it_refuses_a_start_that_is_not_learned():
    task = mg.FunctionTask(lambda w, theta: theta * np.sum(w * w, axis=-1), np.ones((2, 3)), theta=np.array(1.0))
    with pytest.raises(ValueError, match="owes nothing"):
        mg.meta_gradient(
            task, mg.GradientDescent(), mg.Final(), mg.Joint(0.1, np.array(1.0)), steps=2, method="reptile"
        )


def test_a_trainer_takes_whole_runs_and_no_windows():
    from metagrad.training import Recipe, Trainer

    task = mg.LearnedStart(mg.Quadratic(np.eye(2), np.ones((3, 2))))
    trainer = Trainer(
        mg.GradientDescent(),
        lambda seed: task,
        mg.Final(),
        Recipe(episodes=4, horizon=2, window=2, evaluate_every=4, evaluation_steps=2),
        outer=mg.Descent(0.5, power=0.0),
        outer_phi=None,
        estimator=mg.Reptile(),
    )
    found = trainer.run(mg.Joint(0.5, np.ones(2)))
    # w_2 = phi/4, phi <- phi - (phi - phi/4)/2 = 5/8 phi
    np.testing.assert_allclose(found.last.task, (5 / 8) ** 4 * np.ones(2), rtol=1e-14)
    assert found.last.rule.eta == 0.5
