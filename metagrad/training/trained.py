"""Trained optimizers: small files with the meta-parameters and the config and seed that made them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value, nearest
from metagrad.protocols import Optimizer, Tree
from metagrad.training.config import Config, build_optimizer, initial_phi
from metagrad.training.store import read_npz, write_npz

_FOLDER = "trained"
_WHERE = "load_trained"


@dataclass(frozen=True)
class Trained:
    """An optimizer with its trained meta-parameters, the config that made them, and what was measured of them."""

    optimizer: Optimizer
    phi: Tree
    config: Config
    about: dict[str, Any]


def save_trained(path: str | Path, phi: Tree, config: Config, about: dict[str, Any]) -> None:
    """Write meta-parameters with their config; the old file stays until the new one is complete."""
    arrays = {f"phi_{k}": np.asarray(leaf) for k, leaf in enumerate(ad.leaves(phi))}
    write_npz(Path(path), arrays, {"format": 1, "config": config, "about": about})


def load_trained(name: str | Path) -> Trained:
    """Return a trained optimizer: one that ships with the project, by its name, or one from a file.

    The file may be the checkpoint of a run that was given its config; then it is the best of the run so far.

    ValueError, saying what came, for an unknown name, and for a file that is damaged, or whose arrays are not those of
    the optimizer in its config.

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
    arrays, text = read_npz(path, _WHERE)
    if "config" not in text:
        bad_value(_WHERE, "name", f"{path}, which is no trained optimizer", "one", "A run's .npz files are.")
    config = text["config"]
    optimizer = build_optimizer(config)
    template = initial_phi(optimizer, 0, config.get("dtype", "float32"))
    wanted = [leaf.shape for leaf in ad.leaves(template)]
    phi_name = "best" if "best_value" in text else "phi"
    came = [arrays[f"{phi_name}_{k}"].shape for k in range(len(arrays)) if f"{phi_name}_{k}" in arrays]
    if came != wanted:
        bad_value(_WHERE, "name", f"{path}, with arrays of shapes {came}", f"those of its optimizer, {wanted}")
    phi = ad.unflatten(template, [arrays[f"{phi_name}_{k}"] for k in range(len(wanted))])
    check = getattr(optimizer, "check_phi", None)
    return Trained(optimizer, phi if check is None else check(phi, _WHERE), config, _about(text))


def _about(text: dict[str, Any]) -> dict[str, Any]:
    if "about" in text:
        return dict(text["about"])
    return {"evaluation": text["best_value"], "episodes": text["episode"]}


def trained_names() -> list[str]:
    """Return the names of the trained optimizers that ship with the project."""
    folder = resources.files("metagrad") / _FOLDER
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".npz"))
