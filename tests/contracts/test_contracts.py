"""One body a protocol: what every task, update rule, objective and estimator must do, a user's own among them."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad, parts
from metagrad.protocols import Objective, Rule, Task
from metagrad.testing import assert_meta_gradient_matches
from metagrad.xp import rng
from tests.estimators.test_agreement import worst_difference
from tests.optimizers.rules import HAND_DESIGNED, in_dtype
from tests.strategies import OBJECTIVES, random_quadratic


class HeavyBall:
    """A user's update rule: `init` and `step`, nothing else."""

    class Phi(NamedTuple):
        eta: np.ndarray
        beta: np.ndarray

    def init(self, phi, w):
        return np.zeros_like(w)

    def step(self, phi, velocity, w, f):
        velocity = phi.beta * velocity - phi.eta * f.gradient(w)
        return w + velocity, velocity


def regression(dtype=np.float64):
    """A small two-layer regression with replayable minibatches, two tasks side by side."""
    draw = rng(3, "regression")
    X, y = draw.standard_normal((2, 30, 3)).astype(dtype), draw.standard_normal((2, 30)).astype(dtype)

    def loss(w, sample):
        W, v = w[:, :12].reshape((2, 3, 4)), w[:, 12:]
        hidden = np.tanh(np.matmul(X[:, sample], W))
        return np.mean((np.einsum("bnh,bh->bn", hidden, v) - y[:, sample]) ** 2, axis=-1) + 0.1

    w0 = (0.5 * draw.standard_normal((2, 16))).astype(dtype)
    return mg.FunctionTask(loss, w0, sampler=lambda stream, t: stream.choice(30, size=8, replace=False))


def log_cosh():
    return mg.FunctionTask(lambda w: np.sum(np.log(np.cosh(w)), axis=-1), rng(4).standard_normal((3, 4)))


def minibatches(replacement):
    draw = rng(5, "minibatches")
    X, y = draw.standard_normal((2, 7, 3)), draw.standard_normal((2, 7))
    return mg.LeastSquares(X, y, w0=draw.standard_normal(3), batch_size=4, replacement=replacement)


def classifier(dtype=np.float64, **more):
    draw = rng(7, "classifier")
    x, y = draw.random((2, 9, 2)).astype(dtype), draw.integers(3, size=(2, 9))
    return mg.MLPClassifier(mg.MLP((2, 2, 3), init_std=0.5), x, y, batch_size=4, **more)


TASKS = {
    "quadratic": lambda: random_quadratic(2, 3, seed=1),
    "diagonal": lambda: random_quadratic(2, 3, seed=2, diagonal=True),
    "log cosh": log_cosh,
    "regression": regression,
    "least squares": lambda: mg.random_least_squares(2, 6, 3, sigma=0.5, seed=1, split=0.5),
    "minibatches": lambda: minibatches(replacement=True),
    "minibatches without replacement": lambda: minibatches(replacement=False),
    "regressions": lambda: mg.random_regressions(2, 3, family="uniform", factor=0.5, seed=2),
    "classifier": classifier,
    "classifier in epochs": lambda: classifier(epoch_seed=3),
}
TASKS["regressor"] = lambda: mg.Sinusoids(mg.MLP((1, 2, 1), "tanh", "fan_in"), count=2, shots=3)(1)
LEARNED = {"lstm": mg.CoordinatewiseLSTM.quadratic((1,)), "mlp31": mg.MLP31(hidden=1, scale=0.05, exponent_scale=0.1)}
UNCONSTRAINED = {
    "unconstrained adam": mg.Unconstrained(mg.Adam(), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01)),
    "unconstrained momentum": mg.Unconstrained(mg.Momentum(), mg.Momentum.Phi(0.1, 0.6), maps={"eta": "softplus"}),
    "unconstrained rmsprop": mg.Unconstrained(mg.RMSprop(), mg.RMSprop.Phi(0.05, 0.8, 0.01), ("eps",)),
}
CHAIN = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), rule=mg.Momentum())
LIMITED = mg.Chain(mg.GradientNoise(shared=True), mg.ClipByValue(), rule=mg.AdamW())
COSINE = mg.Following(mg.Momentum(), eta=mg.WarmUp(mg.Cosine(period=9)))
EXPONENTIAL = mg.Following(CHAIN, max_norm=mg.Exponential())
NEW = {
    "lion": (mg.Lion(), mg.Lion.Phi(0.02, 0.7, 0.8, 0.3)),
    "chain": (CHAIN, CHAIN.Phi(0.8, 0.02, 0.2, 0.6)),
    "chain of noise and limits": (LIMITED, LIMITED.Phi(0.1, 0.3, 0.5, 0.05, 0.8, 0.95, 0.01, 0.2)),
    "masked": (mg.Masked(mg.Momentum(), True), mg.Momentum.Phi(0.1, 0.6)),
    "until": (mg.Until(mg.Adam(), 0.6), mg.Adam.Phi(0.05, 0.8, 0.95, 0.01)),
    "warm-up and cosine": (COSINE, COSINE.Phi(3.5, 0.2, 0.05, 0.6)),
    "exponential limit": (EXPONENTIAL, EXPONENTIAL.Phi(0.8, 0.9, 0.02, 0.2, 0.6)),
}
RULES = {
    "gradient descent": (mg.GradientDescent(), mg.GradientDescent.Phi(np.asarray(0.2))),
    "heavy ball": (HeavyBall(), HeavyBall.Phi(np.asarray(0.1), np.asarray(0.6))),
    "scheduled": (mg.Scheduled(mg.GradientDescent()), mg.GradientDescent.Phi(np.linspace(0.1, 0.3, 6))),
    "never truncated": (mg.Stopped(mg.GradientDescent(), np.inf), mg.GradientDescent.Phi(np.asarray(0.2))),
    **{name: (rule, in_dtype(phi, np.float64)) for name, (rule, phi, *_) in HAND_DESIGNED.items()},
    **{name: (rule, in_dtype(phi, np.float64)) for name, (rule, phi) in NEW.items()},
    "grouped": (
        mg.Grouped({"all": mg.Momentum()}, lambda path: "all"),
        {"all": mg.Momentum.Phi(np.asarray(0.1), np.asarray(0.6))},
    ),
    **{name: (rule, rule.init_meta(rng(6, name))) for name, rule in UNCONSTRAINED.items()},
    **{name: (rule, rule.init_meta(rng(6, name))) for name, rule in LEARNED.items()},
}
ON_ONE_ARRAY = ("heavy ball", "never truncated")  # the w of a classifier is a tuple
# Forward mode takes as long as there are weights: the learned rules meet three of the tasks.
PAIRS = [
    (t, r)
    for t in TASKS
    for r in RULES
    if (r not in LEARNED or t in ("quadratic", "regression", "classifier"))
    and not (r in ON_ONE_ARRAY and t.startswith(("classifier", "regressor")))
]


@pytest.mark.parametrize("name", TASKS)
def test_a_task(name):
    task = TASKS[name]()
    assert isinstance(task, Task)
    w = task.init(rng(0))
    sample = task.sample(rng(0, "sample", 0), 0) if hasattr(task, "sample") else None
    loss = task.loss(w, sample)
    assert {leaf.shape[:1] for leaf in ad.leaves(w)} == {loss.shape}
    assert {leaf.dtype for leaf in ad.leaves(w)} == {loss.dtype}
    if hasattr(task, "gradient"):
        by_tape = ad.grad(lambda x: task.loss(x, sample))(w)
        for own, taped in zip(ad.leaves(task.gradient(w, sample)), ad.leaves(by_tape), strict=True):
            np.testing.assert_allclose(own, taped, rtol=1e-12, atol=1e-14)
    degree = getattr(task, "degree", None)
    if degree is not None:
        np.testing.assert_allclose(task.loss(3.0 * w, sample), 3.0**degree * loss, rtol=1e-14)


@pytest.mark.parametrize("name", RULES)
def test_an_optimizer(name):
    rule, phi = RULES[name]
    assert isinstance(rule, Rule)
    w, g = np.ones((2, 3)), np.full((2, 3), 0.5)
    start, phi = rule.init(phi, w), parts.at(rule, phi, 0)
    moved, state = rule.step(phi, start, w, mg.FixedGradient(g))
    assert moved.shape == w.shape
    moved, _ = rule.step(phi, state, moved, mg.FixedGradient(g))
    if parts.is_homogeneous(rule):
        scaled, state = rule.step(phi, start, 4 * w, mg.FixedGradient(4 * g))
        scaled, _ = rule.step(phi, state, scaled, mg.FixedGradient(4 * g))
        assert np.array_equal(scaled, 4 * moved)


def two_steps(rule, phi, w, gradients):
    state = rule.init(phi, w)
    for t, g in enumerate(gradients):
        w, state = rule.step(parts.at(rule, phi, t), state, w, mg.FixedGradient(g))
    return w


@pytest.mark.parametrize("name", RULES)
def test_tasks_side_by_side_do_not_see_each_other(name):
    rule, phi = RULES[name]
    draw = rng(8, name)
    w, gradients = draw.standard_normal((3, 4)), draw.standard_normal((2, 3, 4))
    together = two_steps(rule, phi, w, gradients)
    alone = [two_steps(rule, phi, w[b : b + 1], gradients[:, b : b + 1]) for b in range(3)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-14)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", RULES)
def test_a_gradient_that_is_no_number_gives_no_number(name, bad):
    rule, phi = RULES[name]
    gradients = np.full((2, 2, 3), 0.5)
    gradients[0, 0, 1] = bad
    with np.errstate(invalid="ignore"):
        moved = two_steps(rule, phi, np.ones((2, 3)), gradients)
    assert not np.isfinite(moved[0, 1])
    assert np.isfinite(moved[1]).all()


@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
@pytest.mark.parametrize("name", RULES)
def test_gradients_of_exactly_zero(name, gradient):
    """One coordinate has no gradient at any step, and in one task none has."""
    rule, phi = RULES[name]
    task = mg.Quadratic(np.diag([1.0, 0.5, 0.0]), np.array([[1.0, -0.5, 0.3], [0.0, 0.0, 0.2]]))
    reverse, forward = (
        e(task, rule, mg.WeightedSum(), phi, steps=6) for e in (mg.Reverse(gradient), mg.Forward(gradient=gradient))
    )
    for a, b in zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True):
        assert np.isfinite(a.to_float()).all()
        np.testing.assert_allclose(a.to_float(), b.to_float(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_optimizer(name):
    rule = LEARNED[name]
    phi, again, other = (rule.init_meta(rng(seed), np.float32) for seed in (1, 1, 2))
    for x, y, z in zip(*map(ad.leaves, (phi, again, other)), strict=True):
        assert x.dtype == np.float32
        assert np.array_equal(x, y)
        assert x.size < 2 or not x.any() or np.ptp(x) == 0 or not np.array_equal(x, z)
    assert rule.check_phi(phi, "here") is phi
    leaves = ad.leaves(phi)
    for k, leaf in enumerate(leaves):
        for spoilt, kind in ((np.full_like(leaf, np.nan), ValueError), (leaf[:-1], ValueError), (1.0, TypeError)):
            with pytest.raises(kind, match="here: phi"):
                rule.check_phi(ad.unflatten(phi, [*leaves[:k], spoilt, *leaves[k + 1 :]]), "here")


@pytest.mark.parametrize("name", LEARNED)
def test_weights_of_integers_are_not_drawn(name):
    with pytest.raises(TypeError, match="dtype is int64; expected a float dtype"):
        LEARNED[name].init_meta(rng(0), np.int64)


def test_a_rollout_takes_what_an_unroll_takes():
    task, rule = random_quadratic(2, 3, seed=1, dtype=np.float32), mg.GradientDescent()
    curve = mg.rollout(task, rule, 0.1, steps=3)
    assert np.array_equal(curve, mg.rollout(task, rule, rule.Phi(np.float32(0.1)), steps=3))
    assert curve.shape == (4, 2)
    assert mg.rollout(task, rule, 0.1, steps=0).shape == (1, 2)
    weights = mg.CoordinatewiseLSTM().init_meta(rng(0))
    for learned, phi, message in (
        (mg.CoordinatewiseLSTM(), mg.MLP31().init_meta(rng(0)), r"rollout: phi is a Phi with 4 arrays"),
        (mg.CoordinatewiseLSTM(), weights, "rollout: phi is an array of float64 while the task is float32"),
        (mg.Adam(), rule.Phi(0.1), r"rollout: phi is a Phi; expected Adam\.Phi"),
    ):
        with pytest.raises(TypeError, match=message):
            mg.rollout(task, learned, phi, steps=3)
    with pytest.raises(TypeError, match=r"rollout: steps is 2\.5"):
        mg.rollout(task, rule, 0.1, steps=2.5)
    with pytest.raises(ValueError, match="rollout: steps is -1; expected an integer of at least 0"):
        mg.rollout(task, rule, 0.1, steps=-1)


def test_a_rollout_keeps_the_digits_of_python_floats():
    """1 - 0.999 in float64, then beside float32: as the rule itself does it, step by step."""
    task, rule, phi = random_quadratic(2, 3, seed=1, dtype=np.float32), mg.RMSprop(), mg.RMSprop.Phi(0.05, 0.999)
    curve, w, state = mg.rollout(task, rule, phi, steps=9), task.w0, rule.init(phi, task.w0)
    for t in range(9):
        np.testing.assert_array_equal(curve[t], task.loss(w, None))
        w, state = rule.step(phi, state, w, mg.FixedGradient(task.gradient(w, None)))
    np.testing.assert_array_equal(curve[9], task.loss(w, None))


@pytest.mark.parametrize("objective", [*OBJECTIVES, mg.LogExcess(), mg.LogExcess(-0.5, "loss")], ids=repr)
def test_an_objective(objective):
    assert isinstance(objective, Objective)
    assert objective.weight(6, 6) is not None, "the last iterate always counts"
    if parts.looks_at_the_last_only(objective):
        assert all(objective.weight(t, 6) is None for t in range(6))
    x, h = mg.Scaled.of(np.array([2.5])), 1e-6
    for transform in (objective.inner, lambda s: objective.finish(s, 6)):
        ahead, behind = (transform(mg.Scaled.of(np.array([2.5 + d])))[0].to_float() for d in (h, -h))
        assert transform(x)[1].to_float() == pytest.approx((ahead - behind) / (2 * h), rel=1e-8)


@pytest.mark.parametrize(("task_name", "rule_name"), PAIRS)
@pytest.mark.parametrize("objective", [mg.LogFinal(), mg.WeightedSum(), mg.LogExcess(-0.5, "loss")], ids=repr)
def test_reverse_is_forward_is_the_difference_quotient(task_name, rule_name, objective):
    task, (rule, phi) = TASKS[task_name](), RULES[rule_name]
    reverse, forward, alone = (
        e(task, rule, objective, phi, steps=6, seed=5) for e in (mg.Reverse(), mg.Forward(), mg.Value())
    )
    assert reverse.ok
    assert forward.ok
    assert worst_difference(reverse.value, alone.value) <= 1e-13  # so the quotients below are of either
    for which, (a, b) in enumerate(zip(ad.leaves(reverse.grad), ad.leaves(forward.grad), strict=True)):
        assert worst_difference(a.reshape((-1,)), b.reshape((-1,))) <= 1e-11
        flat = ad.leaves(phi)
        h = np.zeros_like(flat[which])
        h[(0,) * h.ndim] = 1e-6
        ahead, behind = (
            mg.Value()(
                task,
                rule,
                objective,
                ad.unflatten(phi, [*flat[:which], flat[which] + s * h, *flat[which + 1 :]]),
                steps=6,
                seed=5,
            ).value.to_float()
            for s in (1, -1)
        )
        slope = (ahead - behind).mean() / 2e-6
        assert a.to_float()[(0,) * h.ndim] == pytest.approx(slope, rel=1e-5, abs=1e-8)


# Every task and every rule: those pairs whose numbers are the same, counted round.
SOME = [(t, r) for t, r in PAIRS if [*TASKS].index(t) == [*RULES].index(r) % len(TASKS)]


def test_some_pairs_have_every_task_and_most_rules():
    assert {t for t, _ in SOME} == set(TASKS)
    assert len({r for _, r in SOME}) >= len(RULES) - 3


@pytest.mark.parametrize(("task_name", "rule_name"), SOME)
def test_values_alone_give_the_meta_gradient(task_name, rule_name):
    """Nine digits, in every meta-parameter, of differences that no derivative enters."""
    task, (rule, phi) = TASKS[task_name](), RULES[rule_name]
    match = assert_meta_gradient_matches(task, rule, mg.LogFinal(), phi, 6, seed=5, against="differences")
    assert match.asked >= 9


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("estimator", [mg.Reverse(), mg.Forward(), mg.Reverse(scaling="none")], ids=repr)
@pytest.mark.parametrize("name", RULES)
def test_the_dtype_stays(name, estimator, dtype):
    rule, phi = RULES[name]
    phi = ad.tree_map(lambda leaf: leaf.astype(dtype), phi)
    for task in (regression(dtype), random_quadratic(2, 3, seed=1, dtype=dtype)):
        found = estimator(task, rule, mg.LogFinal(), phi, steps=6)
        assert found.value.dtype == dtype
        assert all(leaf.dtype == dtype for leaf in ad.leaves(found.grad))


def test_minibatches_are_replayed_whatever_the_memory():
    task, phi = regression(), mg.GradientDescent.Phi(np.asarray(0.2))
    state = task.w0.nbytes + 2 * 8
    few, many = (
        mg.Reverse(memory=m)(task, mg.GradientDescent(), mg.MeanLog(), phi, steps=25, seed=7)
        for m in (4 * state, 1 << 30)
    )
    assert np.array_equal(few.grad.eta.mantissa, many.grad.eta.mantissa)
    other = mg.Reverse()(task, mg.GradientDescent(), mg.MeanLog(), phi, steps=25, seed=8)
    assert not np.array_equal(other.grad.eta.mantissa, many.grad.eta.mantissa)


def test_without_numba_the_numbers_are_the_same(monkeypatch):
    for kind in (False, True):
        task = random_quadratic(3, 4, seed=9, diagonal=kind)
        for scaling in ("auto", "none"):
            estimator = mg.Reverse(scaling=scaling, per_task=True)
            phi = mg.GradientDescent.Phi(np.array([0.3, 1.2, 2.9]))
            compiled = estimator(task, mg.GradientDescent(), mg.LogFinal(), phi, steps=900)
            with monkeypatch.context() as patch:
                patch.setattr("metagrad.kernels.block_descent.find_spec", lambda name: None)
                plain = estimator(task, mg.GradientDescent(), mg.LogFinal(), phi, steps=900)
            assert (compiled.grad.eta.relative_difference(plain.grad.eta)[:2] <= 1e-9).all()
            assert np.array_equal(compiled.status, plain.status)
            assert np.abs(compiled.status_step - plain.status_step).max() <= 1
