"""What is no argument is refused by every public call, with an error that says which, what came and what to do."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import metagrad as mg
from tests.contracts.doors import DOORS, Door

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


class Outcome(NamedTuple):
    """What became of one call: "refused", "taken", or why its error is not clear."""

    door: str
    argument: str
    value: str
    said: str


def arguments_of(door: Door) -> list[str]:
    found = inspect.signature(door.call).parameters.values()
    named = [p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return list(dict.fromkeys((*named, *door.also)))


def outcome(name: str, door: Door, argument: str, value: str) -> Outcome:
    try:
        door.call(**{**door.works, argument: BAD[value]()})
    except (ValueError, TypeError) as error:
        said = CLEAR.match(str(error))
        spoken = (argument, *door.names.get(argument, ()))
        if said is None or not any(one in said["what"] or one in said["where"] for one in spoken):
            return Outcome(name, argument, value, f"{type(error).__name__}: {error}")
        return Outcome(name, argument, value, "refused")
    except Exception as error:
        return Outcome(name, argument, value, f"{type(error).__name__}: {error}")
    return Outcome(name, argument, value, "taken")


def outcomes(name: str) -> list[Outcome]:
    door = DOORS[name]
    return [outcome(name, door, argument, value) for argument in arguments_of(door) for value in BAD]


if __name__ == "__main__":
    import collections, sys, tempfile, time
    os.chdir(tempfile.mkdtemp())
    count = collections.Counter()
    for name in DOORS:
        t0 = time.time()
        for x in outcomes(name):
            takes = x.value in DOORS[name].takes.get(x.argument, {})
            kind = x.said if x.said in ("refused", "taken") else "unclear"
            bad = kind == "unclear" or (kind == "taken") != takes
            count[kind + (" (for a reason)" if kind == "taken" and takes else "") + (" !" if kind == "refused" and takes else "")] += 1
            if bad:
                print(f"{x.door}.{x.argument} <- {x.value}: {'takes but ' if takes else ''}{x.said[:150]}".replace("\n", " "))
        if time.time() - t0 > 2: print("   slow", name, time.time() - t0)
    print(sum(count.values()), dict(count))
