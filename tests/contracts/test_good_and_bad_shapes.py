"""Shapes, sizes and dtypes that fit go on working, whatever they are spelled as; those that do not fit say so."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import metagrad as mg
from metagrad import checks
from metagrad.training import Recipe, Trainer

RULE, FINAL = mg.GradientDescent(), mg.Final()
TASKS = {
    "quadratic": mg.Quadratic(np.diag([1.0, 0.5]), np.ones((8, 2))),
    "diagonal": mg.DiagonalQuadratic(np.array([1.0, 0.5]), np.ones((8, 2))),
    "least squares": mg.random_least_squares(8, 6, 2, sigma=0.1),
}
METHODS = {"reverse": {}, "forward": {}, "windows": {"window": 2}, "closed_form": {}}
BFLOAT16 = ml_dtypes.bfloat16


def slope(task, phi, **options):
    return mg.meta_gradient(task, RULE, FINAL, phi, steps=4, **options).grad.eta


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("shape", [(3,), (8,), (0,), (5, 1), (1, 2, 2), (2, 8), (8, 0)])
def test_a_step_size_of_another_shape(name, method, shape):
    with pytest.raises(ValueError, match=rf"eta (is )?of shape {re.escape(repr(shape))}"):
        slope(TASKS[name], np.full(shape, 0.1), method=method, **METHODS[method])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(3,), (0,), (4, 2), (8, 3), ()])
def test_a_step_size_a_task_of_another_shape(method, shape):
    with pytest.raises(ValueError, match=r"of shape .*; expected"):
        slope(TASKS["quadratic"], np.full(shape, 0.1), method=method, per_task=True, **METHODS[method])


@pytest.mark.parametrize("estimator", [mg.Reverse(), mg.Forward(), mg.Windows(2), mg.Value(), mg.ClosedForm()])
@pytest.mark.parametrize("length", [3, 7])
def test_a_schedule_of_another_length(estimator, length):
    rule, phi = mg.Scheduled(RULE), RULE.Phi(np.full(length, 0.1))
    with pytest.raises(ValueError, match=rf"phi is an array of {length} steps; expected 5 entries"):
        estimator(TASKS["quadratic"], rule, FINAL, phi, steps=5)


@pytest.mark.parametrize("name", ["Adam", "Momentum", "RMSprop", "Lion", "Adagrad"])
def test_other_rules_too(name):
    rule = getattr(mg, name)()
    with pytest.raises(ValueError, match=rf"{name}\.Phi: eta is of shape \(3,\); expected one number, or an array"):
        mg.rollout(TASKS["quadratic"], rule, rule.Phi(np.full(3, 0.1)), steps=2)
    with pytest.raises(ValueError, match=rf"{name}\.Phi: eta is a tree with"):
        mg.rollout(TASKS["quadratic"], rule, rule.Phi({"a": 0.1}), steps=2)


@pytest.mark.parametrize("eta", [0.1, np.float64(0.1), np.array(0.1), np.full(1, 0.1), np.full(2, 0.1)], ids=repr)
def test_step_sizes_that_fit(eta):
    found = slope(TASKS["quadratic"], eta)
    assert found.shape == np.shape(eta)
    one = slope(TASKS["quadratic"], 0.1).to_float()
    np.testing.assert_allclose(found.to_float().sum(), one, rtol=1e-13)


def test_one_a_task_and_one_a_task_and_coordinate():
    for shape in ((8,), (8, 1), (8, 2)):
        assert slope(TASKS["quadratic"], np.full(shape, 0.1), per_task=True).shape == shape


@pytest.mark.parametrize("kind", [int, np.int32, np.int64, np.uint8, np.array])
def test_integers_of_any_kind(kind):
    task = TASKS["quadratic"]
    want = mg.meta_gradient(task, RULE, FINAL, 0.1, steps=4, seed=3)
    found = mg.meta_gradient(task, RULE, FINAL, 0.1, steps=kind(4), seed=kind(3))
    assert np.array_equal(found.grad.eta.mantissa, want.grad.eta.mantissa)
    assert mg.rollout(task, RULE, 0.1, steps=kind(4)).shape == (5, 8)
    assert mg.Windows(kind(2))(task, RULE, FINAL, 0.1, steps=kind(4)).ok
    Trainer(RULE, lambda seed: task, FINAL, Recipe(kind(1), kind(2), kind(2)), seed=kind(0)).run(0.1)
    mg.MetaTrainer(task, RULE, FINAL, kind(2)).run(0.1, kind(1))
    mg.random_quadratics(2, 2, kind(1))


@pytest.mark.parametrize("kind", [float, np.float64, np.array])
def test_numbers_of_any_kind(kind):
    for objective in (mg.WeightedSum(kind(0.5)), mg.LogExcess(kind(-0.5), "loss")):
        assert mg.meta_gradient(TASKS["quadratic"], RULE, objective, 0.1, steps=2).ok
    mg.Descent(kind(0.5), kind(0.5))
    mg.Through(RULE, RULE.Phi(kind(0.5)), clip_norm=kind(1.0))
    mg.CoordinatewiseLSTM((2,), kind(10.0), kind(0.1))
    mg.MLP31(2, kind(0.1))


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("1MB", 10**6),
        ("64 MiB", 1 << 26),
        ("2 GiB", 1 << 31),
        ("1.5kB", 1500),
        ("7 B", 7),
        (4096, 4096),
        (np.int64(5), 5),
    ],
)
def test_sizes_of_memory(given, size):
    assert mg.Reverse(memory=given) == mg.Reverse(memory=size)
    assert mg.Windows(3, memory=given).memory == size
    assert replace(mg.Reverse(), memory=given).memory == size


@pytest.mark.parametrize("given", ["1", "MB", "-1MB", "1 QB", "1e6 B", "", "1MB!"])
def test_texts_that_are_no_sizes(given):
    with pytest.raises(ValueError, match=r"memory is .*; expected a size such as '64 MiB', '1MB', '2 GiB'"):
        mg.meta_gradient(TASKS["quadratic"], RULE, FINAL, 0.1, steps=2, memory=given)


def test_a_copy_is_checked_too():
    with pytest.raises(ValueError, match=r"Reverse: gradient is 'stop_grad'.*Did you mean 'stop_gradient'"):
        replace(mg.Reverse(), gradient="stop_grad")
    with pytest.raises(TypeError, match="Reverse: fused is 'no'; expected True or False"):
        replace(mg.Reverse(), fused="no")


@pytest.mark.parametrize("outer", [mg.GradientDescent.Phi(-1.0), mg.GradientDescent.Phi(0.0), mg.Adam.Phi(0.1)])
def test_an_outer_rule_that_would_ascend_or_stand_still(outer):
    for made in (
        lambda: Trainer(RULE, lambda seed: None, FINAL, Recipe(1), RULE, outer),
        lambda: mg.Through(RULE, outer),
    ):
        with pytest.raises((ValueError, TypeError), match=r"(outer_phi|Through): (eta|phi) is .*; expected"):
            made()


def test_a_run_that_does_not_fit_the_memory():
    with pytest.raises(
        MemoryError, match=r"rollout: steps is 100000000000000.*; expected a curve that fits the memory"
    ):
        mg.rollout(TASKS["quadratic"], RULE, 0.1, steps=10**14)


def test_tasks_that_a_function_does_not_make():
    with pytest.raises(TypeError, match=r"Trainer: tasks\(\d+\) is None; expected an object with the methods"):
        Trainer(RULE, lambda seed: None, FINAL, Recipe(1, 2, 2)).run(0.1)
    with pytest.raises(TypeError, match="what the estimator returns is None; expected an Estimate"):
        Trainer(RULE, lambda seed: TASKS["quadratic"], FINAL, Recipe(1, 2, 2), estimator=lambda *a, **k: None).run(0.1)


def test_a_method_that_returns_no_estimate():
    with pytest.raises(TypeError, match="meta_gradient: what the method returns is None; expected an Estimate"):
        slope(TASKS["quadratic"], 0.1, method=lambda *a, **k: None)


def test_a_position_of_another_task():
    at = mg.meta_gradient(mg.Quadratic(np.eye(3), np.ones((8, 3))), RULE, FINAL, 0.1, steps=2).end
    for call in (mg.Reverse(), mg.Forward(), mg.Windows(1), mg.Value()):
        with pytest.raises(ValueError, match=r"at is a position with w \(8, 3\); expected one of this task, with w"):
            call(TASKS["quadratic"], RULE, FINAL, RULE.Phi(0.1), steps=2, at=at)


class Plain:
    """A task of one's own, whose parameters are of any dtype."""

    def __init__(self, dtype):
        self.dtype = dtype

    def init(self, rng):
        return np.ones((2, 3)).astype(self.dtype)

    def loss(self, w, sample):
        return np.sum(w * w, axis=-1)


@pytest.mark.parametrize("dtype", [BFLOAT16, np.longdouble, np.int64], ids=["bfloat16", "longdouble", "int64"])
@pytest.mark.parametrize(
    "make",
    [
        lambda x: mg.Quadratic(np.eye(3).astype(x.dtype), x),
        lambda x: mg.DiagonalQuadratic(x, x),
        lambda x: mg.FunctionTask(lambda w: np.sum(w * w, axis=-1), x),
        lambda x: mg.LeastSquares(x, x[:, 0]),
        lambda x: mg.rollout(Plain(x.dtype), RULE, 0.1, steps=2),
        lambda x: mg.meta_gradient(Plain(x.dtype), RULE, FINAL, 0.1, steps=2),
        lambda x: Trainer(RULE, lambda seed: Plain(x.dtype), FINAL, Recipe(1, 2, 2)).run(0.1),
        lambda x: mg.MLP31(2).init_meta(np.random.default_rng(0), x.dtype),
    ],
)
def test_dtypes_that_the_engine_does_not_compute_in(make, dtype):
    with pytest.raises((TypeError, ValueError), match="float16, float32 or float64"):
        make(np.ones((2, 3)).astype(dtype))


def test_meta_parameters_of_bfloat16():
    for call in (slope, lambda task, phi: mg.MetaTrainer(task, RULE, FINAL, 2).run(phi, 1)):
        with pytest.raises(TypeError, match=r"eta is an array of bfloat16.*float16, float32 or float64"):
            call(TASKS["quadratic"], np.asarray(0.1).astype(BFLOAT16))


@pytest.mark.parametrize("given", [2.5, None, dict, np.zeros(2), "x" * 500, object()])
def test_what_came_is_said_in_few_words(given):
    assert len(checks.shown(given)) < 100


@pytest.mark.parametrize("module", ["metagrad", "metagrad.cli"])
def test_the_command_as_a_module(module):
    root = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-m", module, "evaluate", "no such optimizer"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert ran.returncode == 1
    assert "error: load_trained: name is 'no such optimizer'; expected a trained optimizer" in ran.stderr
