"""A failure made smaller: fewer tasks, coordinates and steps, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tests.fuzz.cases import Case

_WITHOUT_COORDINATES = ("y", "y_val")


def shrunk(case: Case, fails: Callable[[Case], bool], most: int = 40) -> Case:
    """Return the smallest case found by halves that still fails; at most so many are tried."""
    tried = 0
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(case):
            tried += 1
            if tried > most:
                return case
            if fails(smaller):
                case, progress = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    if case.batch > 1:
        for half in (slice(0, case.batch // 2), slice(case.batch // 2, case.batch)):
            yield _of_tasks(case, half)
    if case.d > 1:
        for half in (slice(0, case.d // 2), slice(case.d // 2, case.d)):
            yield _of_coordinates(case, half)
    for steps in sorted({case.steps // 2, case.steps * 3 // 4, case.steps - 1}):
        if steps >= 1:
            yield _of_steps(case, steps)


def _of_tasks(case: Case, part: slice) -> Case:
    data = {name: x[part] if name != "H" or x.ndim == 3 else x for name, x in case.data.items()}
    phi = dict(case.phi)
    if case.per_task:
        phi = {name: x[:, part] if name in case.scheduled else x[part] for name, x in phi.items()}
    return replace(case, data=data, phi=phi)


def _of_coordinates(case: Case, part: slice) -> Case:
    data = {name: x if name in _WITHOUT_COORDINATES else x[..., part] for name, x in case.data.items()}
    if "H" in data:
        data["H"] = data["H"][..., part, :]
    phi = {name: _coordinates_of(case, name, x, part) for name, x in case.phi.items()}
    return replace(case, data=data, phi=phi)


def _coordinates_of(case: Case, name: str, x: Any, part: slice) -> Any:
    by_coordinate = not case.per_task and np.ndim(x) > int(name in case.scheduled)
    return x[..., part] if by_coordinate else x


def _of_steps(case: Case, steps: int) -> Case:
    phi = {name: x[:steps] if name in case.scheduled else x for name, x in case.phi.items()}
    return replace(case, steps=steps, phi=phi)
