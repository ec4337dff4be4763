"""Meta-parameters of the task beside those of the rule: every door, in every mode, against differences and formulas."""

from typing import NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.system import begin
from metagrad.xp import rng
from tests.strategies import random_quadratic


def few_shot(seed, dtype=np.float64):
    """Four regressions, five samples to adapt to and nine to be judged by."""
    draw = rng(seed, "few shot")
    X, Xq = draw.standard_normal((4, 5, 3)), draw.standard_normal((4, 9, 3))
    v = 1.0 + 0.3 * draw.standard_normal((4, 3))
    X, Xq, y, yq = (x.astype(dtype) for x in (X, Xq, np.einsum("bni,bi->bn", X, v), np.einsum("bni,bi->bn", Xq, v)))

    def squares(X, y, w):
        return np.mean((np.einsum("bni,bi->bn", X, w["w"]) + w["b"] - y) ** 2, axis=-1)

    w0 = {"w": np.zeros((4, 3), dtype), "b": np.zeros((4, 1), dtype)}
    return mg.FunctionTask(lambda w: squares(X, y, w), w0, validation=lambda w: squares(Xq, yq, w))


def maml(seed):
    draw = rng(seed, "maml")
    start = {"w": draw.standard_normal(3), "b": draw.standard_normal(1)}
    return mg.LearnedStart(few_shot(seed)), mg.GradientDescent(), mg.Final("validation"), mg.Joint(0.05, start)


def meta_sgd(seed):
    """Meta-SGD: a start and a step size for every coordinate."""
    task, rule, objective, phi = maml(seed)
    draw = rng(seed, "meta sgd")
    eta = {"w": draw.uniform(0.02, 0.08, 3), "b": draw.uniform(0.02, 0.08, 1)}
    return task, rule, objective, phi._replace(rule=mg.GradientDescent.Phi(eta))


def decay(seed):
    """Weight decay on minibatches, judged on held-out data, in logarithms along the way."""
    draw = rng(seed, "decay")
    X, y, Xv, yv = (draw.standard_normal(s) for s in ((3, 30, 4), (3, 30), (3, 20, 4), (3, 20)))

    def loss(w, sample, theta):
        fit = np.mean((np.einsum("bni,bi->bn", X[:, sample], w) - y[:, sample]) ** 2, axis=-1)
        return fit + np.exp(theta["log decay"]) * np.sum(w * w, axis=-1)

    def held_out(w):
        return np.mean((np.einsum("bni,bi->bn", Xv, w) - yv) ** 2, axis=-1)

    task = mg.FunctionTask(
        loss,
        draw.standard_normal((3, 4)),
        sampler=lambda stream, t: stream.choice(30, 7, replace=False),
        validation=held_out,
        theta={"log decay": -2.0},
    )
    rule = mg.Adam()
    return task, rule, mg.MeanLog("validation"), mg.Joint(mg.Adam.Phi(0.05, 0.8, 0.95, 0.01), {"log decay": -1.0})


def learned_data(seed):
    """Three learned samples, from which training reaches parameters that fit real ones."""
    draw = rng(seed, "learned data")
    X = draw.standard_normal((40, 4))
    y = np.tanh(X @ draw.standard_normal(4))

    def on_learned(w, theta):
        return np.mean((np.matmul(w, np.swapaxes(theta["x"], 0, 1)) - theta["y"]) ** 2, axis=-1)

    def on_real(w):
        return np.mean((np.matmul(w, X.T) - y) ** 2, axis=-1)

    theta = {"x": 0.5 * draw.standard_normal((3, 4)), "y": np.array([1.0, -1.0, 0.0])}
    task = mg.FunctionTask(on_learned, np.zeros((1, 4)), validation=on_real, theta=theta)
    return task, mg.Momentum(), mg.Final("validation"), mg.Joint(mg.Momentum.Phi(0.1, 0.5), theta)


class Hyper(NamedTuple):
    """A VeLO-like rule in miniature: what it reads, how it scales, where its state starts."""

    reads: np.ndarray
    scale: np.ndarray
    first: np.ndarray


class SeesEverything:
    """Steps by a network of the loss, the fraction of training that is done, and a memory for every tensor."""

    class State(NamedTuple):
        memory: dict
        best: np.ndarray

    def init(self, phi, w):
        batch = next(iter(w.values())).shape[0]
        memory = {name: phi.first + np.zeros((batch, 1)) for name in w}  # a learned initial state
        return self.State(memory, np.full(batch, np.inf))  # no loss has been seen yet

    def step(self, phi, state, w, f):
        loss, g, fraction = f(w), f.gradient(w), f.t / f.steps
        moved, memory = {}, {}
        for name, x in w.items():
            size = np.sqrt(np.mean(g[name] ** 2, axis=-1, keepdims=True) + 1e-6)
            seen = phi.reads[0] * state.memory[name] + phi.reads[1] * size + phi.reads[2] * np.log(loss)[:, None]
            memory[name] = np.tanh(seen + phi.reads[3] * fraction)
            moved[name] = x - phi.scale * np.exp(memory[name]) * g[name] / size
        return moved, self.State(memory, np.minimum(state.best, loss))

    def answer(self, phi, state, w):
        return ad.tree_map(lambda leaf: leaf + 0.1 * phi.first, w)


def velo_like(seed):
    draw = rng(seed, "velo")
    phi = Hyper(0.3 * draw.standard_normal(4), np.asarray(0.05), np.asarray(0.2))
    return few_shot(seed), SeesEverything(), mg.Mean("validation"), phi


def start_and_theta(seed):
    """A learned start, a decay, a schedule in one of two hyper-parameters."""
    task, _, _, phi = decay(seed)
    start = rng(seed, "start").standard_normal(4)
    rule = mg.Scheduled(mg.Momentum(), ("eta",))
    of_rule = mg.Momentum.Phi(rng(seed, "eta").uniform(0.01, 0.05, 6), np.asarray(0.4))
    return mg.LearnedStart(task), rule, mg.WeightedSum(0.9), mg.Joint(of_rule, (start, phi.task))


CASES = {f.__name__: f for f in (maml, meta_sgd, decay, learned_data, velo_like, start_and_theta)}
STEPS = 6


def solve(case, **options):
    task, rule, objective, phi = case
    return mg.meta_gradient(task, rule, objective, phi, steps=STEPS, seed=2, **options)


def numbers(grad):
    return np.concatenate([np.ravel(leaf.to_float()) for leaf in ad.leaves(grad)])


def differences(case, **options):
    """Return central differences of the mean value in every meta-parameter."""
    task, rule, objective, phi = case
    flat, found = [np.asarray(leaf, np.float64) for leaf in ad.leaves(phi)], []
    for which, leaf in enumerate(flat):
        for index in np.ndindex(leaf.shape):
            ends = []
            for h in (1e-5, -1e-5):
                moved = leaf.copy()
                moved[index] += h
                at = ad.unflatten(phi, [*flat[:which], moved, *flat[which + 1 :]])
                ends.append(solve((task, rule, objective, at), **options).value.to_float().mean())
            found.append((ends[0] - ends[1]) / 2e-5)
    return np.array(found)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_reverse_is_forward_is_the_difference_quotient(name, seed):
    case = CASES[name](seed)
    reverse, forward = solve(case), solve(case, method="forward")
    assert reverse.ok, reverse.report()
    assert forward.ok, forward.report()
    exact = numbers(reverse.grad)
    np.testing.assert_allclose(numbers(forward.grad), exact, rtol=1e-11, atol=1e-13 * np.abs(exact).max())
    np.testing.assert_allclose(exact, differences(case), rtol=2e-6, atol=1e-8 * np.abs(exact).max())


@pytest.mark.parametrize("name", CASES)
def test_plain_floats_and_little_memory_give_the_same(name):
    case = CASES[name](3)
    found = solve(case)
    plain, few = solve(case, scaling="none"), solve(case, memory=3000)
    np.testing.assert_allclose(numbers(plain.grad), numbers(found.grad), rtol=1e-12, atol=1e-15)
    for a, b in zip(ad.leaves(few.grad), ad.leaves(found.grad), strict=True):
        np.testing.assert_array_equal(a.mantissa, b.mantissa)
        np.testing.assert_array_equal(a.exponent, b.exponent)


@pytest.mark.parametrize("name", CASES)
def test_one_window_is_reverse_bit_for_bit(name):
    case = CASES[name](4)
    found, windows = solve(case), solve(case, method="windows", window=STEPS)
    for a, b in zip(ad.leaves((found.value, found.grad)), ad.leaves((windows.value, windows.grad)), strict=True):
        np.testing.assert_array_equal(a.mantissa, b.mantissa)
        np.testing.assert_array_equal(a.exponent, b.exponent)


@pytest.mark.parametrize("name", CASES)
def test_windows_are_the_sum_of_gradients_of_runs_that_begin_where_the_last_one_ended(name):
    """By hand: differences of the value of each window in phi, its start held."""
    task, rule, objective, phi = CASES[name](5)
    found = mg.meta_gradient(task, rule, objective, phi, steps=STEPS, seed=2, method="windows", window=2)
    whole = mg.meta_gradient(task, rule, objective, phi, steps=STEPS, seed=2)
    np.testing.assert_allclose(found.value.to_float(), whole.value.to_float(), rtol=1e-13)
    assert found.end.t == STEPS
    np.testing.assert_allclose(ad.leaves(found.end.w)[0], ad.leaves(whole.end.w)[0], rtol=1e-13)
    if isinstance(phi, mg.Joint):
        assert "holds its start constant" in found.report()


def test_windows_of_a_sum_against_differences_window_by_window():
    task, rule, _, phi = decay(6)
    objective, h = mg.WeightedSum(measure="validation"), 1e-6
    found = mg.meta_gradient(task, rule, objective, phi, steps=STEPS, seed=2, method="windows", window=2)
    total, position = 0.0, begin(task, rule, phi, 2)
    for _ in range(3):
        ends = [
            mg.Value()(
                task,
                rule,
                objective,
                phi._replace(task={"log decay": -1.0 + s}),
                steps=2,
                seed=2,
                at=position,
                run=STEPS,
            )
            for s in (h, -h, 0.0)
        ]
        total += (ends[0].value.to_float().mean() - ends[1].value.to_float().mean()) / (2 * h)
        position = ends[2].end
    assert found.grad.task["log decay"].to_float() == pytest.approx(total, rel=1e-7)


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_per_task_is_task_by_task(method):
    """Each task with meta-parameters of its own: their mean is the shared meta-gradient where all are equal."""
    task, rule, objective, phi = maml(7)
    spread = ad.tree_map(lambda x: np.repeat(np.asarray(x)[None], 4, axis=0), mg.Joint(rule.Phi(0.05), phi.task))
    found = mg.meta_gradient(task, rule, objective, spread, steps=STEPS, seed=2, method=method, per_task=True)
    shared = solve((task, rule, objective, phi))
    for a, b in zip(ad.leaves(found.grad), ad.leaves(shared.grad), strict=True):
        assert a.shape[0] == 4
        np.testing.assert_allclose(a.to_float().mean(axis=0), b.to_float(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("steps", [3, 1000])
@pytest.mark.parametrize("objective", [mg.Final(), mg.LogFinal(), mg.Final("squared_norm")], ids=repr)
@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_a_learned_start_of_quadratics_at_any_size(steps, objective, method):
    """w_T = A^T w_0 with A = I - eta H: d/d w_0 of w'Hw/2 is A^T H A^T w_0, by its eigen-coordinates, of any size."""
    task = random_quadratic(3, 2, seed=1, diagonal=True)
    few, w0, eta = mg.LearnedStart(task), np.array([0.7, -0.4]), 3.1
    phi = mg.Joint(eta, w0)
    found = mg.meta_gradient(few, mg.GradientDescent(), objective, phi, steps=steps, method=method)
    assert found.ok, found.report()
    lam, curvature = task.eigenvalues, task.eigenvalues
    if objective.measure.name == "squared_norm":
        curvature = np.full_like(lam, 2.0)
    growth = 2 * steps * np.log2(np.abs(1 - eta * lam))  # log2 of A^2T
    each = mg.Scaled.of(curvature * w0 * np.exp2(growth % 1), np.floor(growth).astype(np.int64))
    if isinstance(objective, mg.LogFinal):
        value = mg.Scaled.of(curvature * w0**2 / 2 * np.exp2(growth % 1), np.floor(growth).astype(np.int64)).sum(axis=1)
        each = each / mg.Scaled(value.mantissa[:, None] * steps, value.exponent[:, None])
    expected = each.sum(axis=0)
    expected = mg.Scaled.of(expected.mantissa / 3, expected.exponent)
    # a mode that is far smaller than the others beside it is lost from the sum over tasks alone
    assert (found.grad.task.relative_difference(expected) < 1e-9).all()


def test_a_start_of_no_meta_parameters_costs_nothing_more():
    """A Joint without meta-parameters of the task is the bare phi: same bits, and the fused kernels."""
    task, rule = random_quadratic(3, 4, seed=2), mg.GradientDescent()
    bare = mg.meta_gradient(task, rule, mg.LogFinal(), 0.3, steps=50)
    joint = mg.meta_gradient(task, rule, mg.LogFinal(), mg.Joint(0.3), steps=50)
    assert joint.grad.task is None
    np.testing.assert_array_equal(joint.grad.rule.eta.mantissa, bare.grad.eta.mantissa)
    for method in ("forward", "closed_form"):
        found = mg.meta_gradient(task, rule, mg.LogFinal(), mg.Joint(0.3), steps=50, method=method)
        assert found.grad.rule.eta.to_float() == pytest.approx(bare.grad.eta.to_float(), rel=1e-10)


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_stop_gradient_holds_whatever_the_rule_is_shown(method):
    """First-order MAML: d/d w_0 is the gradient of the validation loss at w_T; theta reaches the terms alone."""
    task, rule, objective, phi = maml(8)
    found = solve((task, rule, objective, phi), gradient="stop_gradient", method=method)
    w = found.end.w
    exact = ad.tree_map(lambda g: g.mean(axis=0), ad.grad(task.validation_loss)(w))
    for name in ("w", "b"):
        np.testing.assert_allclose(found.grad.task[name].to_float(), exact[name], rtol=1e-13)
    held = solve(decay(8), gradient="stop_gradient", method=method)
    assert held.grad.task["log decay"].to_float() == 0.0


@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_stop_gradient_holds_what_a_rule_differentiates_by_itself(method):
    """A rule that takes a gradient by ad.grad is held like one that asks for it."""

    class ByItself:
        class Phi(NamedTuple):
            eta: np.ndarray

        def init(self, phi, w):
            return ()

        def step(self, phi, state, w, f):
            return w - phi.eta * ad.grad(f)(w), ()

    task, phi = random_quadratic(2, 3, seed=3), ByItself.Phi(np.asarray(0.2))
    for kind in ("full", "stop_gradient"):
        own = mg.meta_gradient(task, ByItself(), mg.Final(), phi, steps=5, gradient=kind, method=method)
        asked = mg.meta_gradient(task, mg.GradientDescent(), mg.Final(), 0.2, steps=5, gradient=kind, method=method)
        np.testing.assert_allclose(own.grad.eta.to_float(), asked.grad.eta.to_float(), rtol=1e-12)


def test_a_learned_start_with_stop_gradient_and_a_task_that_goes_on():
    """From a later position on, the start is held constant, and the report says so."""
    task, rule, objective, phi = maml(9)
    first = mg.Reverse()(task, rule, objective, phi, steps=3, seed=2)
    later = mg.Reverse()(task, rule, objective, phi, steps=3, seed=2, at=first.end)
    assert not np.any(numbers(later.grad.task))
    assert "before step 3 is held constant" in later.report()


def test_the_value_alone():
    for name, make in CASES.items():
        task, rule, objective, phi = make(10)
        found, alone = solve((task, rule, objective, phi)), mg.value(task, rule, objective, phi, steps=STEPS, seed=2)
        assert alone.grad is None, name
        np.testing.assert_array_equal(alone.value.mantissa, found.value.mantissa)
        np.testing.assert_array_equal(alone.status, found.status)


@pytest.mark.parametrize("name", CASES)
def test_a_rollout_takes_every_phi_and_says_where_it_ended(name):
    task, rule, objective, phi = CASES[name](11)
    found = solve((task, rule, objective, phi))
    curve, end = mg.rollout(task, rule, phi, steps=STEPS, seed=2, with_end=True)
    assert curve.shape[0] == STEPS + 1
    assert end.t == STEPS
    for a, b in zip(ad.leaves((end.w, end.state)), ad.leaves((found.end.w, found.end.state)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    if not name.startswith("start"):
        first, half = mg.rollout(task, rule, phi, steps=2, seed=2, with_end=True)
        if name != "velo_like":  # which is told the horizon of each call
            rest = mg.rollout(task, rule, phi, steps=STEPS - 2, seed=2, at=half)
            np.testing.assert_allclose(np.concatenate([first[:2], rest]), curve, rtol=1e-12)


class Bad(NamedTuple):
    task: object
    phi: object
    kind: type
    message: str


STARTS = mg.LearnedStart(few_shot(0))
BAD = {
    "a task without given": Bad(few_shot(0), mg.Joint(0.1, np.array(1.0)), TypeError, "has no meta-parameters"),
    "theta of another tree": Bad(decay(0)[0], mg.Joint(0.1, np.array(1.0)), TypeError, r"a tree like theta.*log decay"),
    "an integer": Bad(decay(0)[0], mg.Joint(0.1, {"log decay": 1}), TypeError, r"\['log decay'\] is 1, of type int"),
    "a start with a task axis too many": Bad(
        STARTS, mg.Joint(0.1, {"w": np.zeros((2, 3)), "b": np.zeros(1)}), ValueError, r"\['w'\] is of shape \(2, 3\)"
    ),
    "a start without an array": Bad(STARTS, mg.Joint(0.1, {"w": np.zeros(3)}), TypeError, r"a tree like w"),
    "a start alone where there is theta": Bad(
        mg.LearnedStart(decay(0)[0]), mg.Joint(0.1, np.zeros(4)), TypeError, r"\(w_0, theta\)"
    ),
    "a rule's phi of another rule": Bad(
        STARTS, mg.Joint(mg.Adam.Phi(0.1), STARTS.first()), TypeError, r"phi is a Phi; expected GradientDescent\.Phi"
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_meta_parameters(name):
    bad = BAD[name]
    with pytest.raises(bad.kind, match=bad.message):
        mg.meta_gradient(bad.task, mg.GradientDescent(), mg.Final(), bad.phi, steps=3)
