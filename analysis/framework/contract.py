"""What an experiment is: a claim, presets, independent shards, a table of arrays, and a verdict.

To add an experiment, write a module `analysis/<name>.py` that has
    claim: str                                   one sentence, with the paper's theorem or section
    presets: dict[str, Config]                   "quick", "default", "paper"; Config is a frozen dataclass
    expected_seconds: dict[str, float]           for each preset, on one core
    keys(config) -> tuple[str, ...]              the keys of the checks in the verdict, in their order
    shards(config) -> list[dict]                 independent work items of plain numbers and strings, in a fixed order
    compute(config, shard, context) -> arrays    dict of named arrays
    assemble(config, parts) -> Table             from the arrays of all shards, in their order
    verdict(config, table) -> Verdict            does the claim hold, and the numbers that say so
and, only where it needs data that the project does not carry,
    needs: str                                   the name of the data set (see `analysis.framework.needs`)
The first line of its docstring says what it is, in `python -m analysis list`. Beside it stands a figure
`paper_figs/<name>.py` (see `paper_figs.framework.results`). Both are found by their name; there is no list
to extend. `load` makes an `Experiment` from the module, and everything else takes that. `context` carries the seed and
the device. An array whose entries along an axis have names carries them in the table (`Table.names`), and a check has a
key: figures ask for names and keys, never for a position in a list of their own or for the words of a sentence.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from metagrad.errors import bad_value

PRESETS = ("quick", "default", "paper")
REPORTED = "reported"  # what a number is expected to be of which nothing is expected

Names = Sequence[Sequence[str] | None]


@dataclass(frozen=True)
class Context:
    """What a shard may depend on besides its config: the seed, and the device ("cpu" or "gpu")."""

    seed: int
    device: str


@dataclass(frozen=True)
class Table:
    """Named arrays, the units of those that have one, and the names of the series in them.

    `names[array]` has an entry for each of the leading axes: the names along this axis, or None where it has none.
    Axes that are left out at the end have none. ValueError where the names do not fit the array.

    >>> Table({"loss": np.zeros((2, 9))}, {"loss": "nats"}, {"loss": [("SGD", "Adam")]}).names["loss"]
    [('SGD', 'Adam')]
    """

    arrays: dict[str, np.ndarray]
    units: dict[str, str]
    names: dict[str, Names] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse names that are not those of an array's axes."""
        for array, axes in self.names.items():
            if array not in self.arrays:
                bad_value("Table", "names", array, "a key of arrays", "Give names only to arrays of the table.")
            shape = np.shape(self.arrays[array])
            for axis, series in enumerate(axes):
                if series is None:
                    continue
                if axis >= len(shape) or len(set(series)) != len(series) or len(series) != shape[axis]:
                    expected = f"as many different names as axis {axis} of the shape {shape} has entries"
                    bad_value("Table", f"names[{array!r}]", series, expected, "Put None for an axis without names.")


@dataclass(frozen=True)
class Check:
    """One number that was measured, what the claim expects of it, and whether it is so.

    `key` is what figures look the check up by: a short word in lower case with underscores. It stays the same where
    the sentence `what` changes; `what` names the statistic (a median over tasks, a largest error). `holds` is None
    where nothing is expected, and the number is reported. `interval`: the 95 % interval of a number that is of a
    sample, or None. The functions of `analysis.framework.checks` make checks that a NaN fails. ValueError where the
    key is something else, or a number that is reported is expected to be something.
    """

    key: str
    what: str
    measured: float
    expected: str
    holds: bool | None
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse a key that is a sentence, and an expectation that nothing is decided by."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.key):
            expected = "lower-case letters, digits and underscores, a letter first"
            bad_value("Check", "key", self.key, expected, "The sentence is the second argument.")
        if (self.holds is None) is not (self.expected == REPORTED):
            expected = f"{REPORTED!r} where holds is None, and there alone"
            bad_value("Check", "expected", self.expected, expected, "Use analysis.framework.checks.reported.")

    @property
    def fails(self) -> bool:
        """Whether something was expected of the number, and is not so."""
        return self.holds is not None and not self.holds


@dataclass(frozen=True)
class Verdict:
    """The claim and the checks that decide it, at least one: a claim without evidence does not hold.

    A number that is reported decides nothing.
    """

    claim: str
    checks: list[Check]

    def __post_init__(self) -> None:
        """Refuse a verdict that nothing was measured for, and two checks of one key."""
        if all(check.holds is None for check in self.checks):
            raise ValueError("Verdict: checks is empty; expected at least one Check (no claim holds unmeasured).")
        keys = [check.key for check in self.checks]
        if twice := [key for key in keys if keys.count(key) > 1]:
            bad_value("Verdict", "checks", twice[0], "a key for each check", "Two checks have this one; rename one.")

    @property
    def holds(self) -> bool:
        """Whether every check holds that expects something."""
        return not any(check.fails for check in self.checks)


@dataclass(frozen=True)
class Experiment:
    """One experiment, made once from its module by `load`; the module docstring says what the members are.

    `source` is the file that the experiment is written in. Together with what all experiments share it is what the
    fingerprint of a result is taken of (`analysis.framework.depends.parts_of`).
    """

    name: str
    source: Path
    claim: str
    presets: dict[str, Any]
    expected_seconds: dict[str, float]
    keys: Callable[[Any], tuple[str, ...]]
    shards: Callable[[Any], list[dict[str, Any]]]
    compute: Callable[[Any, dict[str, Any], Context], dict[str, np.ndarray]]
    assemble: Callable[[Any, list[dict[str, np.ndarray]]], Table]
    verdict: Callable[[Any, Table], Verdict]
    needs: str = ""

    def decide(self, preset: str, table: Table) -> Verdict:
        """Return the verdict on a table of this preset; ValueError if its checks are not those that `keys` lists."""
        config = self.presets[preset]
        verdict = self.verdict(config, table)
        found, listed = tuple(check.key for check in verdict.checks), tuple(self.keys(config))
        if found != listed:
            bad_value(
                f"analysis.{self.name}", "verdict", found, f"checks with the keys {listed}", "Change keys(config)."
            )
        return verdict


def names() -> list[str]:
    """Return the names of all experiments."""
    import analysis

    found = (info.name for info in pkgutil.iter_modules(analysis.__path__) if not info.ispkg)
    return sorted(name for name in found if not name.startswith("_"))


def summary(name: str) -> str:
    """Return the first line of the docstring of an experiment's module: what it is."""
    return (importlib.import_module(f"analysis.{name}").__doc__ or "").split("\n")[0]


def load(name: str) -> Experiment:
    """Return the experiment `name`; AttributeError names what its module lacks."""
    module = importlib.import_module(f"analysis.{name}")
    wanted = [member.name for member in fields(Experiment) if member.name not in ("name", "source", "needs")]
    members = {member: getattr(module, member) for member in wanted if hasattr(module, member)}
    if missing := [member for member in wanted if member not in members]:
        raise AttributeError(f"analysis.{name} lacks {', '.join(missing)}; see analysis.framework.contract")
    return Experiment(name=name, source=Path(str(module.__file__)), needs=getattr(module, "needs", ""), **members)
