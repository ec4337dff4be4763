"""Trained optimizers: small files with the meta-parameters and the config and seed that made them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.files import read_npz, write_npz
from metagrad.protocols import Rule, Tree
from metagrad.training.config import Config, build_optimizer, dtype_of, initial_phi
from metagrad.training.store import FORMAT
from metagrad.xp import to_host

_FOLDER = "trained"
_WHERE = "load_trained"
_FORMAT = 1


@dataclass(frozen=True)
class Trained:
    """An optimizer with its trained meta-parameters, the config that made them, and what was measured of them."""

    optimizer: Rule
    phi: Tree
    config: Config
    about: dict[str, Any]


def save_trained(path: str | Path, phi: Tree, config: Config, about: dict[str, Any]) -> None:
    """Write meta-parameters with their config; the old file stays until the new one is complete."""
    arrays = {f"phi_{k}": np.asarray(to_host(leaf)) for k, leaf in enumerate(ad.leaves(phi))}
    write_npz(Path(path), arrays, {"format": _FORMAT, "config": config, "about": about})


def load_trained(name: str | Path) -> Trained:
    """Return a trained optimizer: one that ships with the project, by its name, or one from a file.

    The file may be the checkpoint of a run that was given its config; then it is the best of the run so far.

    ValueError, saying what came, for an unknown name, and for a file that is damaged or edited, or whose arrays are not
    those of the optimizer in its config; TypeError where they are of another dtype.

    >>> load_trained("lstm_quadratics").optimizer.hidden
    (20, 20)
    """
    path = Path(name)
    if path.suffix != ".npz":
        known = trained_names()
        if str(name) not in known:
            remedy = f"{nearest(str(name), known)} Or give the path of an .npz file."
            bad_value(_WHERE, "name", repr(str(name)), "a trained optimizer that ships with the project", remedy)
        path = Path(str(resources.files("metagrad") / _FOLDER / f"{name}.npz"))
    arrays, text = read_npz(path, _WHERE, argument="name", what="trained optimizer", formats=(_FORMAT, FORMAT))
    config, about = text.get("config"), _about(text)
    if not isinstance(config, dict) or not isinstance(about, dict):
        bad_value(_WHERE, "name", f"{path}, which is no trained optimizer", "one", "A run's .npz files are.")
    if "best_value" in text and not np.isfinite(text["best_value"]):
        remedy = "Its recipe says after how many episodes (evaluate_every); go on with the run, or look at its metrics."
        bad_value(_WHERE, "name", f"{path}, of a run without a finite evaluation", "one that has one", remedy)
    optimizer = build_optimizer(config)
    phi = _phi(path, arrays, initial_phi(optimizer, 0, dtype_of(config)), "best" if "best_value" in text else "phi")
    return Trained(optimizer, parts.check_phi(optimizer, phi, _WHERE), config, about)


def _phi(path: Path, arrays: dict[str, np.ndarray], template: Tree, name: str) -> Tree:
    """Return the arrays `name`_0, `name`_1, ... as a tree like the template."""
    wanted = ad.leaves(template)
    names = [f"{name}_{k}" for k in range(len(wanted))]
    others = [x for x in arrays if x not in names and (name == "phi" or x.startswith(f"{name}_"))]
    shapes, came = [leaf.shape for leaf in wanted], [arrays[x].shape for x in names if x in arrays]
    if came != shapes:
        bad_value(_WHERE, "name", f"{path}, with arrays of shapes {came}", f"those of its optimizer, {shapes}")
    if others:
        bad_value(_WHERE, "name", f"{path}, with {', '.join(others)} beside them", f"{names[0]} .. {names[-1]} alone")
    for x, leaf in zip(names, wanted, strict=True):
        if arrays[x].dtype != leaf.dtype:
            bad_type(_WHERE, "name", f"{path}, with {x} of {arrays[x].dtype}", f"{leaf.dtype}, as its config says")
    return ad.unflatten(template, [arrays[x] for x in names])


def _about(text: dict[str, Any]) -> Any:
    if "best_value" in text:
        return {"evaluation": text["best_value"], "episodes": text.get("episode")}
    return text.get("about")


def trained_names() -> list[str]:
    """Return the names of the trained optimizers that ship with the project."""
    folder = resources.files("metagrad") / _FOLDER
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".npz"))
