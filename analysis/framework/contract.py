"""What an experiment is: a module with a claim, presets, independent shards, a table, and a verdict.

An experiment `analysis/<name>.py` has
    claim: str                                   one sentence, with the paper's theorem or section
    presets: dict[str, Config]                   "quick", "default", "paper"; Config is a frozen dataclass
    expected_seconds: dict[str, float]           for each preset, on one core
    shards(config) -> list[dict]                 independent work items of plain numbers and strings, in a fixed order
    compute(config, shard, context) -> arrays    dict of named arrays
    assemble(config, parts) -> Table             from the arrays of all shards, in their order
    verdict(config, table) -> Verdict            does the claim hold, and the numbers that say so
and is found by its name. `context` carries the seed and the device.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

MEMBERS = ("claim", "presets", "expected_seconds", "shards", "compute", "assemble", "verdict")
PRESETS = ("quick", "default", "paper")


@dataclass(frozen=True)
class Context:
    """What a shard may depend on besides its config: the seed, and the device ("cpu" or "gpu")."""

    seed: int
    device: str


@dataclass(frozen=True)
class Table:
    """Named arrays and the units of those that have one."""

    arrays: dict[str, np.ndarray]
    units: dict[str, str]


@dataclass(frozen=True)
class Check:
    """One number that was measured, what the claim expects of it, and whether it is so."""

    what: str
    measured: float
    expected: str
    holds: bool


@dataclass(frozen=True)
class Verdict:
    """The claim and the checks that decide it, at least one: a claim without evidence does not hold."""

    claim: str
    checks: list[Check]

    def __post_init__(self) -> None:
        """Refuse a verdict that nothing was measured for."""
        if not self.checks:
            raise ValueError("Verdict: checks is empty; expected at least one Check (no claim holds unmeasured).")

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)


def names() -> list[str]:
    """Return the names of all experiments."""
    import analysis

    found = (info.name for info in pkgutil.iter_modules(analysis.__path__) if not info.ispkg)
    return sorted(name for name in found if not name.startswith("_"))


def load(name: str) -> ModuleType:
    """Return the experiment `name`; AttributeError names what it lacks."""
    module = importlib.import_module(f"analysis.{name}")
    missing = [member for member in MEMBERS if not hasattr(module, member)]
    if missing:
        raise AttributeError(f"analysis.{name} lacks {', '.join(missing)}; see analysis.framework.contract")
    return module


def config_of(module: Any, preset: str) -> Any:
    """Return the config of a preset."""
    return module.presets[preset]
