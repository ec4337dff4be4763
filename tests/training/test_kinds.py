"""One list each of what can be named: a new task, rule, objective or estimator is in it, or here with the reason."""

import typing
from pathlib import Path

import numpy as np
import pytest

import metagrad as mg
from metagrad import api, estimators, objectives, optimizers, parts, tasks
from metagrad.protocols import Objective, Rule, Task
from metagrad.training.builders import KINDS
from metagrad.training.config import setup

NEEDED = {"images": {"data": "digits8x8", "sizes": [64, 10]}}
UNNAMED = {
    "DiagonalQuadratic": "its spectrum is an array, and `quadratics` draws the same problems in another basis",
    "FunctionTask": "its loss is a function: module:function",
    "LearnedStart": "its start is a meta-parameter of the task, and a config has those of the rule alone",
    "MLPRegressor": "its points are arrays, and `Sinusoids` is a family whose start is learned: module:function",
    "Chain": "its transformations and its rule are parts: module:function",
    "Following": "its schedules and its rule are parts: module:function",
    "Grouped": "its rules are parts: module:function",
    "Masked": "its mask is a tree like the parameters of the task: module:function",
    "Until": "its rule is a part: module:function",
    "Scheduled": "its meta-parameters have the length of the horizon, which a curriculum changes",
    "Stopped": "its direction is an array in the dtype of the task",
}


def sections(kinds):
    """Return a config for each kind of a section."""
    for section in kinds:
        for kind in KINDS[section]:
            more = {"eta": 0.1} if kind in ("sgd", *mg.training.tuned.KINDS) and section == "optimizer" else {}
            values = {"kind": kind, **more, **NEEDED.get(kind, {})}
            yield section, {"task": {"kind": "quadratics"}, "optimizer": {"kind": "lstm"}, section: values}


def named():
    """Return the classes that a config can name, what a wrapper holds among them."""
    found = set()
    for section, config in sections(("task", "optimizer", "objective")):
        trainer = setup(config | {"training": {"episodes": 1}}).trainer
        part = {"task": lambda t=trainer: t.tasks(0), "objective": lambda t=trainer: t.objective}.get(
            section, lambda t=trainer: t.optimizer
        )()
        found |= {type(part), type(parts.inner_rule(part))}
    return found


def shipped():
    """Return the classes of tasks, rules and objectives that the project exports."""
    found = {}
    for module, protocol in ((tasks, Task), (optimizers, Rule), (objectives, Objective)):
        classes = [getattr(module, name) for name in module.__all__ if isinstance(getattr(module, name), type)]
        lacking = {one: set(parts.missing(one, protocol)) - {"measure"} for one in classes}  # that is often a field
        found |= {one.__name__: one for one in classes if not lacking[one]}
    return found


@pytest.fixture(scope="module")
def nameable():
    pytest.importorskip("sklearn")
    return named()


def test_every_part_that_ships_can_be_named_in_a_config_or_has_a_reason(nameable):
    found = shipped()
    assert {"LeastSquares", "MLPClassifier", "Adam", "MLP31", "Unconstrained", "MeanLog", "Final"} <= found.keys()
    assert {name for name, one in found.items() if one not in nameable} == UNNAMED.keys()


def test_every_estimator_that_gives_a_gradient_is_a_method():
    given = [getattr(estimators, name) for name in estimators.__all__ if name not in ("METHODS", "Value")]
    assert set(given) == set(estimators.METHODS.values()), "Value gives none"
    assert set(typing.get_args(api.Method)) == estimators.METHODS.keys()


def test_every_file_of_a_part_exports_it():
    for module in (tasks, objectives, optimizers):
        files = [p for p in Path(module.__file__).parent.rglob("*.py") if not p.stem.startswith("_")]
        homes = {getattr(module, name).__module__.rpartition(".")[2] for name in module.__all__}
        assert {p.stem for p in files} <= homes, module


def test_the_start_of_every_kind_of_optimizer_is_finite():
    for _, config in sections(("optimizer",)):
        phi = setup(config | {"training": {"episodes": 1}}).phi
        assert all(np.isfinite(leaf).all() for leaf in mg.ad.leaves(phi))


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, mg.LogExcess()), ({"floor": 1, "measure": "loss"}, mg.LogExcess(1.0, "loss"))],
)
def test_the_floor_of_an_objective(values, expected):
    config = {"task": {"kind": "regressions"}, "optimizer": {"kind": "lstm"}, "training": {"episodes": 1}}
    assert setup(config | {"objective": {"kind": "log_excess", **values}}).trainer.objective == expected
