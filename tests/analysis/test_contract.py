"""What every experiment promises: keys of its checks, names that fit its arrays, and an `Experiment` made once."""

import dataclasses
import sys
from types import ModuleType

import numpy as np
import pytest

from analysis.framework import contract
from analysis.framework.contract import Check, Table, Verdict

CHECK = Check("engine", "engine against theory", 0.0, "<= 1", True)


@pytest.fixture
def module(monkeypatch):
    """An experiment that lacks nothing, as a module that can be found."""
    made = ModuleType("analysis.invented")
    made.__file__ = __file__
    made.claim, made.presets, made.expected_seconds = "a claim", {"quick": 3}, {"quick": 1.0}
    made.keys = lambda config: ("engine",)
    made.shards, made.compute, made.assemble = (lambda *arguments: None,) * 3
    made.verdict = lambda config, table: Verdict("a claim", [CHECK])
    monkeypatch.setitem(sys.modules, "analysis.invented", made)
    return made


@pytest.mark.parametrize("name", contract.names())
def test_keys_are_unique_within_an_experiment(name):
    experiment = contract.load(name)
    for config in experiment.presets.values():
        keys = experiment.keys(config)
        assert len(set(keys)) == len(keys) > 0
        for key in keys:
            Check(key, "what", 0.0, "", True)


def test_two_checks_of_one_key_are_refused():
    with pytest.raises(ValueError, match="Verdict: checks is engine; expected a key for each check"):
        Verdict("x", [CHECK, dataclasses.replace(CHECK, what="another sentence")])


@pytest.mark.parametrize("key", ["", "a sentence", "Engine", "2.5", "log-sign"])
def test_a_key_is_a_word(key):
    with pytest.raises(ValueError, match="Check: key is"):
        dataclasses.replace(CHECK, key=key)


def test_an_experiment_is_frozen_and_knows_its_file(module):
    experiment = contract.load("invented")
    assert (experiment.name, str(experiment.source)) == ("invented", __file__)
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.claim = "another"


def test_what_a_module_lacks_is_named(module):
    del module.keys, module.verdict
    with pytest.raises(AttributeError, match=r"analysis\.invented lacks keys, verdict; see"):
        contract.load("invented")


@pytest.mark.parametrize("listed", [(), ("engine", "bound"), ("bound",)])
def test_a_verdict_has_the_checks_that_are_listed_and_no_others(module, listed):
    table = Table({"x": np.zeros(3)}, {})
    assert contract.load("invented").decide("quick", table).holds
    module.keys = lambda config: listed
    with pytest.raises(ValueError, match=r"analysis\.invented: verdict is .*'engine'.*; expected checks with the keys"):
        contract.load("invented").decide("quick", table)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"y": [("a", "b")]}, "Table: names is y; expected a key of arrays"),
        ({"x": [("a", "b", "c")]}, r"expected as many different names as axis 0 of the shape \(2, 3\) has entries"),
        ({"x": [("a", "a")]}, "different names as axis 0"),
        ({"x": [None, ("a", "b")]}, "different names as axis 1"),
        ({"x": [None, None, ("a",)]}, "different names as axis 2"),
    ],
)
def test_names_that_do_not_fit_the_array_are_refused(names, message):
    arrays = {"x": np.zeros((2, 3))}
    Table(arrays, {}, {"x": [("a", "b"), None]})
    with pytest.raises(ValueError, match=message):
        Table(arrays, {}, names)
