"""Whether a saved result can be believed: its sidecar, its arrays, and the verdict that these arrays lead to.

Whatever a sidecar says of its claim is decided again from the arrays. Its fields have digests, so that an edit is
found. Where a digest was edited too, what the arrays, the experiment and the preset say is compared all the same: this
leaves the units, the names of series, and what is said of the machine, the time and the versions.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.framework import contract, depends, store
from metagrad import tables

KINDS: dict[str, type] = {
    "experiment": str,
    "claim": str,
    "checks": list,
    "holds": bool,
    "preset": str,
    "config": dict,
    "seed": int,
    "device": str,
    "dtypes": dict,
    "units": dict,
    "names": dict,
    "sha256": str,
    "command": str,
    "unix_time": int,
    "seconds": float,
    "key": str,
    "depends": dict,
    "versions": dict,
    "commit": str,
    "dirty": bool,
    "machine": str,
}
_SAME = 1e-6  # what a measured number may differ by on another processor
_ROUNDING = 1e-9  # below it a number is one of the last digits, which every processor rounds in its own way


class SidecarError(Exception):
    """A sidecar that is damaged or was edited; the message names the field."""


def read(path: Path, name: str, preset: str, seed: int) -> dict[str, Any]:
    """Return the sidecar of a result; SidecarError where it is of another one, or a field was edited."""
    try:
        found = tables.unsealed(path.read_bytes(), KINDS)
    except (OSError, ValueError) as error:
        raise SidecarError(str(error)) from error
    if unknown := set(found) - set(KINDS):
        raise SidecarError(f"{min(unknown)} is unknown: it was added")
    _same(found, {"experiment": name, "preset": preset, "seed": seed})
    _same(found, {"key": depends.key_of(found["depends"]), "device": found["depends"].get("device")})
    return found


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if found[name] != value:
            raise SidecarError(f"{name} is {found[name]!r}, where {value!r} belongs")


def command(name: str, preset: str, seed: int, device: str = "") -> str:
    """Return the command that computes a result."""
    text = f"python -m analysis run --only {name} --preset {preset} --seed {seed}"
    return f"{text} --device {device}" if device else text


def plain(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples are lists, numbers of NumPy are numbers, anything else is a text."""
    return json.loads(json.dumps(value, default=lambda x: x.item() if hasattr(x, "item") else str(x)))


def plain_config(config: Any) -> Any:
    """Return the sizes of an experiment as JSON gives them back."""
    return plain(dataclasses.asdict(config))


def checks_of(verdict: contract.Verdict) -> list[dict[str, Any]]:
    """Return the checks of a verdict as JSON gives them back."""
    return [plain(dataclasses.asdict(check)) for check in verdict.checks]


def decided(experiment: contract.Experiment, sidecar: dict[str, Any], arrays_path: Path) -> contract.Verdict:
    """Return the verdict of the saved arrays; SidecarError where the sidecar is not the one of these.

    What the sidecar itself says of checks and claim is compared where nothing has changed since it was written.
    """
    preset = sidecar["preset"]
    arrays = store.load_arrays(arrays_path, sidecar["sha256"])
    if arrays is None:
        raise SidecarError(f"sha256 is not that of {arrays_path.name}: its hash does not fit")
    dtypes = {name: str(array.dtype) for name, array in arrays.items()}
    if sidecar["dtypes"] != dtypes:
        raise SidecarError(f"dtypes is {sidecar['dtypes']}, and the arrays have {dtypes}")
    table = _table(arrays, sidecar)
    try:
        with threadpool_limits(limits=1):
            verdict = experiment.decide(preset, table)
    except Exception as error:  # of arrays that are not its own an experiment may ask anything
        came = f"{type(error).__name__}: {error}"
        raise SidecarError(f"nothing can be decided from the arrays of {arrays_path.name} ({came})") from error
    config, seed, device = experiment.presets[preset], sidecar["seed"], sidecar["device"]
    if sidecar["depends"] == depends.parts_of(experiment.source, config, seed, device):
        _compare(sidecar, verdict)
        said = {"claim": verdict.claim, "holds": verdict.holds, "config": plain_config(config)}
        _same(sidecar, said | {"command": command(experiment.name, preset, seed, device)})
    return verdict


def _table(arrays: dict[str, np.ndarray], sidecar: dict[str, Any]) -> contract.Table:
    for name, unit in sidecar["units"].items():
        if not isinstance(unit, str):
            raise SidecarError(f"units[{name!r}] is {unit!r}; expected a text")
    try:
        return contract.Table(arrays, sidecar["units"], sidecar["names"])
    except (TypeError, ValueError) as error:
        raise SidecarError(f"names does not fit the arrays ({error})") from error


def _compare(sidecar: dict[str, Any], verdict: contract.Verdict) -> None:
    """Raise SidecarError, which names the first field that differs, unless the sidecar says what its arrays do."""
    checks = checks_of(verdict)
    if not sidecar["checks"]:
        raise SidecarError("checks is empty, and no claim holds unmeasured")
    if len(sidecar["checks"]) != len(checks):
        raise SidecarError(f"checks has {len(sidecar['checks'])} of {len(checks)} checks")
    for k, (saved, found) in enumerate(zip(sidecar["checks"], checks, strict=True)):
        if not isinstance(saved, dict) or set(saved) != set(found):
            raise SidecarError(f"checks[{k}] has not the fields {', '.join(found)}")
        for name in found:
            if not _agree(saved[name], found[name]):
                raise SidecarError(f"checks[{k}].{name} is {saved[name]!r}, and the arrays say {found[name]!r}")


def _agree(saved: Any, found: Any) -> bool:
    """Tell whether two fields of a check are the same, numbers but for rounding."""
    if isinstance(saved, list) and isinstance(found, list):
        return len(saved) == len(found) and all(map(_agree, saved, found))
    if type(saved) is bool or type(found) is bool or not isinstance(saved, int | float):
        return type(saved) is type(found) and bool(saved == found)
    if not isinstance(found, int | float):
        return False
    if math.isnan(saved) or math.isnan(found):
        return math.isnan(saved) and math.isnan(found)
    both_rounding = max(abs(saved), abs(found)) < _ROUNDING
    return both_rounding or math.isclose(saved, found, rel_tol=_SAME, abs_tol=0.0)
