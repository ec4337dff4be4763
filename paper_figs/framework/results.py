"""Saved results as figures see them: arrays, units, and the sidecar with claims, checks and provenance."""

from __future__ import annotations

import importlib
import json
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from metagrad import files

_PROVENANCE = {"command", "commit", "dirty", "seconds", "device", "machine", "versions"}
_NEEDED = {"claim", "checks", "holds", "config", "units", "sha256"} | _PROVENANCE


class ResultError(Exception):
    """A result that is missing or damaged; the message says what to run."""


@dataclass(frozen=True)
class Result:
    """The saved result of one experiment."""

    name: str
    arrays: dict[str, np.ndarray]
    units: dict[str, str]
    sidecar: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The sizes of the experiment."""
        return dict(self.sidecar["config"])

    def measured(self, start: str) -> float:
        """Return the measured value of the check whose text begins with `start`."""
        return next(float(check["measured"]) for check in self.sidecar["checks"] if check["what"].startswith(start))


def load_result(name: str, out: Path, preset: str, seed: int) -> Result:
    """Return the result of `name`; ResultError if it is missing, or not the file that was hashed."""
    stem = out / name / f"{preset}-seed{seed}"
    command = f"python -m analysis run --only {name} --preset {preset} --seed {seed}"
    try:
        sidecar = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        data = stem.with_suffix(".npz").read_bytes()
    except OSError as error:
        raise ResultError(f"{name}: no result for preset {preset}, seed {seed} in {out}; run `{command}`.") from error
    except ValueError as error:
        raise ResultError(f"{name}: {stem}.json is damaged ({error}); run `{command} --force`.") from error
    if not isinstance(sidecar, dict) or not set(sidecar) >= _NEEDED:
        raise ResultError(f"{name}: {stem}.json is not the sidecar of a result; run `{command} --force`.")
    if files.sha256(data) != sidecar["sha256"]:
        raise ResultError(f"{name}: {stem}.npz is not the file that was hashed; run `{command} --force`.")
    return Result(name, files.npz_arrays(data), sidecar["units"], sidecar)


def last_failure(name: str, out: Path, preset: str, seed: int) -> str:
    """Return the last line of the trace that a run of `name` left when it did not end, or an empty text."""
    note = out / name / f"{preset}-seed{seed}.failed"
    lines = note.read_text(encoding="utf-8").split("\n") if note.exists() else []
    return next((line for line in reversed(lines) if line), "")


def names() -> list[str]:
    """Return the names of all figures."""
    import paper_figs

    found = (info.name for info in pkgutil.iter_modules(paper_figs.__path__) if not info.ispkg)
    return sorted(name for name in found if not name.startswith("_"))


def load_figure(name: str) -> ModuleType:
    """Return the module of a figure: `draw(result) -> Figure`, `caption(result) -> str`, `alt: str`."""
    return importlib.import_module(f"paper_figs.{name}")
