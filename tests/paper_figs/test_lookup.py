"""Figures find checks by key and series by name, and a wrong one is found out before anything is computed."""

import ast
from pathlib import Path

import numpy as np
import pytest

import paper_figs
from analysis.framework import contract
from paper_figs.framework.results import Result

CHECKS = [{"key": key, "measured": float(place)} for place, key in enumerate(("engine", "bound", "engines_apart"))]
NAMES = {"loss": [["SGD", "Adam"], None, ["mean", "median"]]}
ABOUT = {"checks": CHECKS, "names": NAMES, "seed": 0, "preset": "quick", "config": {}, "claim": "a claim"}
RESULT = Result("invented", {"loss": np.arange(12.0).reshape(2, 3, 2)}, {}, ABOUT)


def asked(source: str) -> set[str]:
    """Return the keys that the source of a figure asks for: literals, else those in its constant CHECKS."""
    tree, found = ast.parse(source), set()
    listed = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "CHECKS" for t in node.targets)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "measured":
            (key,) = node.args
            if isinstance(key, ast.Constant):
                found.add(key.value)
            else:
                assert listed, f"line {key.lineno}: the key is no literal, and there is no constant CHECKS"
                found |= _keys(ast.literal_eval(listed[0]))
    return found


def _keys(listed) -> set[str]:
    if isinstance(listed, str):
        return {listed}
    return set().union(*map(_keys, listed.values() if isinstance(listed, dict) else listed))


@pytest.mark.parametrize("name", contract.names())
def test_a_figure_asks_for_checks_that_its_experiment_has(name):
    experiment = contract.load(name)
    source = (Path(paper_figs.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    for config in experiment.presets.values():
        assert asked(source) <= set(experiment.keys(config))


def test_what_a_figure_asks_for_is_seen():
    assert asked("f\"{result.measured('engine'):.1f} {measured(ax, x)}\"") == {"engine"}
    listed = "CHECKS = {'a': ('b', 'c'), 'd': 'e'}\nx = [result.measured(key) for key in CHECKS['a']]"
    assert asked(listed) == {"b", "c", "e"}
    with pytest.raises(AssertionError, match="line 1: the key is no literal"):
        asked("result.measured(f'{case}_slope')")


def test_figures_look_at_checks_by_key_alone():
    for path in Path(paper_figs.__path__[0]).glob("*.py"):
        assert '["checks"]' not in path.read_text(encoding="utf-8"), path


def test_a_check_is_found_by_its_key():
    assert RESULT.measured("bound") == 1.0
    with pytest.raises(
        KeyError, match=r"there is no check 'engin'\. Known, nearest first: engine, engines_apart, bound"
    ):
        RESULT.measured("engin")


def test_a_series_is_found_by_its_name():
    loss = RESULT.arrays["loss"]
    assert RESULT.names("loss", 2) == ("mean", "median")
    np.testing.assert_array_equal(RESULT.series("loss", "Adam"), loss[1])
    np.testing.assert_array_equal(RESULT.series("loss", "Adam", "mean"), loss[1, :, 0])
    np.testing.assert_array_equal(RESULT.series("loss", None, "median"), loss[..., 1])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: RESULT.names("loss", 1), "axis 1 of 'loss' has no names"),
        (lambda: RESULT.names("los"), "axis 0 of 'los' has no names. Arrays with names: loss"),
        (lambda: RESULT.series("loss", "Adan"), "'loss' has no series 'Adan'. Known, nearest first: Adam, SGD"),
        (lambda: RESULT.series("loss", "Adam", "mean", "x"), "'loss' has 2 axes with names; 3 were asked for"),
    ],
)
def test_a_wrong_name_is_told_the_known_ones(ask, message):
    with pytest.raises(KeyError, match=message):
        ask()
