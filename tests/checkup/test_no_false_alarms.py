"""`mg.check` finds nothing on the tasks and rules that ship, in every dtype."""

import itertools
from importlib import import_module

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.xp import rng
from tests.contracts.test_contracts import ON_ONE_ARRAY, RULES, regression

DTYPES = ["float16", "float32", "float64"]


def classifier(draw, dtype, activation, **more):
    network = mg.MLP((2, 4, 3), init_std=0.5, activation=activation)
    return mg.MLPClassifier(network, draw.random((2, 9, 2)).astype(dtype), draw.integers(3, size=(2, 9)), **more)


def tasks(dtype, seed):
    draw = rng(seed, "check", dtype)

    def normal(*shape):
        return draw.standard_normal(shape).astype(dtype)

    quadratics = mg.random_quadratics(count=2, d=3, seed=seed, dtype=dtype)
    return {
        "quadratic": quadratics,
        "diagonal": mg.DiagonalQuadratic(np.abs(normal(2, 3)) + np.asarray(0.1, dtype), normal(2, 3)),
        "least squares": mg.random_least_squares(2, 6, 3, sigma=0.5, seed=seed, split=0.5, dtype=dtype),
        "minibatches": mg.LeastSquares(normal(2, 7, 3), normal(2, 7), w0=normal(3), batch_size=4),
        "ragged": mg.LeastSquares([normal(5, 3), normal(7, 3)], [normal(5), normal(7)], w0=normal(3)),
        "regressions": mg.random_regressions(2, 3, family="uniform", factor=0.5, seed=seed, dtype=dtype),
        "sigmoid": classifier(draw, dtype, "sigmoid", batch_size=4),
        "relu": classifier(draw, dtype, "relu"),
        "one's own": regression(dtype),
        "a learned start": mg.LearnedStart(quadratics),
    }


NAMES = list(tasks("float64", 0))
IN_TURN = list(zip(sorted(RULES) * len(DTYPES), itertools.cycle(NAMES), strict=False))
CASES = [(r, t, d) for (r, t), d in zip(IN_TURN, np.repeat(DTYPES, len(RULES)), strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_a_task_that_ships(name, seed, dtype):
    report = mg.check(tasks(dtype, seed)[name], seed=seed)
    assert report.ok, str(report)


@pytest.mark.parametrize(("rule", "task", "dtype"), CASES, ids=lambda x: str(x).replace(" ", "_"))
def test_a_rule_that_ships(rule, task, dtype):
    if rule in ON_ONE_ARRAY and task in ("sigmoid", "relu"):
        task = "diagonal"
    optimizer, phi = RULES[rule]
    phi = ad.tree_map(lambda leaf: np.asarray(leaf).astype(dtype), phi)
    report = mg.check(tasks(dtype, 2)[task], optimizer, phi, steps=6 if rule == "scheduled" else 3)
    assert report.ok, str(report)
    assert {one.name for one in report.findings if one.verdict == "not looked at"} <= {
        "rule: homogeneous",
        "run: reverse = forward",
        "run: meta-gradient",
    }


def test_a_task_with_meta_parameters():
    task = mg.FunctionTask(
        lambda w, theta: np.sum((w - 1.0) ** 2, axis=-1) + np.exp(theta) * np.sum(w * w, axis=-1),
        w0=np.full((2, 3), 0.5),
        theta=np.array(-2.0),
    )
    report = mg.check(task, mg.Adam(), mg.Joint(rule=0.1, task=np.array(-1.0)))
    assert report.ok, str(report)
    start = mg.Joint(rule=0.1, task=(np.full(3, 0.3), np.array(-1.0)))
    report = mg.check(mg.LearnedStart(task), mg.GradientDescent(), start)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "said"),
    [
        ((mg.Quadratic,), {}, TypeError, r"task is the class Quadratic; .*Write Quadratic\(\.\.\.\)"),
        ((3.0,), {}, TypeError, "task is a float without init, loss"),
        ((mg.random_quadratics(1, 2, seed=0), mg.Adam), {}, TypeError, "rule is the class Adam"),
        ((mg.random_quadratics(1, 2, seed=0), mg.Adam()), {}, TypeError, "phi is None beside a rule"),
        ((mg.random_quadratics(1, 2, seed=0), None, 0.1), {}, TypeError, "rule is None beside phi"),
        ((mg.random_quadratics(1, 2, seed=0), mg.Adam(), 0.1), {"steps": 0}, ValueError, "steps is 0"),
        ((mg.random_quadratics(1, 2, seed=0), mg.Adam(), 0.1), {"steps": 2.5}, TypeError, "steps is 2.5"),
        ((mg.random_quadratics(1, 2, seed=0),), {"seed": -1}, ValueError, "seed is -1"),
    ],
)
def test_bad_arguments(arguments, options, kind, said):
    with pytest.raises(kind, match=said):
        mg.check(*arguments, **options)


def test_one_task_alone_cannot_be_held_against_others():
    report = mg.check(mg.random_quadratics(1, 3, seed=0), mg.GradientDescent(), 0.1)
    assert report.ok
    said = {one.name: one.came for one in report.findings if one.verdict == "not looked at"}
    assert said["task: tasks apart"] == said["rule: tasks apart"] == "there is one task only"


def test_a_schedule_of_another_length_is_told():
    report = mg.check(mg.random_quadratics(2, 3, seed=0), mg.Scheduled(mg.GradientDescent()), np.full(6, 0.1))
    assert [one.name for one in report.failures] == ["rule: meta-parameters"]
    assert report.failures[0].remedy == "Give its `steps=`."


def test_the_kinds_of_report_can_be_imported():
    from metagrad.checkup import CheckReport, Finding

    report = mg.check(mg.random_quadratics(2, 3, seed=0))
    assert isinstance(report, CheckReport)
    assert all(isinstance(one, Finding) for one in report.findings)
    with pytest.raises(AttributeError, match="no attribute 'Findings'"):
        import_module("metagrad.checkup").Findings  # noqa: B018
