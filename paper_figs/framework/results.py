"""Saved results as figures see them: arrays, units, and the sidecar with claims, checks and provenance.

To add a figure to an experiment `analysis/<name>.py`, write a module `paper_figs/<name>.py` that has
    title: str                       what the report puts above it
    alt: str                         what the figure shows, for those who cannot see it
    draw(result) -> Figure           the figure, from `Result.arrays`; `Result.series` finds a series by its name
    caption(result) -> str           at most 60 words, with measured values: `Result.told` has one by its key
    details(result) -> str           what a caption has no room for: how it was made, and the other values
    headline(claims) -> str          the measured values in one sentence, for the table of claims (`Claims.told`)
It is found by its name. A figure keeps no list of its own in the order of an array: the names are in the result.
`paper_figs.framework.style` has the looks, the letters of panels and the notation; `paper_figs.framework.maps` has maps
of who wins. The tests look at each figure: labels, letters, notation, and whether it can be read without colour.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from metagrad import files, tables
from paper_figs.framework.claims import Claims, nearest

_KINDS = {"claim": str, "checks": list, "holds": bool, "config": dict, "units": dict, "names": dict, "sha256": str}
_KINDS |= {"experiment": str, "preset": str, "seed": int}
_KINDS |= {"command": str, "commit": str, "dirty": bool, "seconds": float, "device": str, "machine": str}
_KINDS |= {"versions": dict, "depends": dict}
_CHECK: dict[str, tuple[type, ...]] = {"key": (str,), "what": (str,), "measured": (float, int), "expected": (str,)}
_CHECK |= {"holds": (bool, type(None)), "interval": (list, type(None))}


class ResultError(Exception):
    """A result that is missing or damaged; the message says what to run."""


@dataclass(frozen=True)
class Result:
    """The saved result of one experiment: the arrays are those of one seed, the checks may be of several.

    `others`: the sidecars of the other seeds.
    """

    name: str
    arrays: dict[str, np.ndarray]
    units: dict[str, str]
    sidecar: dict[str, Any]
    others: tuple[dict[str, Any], ...] = field(default=())

    @property
    def config(self) -> dict[str, Any]:
        """The sizes of the experiment."""
        return dict(self.sidecar["config"])

    def measured(self, key: str) -> float:
        """Return the measured value of the check with this key; KeyError lists the known keys, the nearest first."""
        return self.claims.measured(key)

    def told(self, key: str, spec: str = ".3g", of: Callable[[float], float] = float) -> str:
        """Return a measured value as text, with its range over the seeds where there are several: `Claims.told`."""
        return self.claims.told(key, spec, of)

    @property
    def claims(self) -> Claims:
        """What was measured, by seed."""
        checks = {one["seed"]: one["checks"] for one in (self.sidecar, *self.others)}
        return Claims(self.name, self.sidecar["preset"], self.config, self.sidecar["claim"], checks)

    def names(self, array: str, axis: int = 0) -> tuple[str, ...]:
        """Return the names along an axis of an array; KeyError where it has none, with the arrays that have some."""
        axes = self.sidecar["names"].get(array, ())
        if axis >= len(axes) or axes[axis] is None:
            known = nearest(array, self.sidecar["names"])
            raise KeyError(f"{self.name}: axis {axis} of {array!r} has no names. Arrays with names: {known}.")
        return tuple(axes[axis])

    def series(self, array: str, *wanted: str | None) -> np.ndarray:
        """Return the part of an array that has these names, on its named axes from the first one on.

        None takes all of a named axis. An axis that is picked from is gone; one without names stays. KeyError lists
        the known names, the nearest first.
        """
        named = [axis for axis, names in enumerate(self.sidecar["names"].get(array, ())) if names is not None]
        if len(wanted) > len(named):
            raise KeyError(f"{self.name}: {array!r} has {len(named)} axes with names; {len(wanted)} were asked for.")
        at: list[Any] = [slice(None)] * self.arrays[array].ndim
        for axis, name in zip(named, wanted, strict=False):
            if name is None:
                continue
            known = self.names(array, axis)
            if name not in known:
                listed = nearest(name, known)
                raise KeyError(f"{self.name}: {array!r} has no series {name!r}. Known, nearest first: {listed}.")
            at[axis] = known.index(name)
        return self.arrays[array][tuple(at)]


def load_result(name: str, out: Path, preset: str, seeds: int | Sequence[int]) -> Result:
    """Return the result of `name`; ResultError if it is missing, damaged or was edited, at one of the seeds.

    The arrays are those of the first seed.
    """
    first, *others = [seeds] if isinstance(seeds, int) else seeds
    arrays, sidecar = _load(name, out, preset, first)
    beside = tuple(_load(name, out, preset, seed)[1] for seed in others)
    if different := [one["seed"] for one in beside if one["config"] != sidecar["config"]]:
        raise ResultError(f"{name}: seed {different[0]} in {out} has another config than seed {first}; run it again.")
    return Result(name, arrays, sidecar["units"], sidecar, beside)


def is_there(name: str, out: Path, preset: str, seed: int) -> bool:
    """Tell whether there is a result, whole or not."""
    return (out / name / f"{preset}-seed{seed}.json").exists()


def _load(name: str, out: Path, preset: str, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    stem = out / name / f"{preset}-seed{seed}"
    command = f"python -m analysis run --only {name} --preset {preset} --seed {seed}"
    try:
        about, data = (stem.with_suffix(suffix).read_bytes() for suffix in (".json", ".npz"))
    except OSError as error:
        raise ResultError(f"{name}: no result for preset {preset}, seed {seed} in {out}; run `{command}`.") from error
    try:
        sidecar = tables.unsealed(about, _KINDS)
        _check(sidecar, {"experiment": name, "preset": preset, "seed": seed})
    except ValueError as error:
        raise ResultError(f"{name}: {stem}.json is damaged ({error}); run `{command}`.") from error
    if files.sha256(data) != sidecar["sha256"]:
        raise ResultError(f"{name}: {stem}.npz is not the file that was hashed; run `{command} --force`.")
    try:
        return files.npz_arrays(data), sidecar
    except Exception as error:  # a damaged archive provokes anything
        raise ResultError(f"{name}: {stem}.npz cannot be read ({error}); run `{command} --force`.") from error


def _check(sidecar: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ValueError, which names the field, unless a sidecar is of this result and its checks are what they are."""
    for name, value in wanted.items():
        if sidecar[name] != value:
            raise ValueError(f"{name} is {sidecar[name]!r}, where {value!r} belongs")
    if not sidecar["checks"]:
        raise ValueError("checks is empty, and no claim holds unmeasured")
    for k, check in enumerate(sidecar["checks"]):
        if not isinstance(check, dict) or set(check) != set(_CHECK):
            raise ValueError(f"checks[{k}] has not the fields {', '.join(_CHECK)}")
        for name, kinds in _CHECK.items():
            if type(check[name]) not in kinds:
                expected = " or ".join(kind.__name__ for kind in kinds)
                raise ValueError(f"checks[{k}].{name} is {check[name]!r}; expected a {expected}")
    if sidecar["holds"] is not all(check["holds"] is not False for check in sidecar["checks"]):
        raise ValueError(f"holds is {sidecar['holds']}, which its checks do not say")


def about(result: Result, module: ModuleType, also: str = "") -> dict[str, str]:
    """Return what a figure is about and where it is from, for `style.save`.

    It has title, caption, details and alt, and of the seed that is drawn preset, seed, command, commit, sha256 (of the
    arrays). `also`: a sentence that the caption ends with.
    """
    sidecar = result.sidecar
    commit = (sidecar["commit"] or "unknown") + (" with changes" if sidecar["dirty"] else "")
    texts = {"caption": module.caption(result) + also, "details": module.details(result)}
    told = {"title": module.title} | {name: re.sub("(?<=[0-9])%", " %", text) for name, text in texts.items()}
    told |= {"alt": module.alt, "preset": sidecar["preset"], "seed": str(sidecar["seed"])}
    return told | {"command": sidecar["command"], "commit": commit, "sha256": sidecar["sha256"]}


def last_failure(name: str, out: Path, preset: str, seed: int) -> str:
    """Return the last line of the trace that a run of `name` left when it did not end, or an empty text."""
    note = out / name / f"{preset}-seed{seed}.failed"
    lines = note.read_text(encoding="utf-8", errors="replace").split("\n") if note.exists() else []
    return next((line for line in reversed(lines) if line), "")


def names() -> list[str]:
    """Return the names of all figures."""
    import paper_figs

    found = (info.name for info in pkgutil.iter_modules(paper_figs.__path__) if not info.ispkg)
    return sorted(name for name in found if not name.startswith("_"))


def load_figure(name: str) -> ModuleType:
    """Return the module of a figure: `draw(result) -> Figure`, `caption(result) -> str`, `alt: str`."""
    return importlib.import_module(f"paper_figs.{name}")
