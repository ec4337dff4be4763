"""Where a meta-training run stands, on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.archives import Header
from metagrad.errors import bad_value
from metagrad.files import read_npz, write_npz
from metagrad.fingerprint import differing_parts, refuse_other_run
from metagrad.protocols import Tree
from metagrad.training._leaves import like
from metagrad.xp import Array, to_host

_REMEDY = "Remove the file to start anew, or give another one."
_TREES = ("phi", "outer", "best")
_COUNTERS = ("episode", "steps", "since", "nonfinite")
_HISTORY = "history."
_AT_MOST, _SMALL = (
    2,
    2**20,
)  # how much more memory, in times and bytes, arrays may take to be told by name what is wrong
FORMAT = 3  # 1 had one hash of the whole run in place of its parts; 2 was one layout for each of two loops


@dataclass(frozen=True)
class Progress:
    """Meta-parameters, state of the outer step, the best so far, counters, and what each outer step found.

    `episode`, `steps`: how many were done; `since`: evaluations since the best; `nonfinite`: episodes in a row without
    a step; `history`: a dict of arrays for each outer step, empty where none is kept; `metrics`: what the file of
    metrics must begin with, None where there is none; `seconds`: how long it took, of all its parts, NaN where an older
    version did not count them.
    """

    phi: Tree
    outer: Tree
    best: Tree
    best_value: float = math.inf
    episode: int = 0
    steps: int = 0
    since: int = 0
    nonfinite: int = 0
    history: list[dict[str, Array]] = field(default_factory=list)
    metrics: dict[str, Any] | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """Whose progress it is: its parts by name, what was changed on the way, and the config that it was made of.

    `where` names the caller in errors; `changeable`: the parts that may be other ones when a run goes on; `finite`:
    whether meta-parameters are numbers always, so that others were not written by the run.
    """

    where: str
    parts: dict[str, dict[str, str]]
    changeable: Sequence[str]
    finite: bool
    config: dict[str, Any] | None = None
    changes: tuple[dict[str, Any], ...] = ()


def save(path: Path, at: Progress, run: Run) -> None:
    """Write the progress, and whose it is; the old file stays until all is written."""
    arrays = {
        f"{name}_{k}": np.asarray(to_host(leaf))
        for name in _TREES
        for k, leaf in enumerate(ad.leaves(getattr(at, name)))
    }
    for name in at.history[0] if at.history else ():
        arrays[_HISTORY + name] = np.stack([row[name] for row in at.history])
    about = {"format": FORMAT, "parts": run.parts, "changes": run.changes, "best_value": at.best_value}
    about["seconds"] = at.seconds
    about |= {} if run.config is None else {"config": run.config}
    about |= {} if at.metrics is None else {"metrics": at.metrics}
    about |= {name: getattr(at, name) for name in _COUNTERS}
    write_npz(path, arrays, about)


def load(path: Path, template: Progress, run: Run, changed: tuple[str, ...]) -> tuple[Progress, Run]:
    """Return the progress of this very run, in the trees of `template`, and the run with all changes up to now.

    ValueError on anything else: where a part differs that is not among those that were `changed`, it is named.
    """
    expected = sum(np.asarray(to_host(leaf)).nbytes for name in _TREES for leaf in ad.leaves(getattr(template, name)))

    def look(headers: Mapping[str, Header], about: dict[str, Any]) -> None:
        """Refuse arrays that are larger than those of this run before they take memory."""
        found = sum(header.nbytes for name, header in headers.items() if not name.startswith(_HISTORY))
        if found > _AT_MOST * expected + _SMALL:
            came = f"{path}, which was edited (its arrays take {found} bytes)"
            bad_value(run.where, "checkpoint", came, f"{expected} bytes, as those of this run", _REMEDY)

    arrays, about = read_npz(path, run.where, formats=(FORMAT,), look=look)
    differing = differing_parts(about.get("parts"), run.parts)
    refuse_other_run(run.where, path, differing, changed, run.changeable)
    try:
        history = _history(arrays, about)
        trees = {name: _tree(arrays, name, getattr(template, name), finite=run.finite) for name in _TREES}
        if arrays:
            raise ValueError(f"{', '.join(arrays)} does not belong to it")
        for name in _COUNTERS:
            if type(about[name]) is not int or about[name] < 0:
                raise ValueError(f"{name} is {about[name]!r}")
        if type(about["best_value"]) is not float:
            raise ValueError(f"best_value is {about['best_value']!r}")
        if type(about.get("seconds", math.nan)) is not float or about.get("seconds", math.nan) < 0:
            raise ValueError(f"seconds is {about['seconds']!r}")
        if not isinstance(about["changes"], list):
            raise ValueError(f"changes is {about['changes']!r}")
    except (KeyError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        came = f"{path}, which was edited ({what})"
        bad_value(run.where, "checkpoint", came, "a checkpoint as it was written", _REMEDY)
    counters = {name: about[name] for name in (*_COUNTERS, "best_value")} | {"seconds": about.get("seconds", math.nan)}
    changes = (*about["changes"], *([{"after": about["episode"], "parts": differing}] if differing else ()))
    at = replace(template, **trees, **counters, history=history, metrics=about.get("metrics"))
    return at, replace(run, changes=changes)


def _history(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> list[dict[str, Array]]:
    """Take what each outer step found from the arrays; ValueError where they are not those of all steps."""
    kept = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_HISTORY)}
    count = about["steps"]
    if kept and {len(array) for array in kept.values()} != {count}:
        raise ValueError(f"its arrays are not those of {count} outer steps")
    rows = range(count if kept else 0)
    return [{name.removeprefix(_HISTORY): array[k] for name, array in kept.items()} for k in rows]


def _tree(arrays: dict[str, np.ndarray], name: str, template: Tree, *, finite: bool) -> Tree:
    """Take the tree from the arrays, each leaf of the kind (array, Python number) and on the device of the template's.

    KeyError where one is missing, ValueError where one is of another kind or not finite.
    """
    leaves: list[Any] = []
    for k, leaf in enumerate(ad.leaves(template)):
        saved, expected = arrays.pop(f"{name}_{k}"), np.asarray(to_host(leaf))
        if (saved.shape, saved.dtype) != (expected.shape, expected.dtype):
            raise ValueError(f"{name}_{k} is {saved.dtype}{saved.shape} in place of {expected.dtype}{expected.shape}")
        if finite and not np.isfinite(saved).all():
            raise ValueError(f"{name}_{k} is not finite everywhere")
        leaves.append(like(leaf, saved))
    return ad.unflatten(template, leaves)
