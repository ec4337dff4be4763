"""What the strategies draw, what they refuse, and what is said where Hypothesis is not installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings

import metagrad as mg
from metagrad import ad, parts, testing
from metagrad.protocols import Objective, Rule, Task

ROOT = Path(__file__).resolve().parents[2]


def losses(task):
    return task.loss(parts.start_of(task, 0), None)


@given(testing.quadratics(batch=(2, 3), d=(2, 4), spectrum=(0.5, 1.5), dtype="float32"))
def test_quadratics(task):
    batch, d = task.w0.shape
    assert 2 <= batch <= 3
    assert 2 <= d <= 4
    assert task.w0.dtype == np.float32
    assert testing.curvature(task) <= 1.5001
    H = np.stack([np.diag(x) for x in task.eigenvalues]) if isinstance(task, mg.DiagonalQuadratic) else task.H
    assert np.linalg.eigvalsh(H).min() >= 0.4999


@given(testing.least_squares(n=(4, 6), d=(2, 3), sigma=(0.0, 0.2), validation=True))
def test_least_squares(task):
    assert isinstance(task, mg.LeastSquares)
    assert task.validation is not None
    assert task.X.shape[1] in (2, 3)
    X = np.asarray(task.X)
    largest = max(np.linalg.eigvalsh(x.T @ x).max() / len(x) for x in X)
    assert testing.curvature(task) == pytest.approx(largest, rel=1e-10)


@given(testing.tasks())
def test_tasks(task):
    assert isinstance(task, Task)
    assert np.isfinite(losses(task)).all()
    assert (losses(task) > 0).all()
    assert 0 < testing.curvature(task) < 1e3


@given(testing.logistic_regressions(dtype="float32"))
def test_logistic_regressions(task):
    assert losses(task).dtype == np.float32
    assert mg.check(task).ok


@given(testing.rules(curvature=4.0))
def test_rules(pair):
    rule, phi = pair
    assert isinstance(rule, Rule)
    assert parts.check_phi(rule, phi, "test") is not None
    assert 0.05 / 4 <= phi.eta <= 0.5 / 4


@given(testing.learned_rules("float32"))
def test_learned_rules(pair):
    rule, phi = pair
    assert {leaf.dtype for leaf in ad.leaves(parts.check_phi(rule, phi, "test"))} == {np.dtype(np.float32)}


@given(testing.meta_cases(most_steps=3))
def test_cases_run(case):
    assert isinstance(case.objective, Objective)
    found = mg.value(*case[:4], steps=case.steps)
    assert found.value.size == len(losses(case.task))


def drawn(strategy, condition):
    """Return something that the strategy draws and that meets the condition, as it comes."""
    as_it_comes = settings(phases=[Phase.generate], database=None, derandomize=True, max_examples=500)
    return find(strategy, condition, settings=as_it_comes)


def test_every_kind_is_drawn():
    for kind in (mg.Quadratic, mg.DiagonalQuadratic, mg.LeastSquares, mg.FunctionTask):
        assert isinstance(drawn(testing.tasks(), lambda task, kind=kind: isinstance(task, kind)), kind)
    for name in testing.strategies.SMOOTH_RULES:
        assert drawn(testing.rules(), lambda pair, name=name: type(pair[0]).__name__ == name)
    assert drawn(testing.step_sizes(2.0), lambda eta: eta > 1.4) <= 1.5
    assert drawn(testing.step_sizes(2.0), lambda eta: eta < 0.02) >= 0.01
    assert drawn(testing.horizons(7), lambda steps: steps == 7)
    for logarithmic in (True, False):
        for one in testing.strategies.LOGARITHMIC if logarithmic else testing.strategies.PLAIN:
            assert drawn(testing.objectives(logarithmic=logarithmic), lambda x, one=one: x == one) == one


def test_the_same_seed_gives_the_same_problem():
    for make in (testing.quadratic, lambda b, d, s: testing.logistic_regression(b, 4, d, s)):
        assert np.array_equal(make(2, 3, 5).w0, make(2, 3, 5).w0)
        assert not np.array_equal(make(2, 3, 5).w0, make(2, 3, 6).w0)


def test_a_task_that_is_no_quadratic_has_the_curvature_of_its_start():
    task = mg.FunctionTask(lambda w: np.sum(w**4, axis=-1), np.array([[1.0, 2.0], [0.5, 3.0]]))
    assert testing.curvature(task) == pytest.approx(12 * 9.0)
    linear = mg.FunctionTask(lambda w: np.sum(w, axis=-1), np.ones((1, 2)))
    assert testing.curvature(linear) == 0.0
    tree = mg.FunctionTask(lambda w: np.sum(w["a"] ** 2, axis=-1), {"a": np.ones((2, 3))})
    with pytest.raises(TypeError, match=r"curvature: task is one whose w is {(.|\n)*}; expected one whose w is an arr"):
        testing.curvature(tree)


@pytest.mark.parametrize(
    ("call", "error", "expected"),
    [
        (lambda: testing.quadratics(batch=3), TypeError, r"quadratics: batch is 3; expected \(least, most\)"),
        (lambda: testing.quadratics(d=(3, 1)), ValueError, r"quadratics: d is \(3, 1\); expected .* in this order"),
        (lambda: testing.quadratics(d=(0, 1)), ValueError, "quadratics: d is 0; expected an integer of at least 1"),
        (
            lambda: testing.quadratics(spectrum=(0.0, 1.0)),
            ValueError,
            "quadratics: spectrum is 0.0; expected .*above 0",
        ),
        (lambda: testing.quadratics(spectrum=(2.0, 1.0)), ValueError, r"spectrum is \(2\.0, 1\.0\)"),
        (lambda: testing.quadratics(dtype="int32"), TypeError, "dtype is int32"),
        (lambda: testing.least_squares(sigma=(-1.0, 1.0)), ValueError, "least_squares: sigma is -1.0"),
        (lambda: testing.least_squares(validation=1), TypeError, "least_squares: validation is 1"),
        (lambda: testing.step_sizes(0.0), ValueError, "step_sizes: curvature is 0.0; expected .* above 0"),
        (lambda: testing.step_sizes(most=0.01), ValueError, "step_sizes: most is 0.01; expected at least 0.02"),
        (lambda: testing.horizons(0), ValueError, "horizons: most is 0"),
        (lambda: testing.objectives(logarithmic="no"), TypeError, "objectives: logarithmic is 'no'"),
        (lambda: testing.rules("Adan", "Adams"), ValueError, "rules: names is 'Adams'; .*Did you mean 'Adam'"),
    ],
)
def test_what_is_refused(call, error, expected):
    with pytest.raises(error, match=expected):
        call()


def test_names_that_load_later():
    assert "testing" in dir(mg)
    assert mg.testing is testing
    assert set(testing.__all__) <= set(dir(testing))
    assert all(hasattr(testing, name) for name in testing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'quadratisch'"):
        _ = testing.quadratisch


def test_without_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from metagrad import testing\n"
        "import metagrad as mg\n"
        "task = testing.quadratic(1, 2, 0)\n"
        "print(testing.assert_meta_gradient_matches(task, mg.GradientDescent(), mg.Final(), 0.1, 3).against)\n"
        "try: testing.quadratics\n"
        "except ImportError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    ran, said = run.stdout.splitlines()
    assert ran == "closed_form"
    assert said.startswith("metagrad.testing: quadratics is a strategy of Hypothesis, which is not installed; expected")


def test_importing_it_is_light():
    code = "import sys, metagrad.testing; print('hypothesis' in sys.modules, 'scipy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "False False"
