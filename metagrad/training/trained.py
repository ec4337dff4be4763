"""Trained optimizers: small files with the meta-parameters, and the config that made them where there was one.

Reading one imports nothing and runs no code of the file: an optimizer of the user's own is made by the caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad, checks, parts
from metagrad.ad.functions.shapes import is_float
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.files import ARRAYS_TO_DESCRIPTION, LARGEST, read_npz, write_npz
from metagrad.protocols import Rule, Tree
from metagrad.tables import as_json
from metagrad.training.config import dtype_of, optimizer_of
from metagrad.training.own import check_maker, is_own
from metagrad.training.store import FORMAT
from metagrad.training.values import Config
from metagrad.xp import is_array, namespace, to_host

_FOLDER = "trained"
_WHERE = "load_trained"
_FORMAT = 1
_LONGEST_VALUE, _LONGEST_PATH = 10_000, 1000
_LONGEST_TEXT = LARGEST // ARRAYS_TO_DESCRIPTION // 4  # of config and of about, so that what is saved can be loaded
_HOW = "the command metagrad evaluate takes it from --config"


@dataclass(frozen=True)
class Trained:
    """An optimizer with its trained meta-parameters, the config that made them, and what was measured of them.

    `config`: None where the optimizer was made in Python, without one.
    """

    optimizer: Rule
    phi: Tree
    config: Config | None
    about: dict[str, Any]


def save_trained(
    path: str | Path,
    optimizer: Rule,
    phi: Tree,
    *,
    config: Config | None = None,
    about: dict[str, Any] | None = None,
) -> None:
    """Write the meta-parameters of an optimizer; the old file stays until the new one is complete.

    `phi`: any tree of float arrays. The file has its leaves and their paths, not the code of the optimizer: with
    `config`, the nested dicts of a config that names it, `load_trained(path)` makes it again; without, the caller gives
    it. `about`: what else should be kept, in numbers, texts, lists and dicts.

    ValueError where a leaf is not finite, or of a dtype that npz files lack; TypeError where one is no float array, or
    `config` or `about` is none that JSON can hold. `optimizer` checks phi as it does before it runs.

    >>> import os, tempfile, metagrad as mg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "momentum.npz")
    ...     mg.save_trained(path, mg.Momentum(), mg.Momentum.Phi(0.1, 0.9))
    ...     mg.load_trained(path, template=(mg.Momentum(), mg.Momentum.Phi(1.0, 0.0))).phi
    Phi(eta=0.1, mu=0.9)
    """
    where = "save_trained"
    path = checks.file_path(where, "path", path)
    parts.check_part(where, "optimizer", optimizer, Rule)
    phi = _completed(optimizer, phi, where)
    arrays = {}
    for k, (at, leaf) in enumerate(zip(ad.paths(phi), ad.leaves(phi), strict=True)):
        arrays[f"phi_{k}"] = _saved(leaf, f"phi{at}", where)
    if not arrays:
        bad_value(where, "phi", f"a {type(phi).__name__} without arrays", "a tree with meta-parameters")
    kind = type(optimizer)
    text: dict[str, Any] = {"format": _FORMAT, "config": config, "about": {} if about is None else about}
    text |= {"optimizer": f"{kind.__module__}.{kind.__qualname__}", "paths": ad.paths(phi)}
    for name in ("config", "about"):
        if text[name] is not None and not isinstance(text[name], dict):
            bad_type(where, name, f"a {type(text[name]).__name__}", "a dict")
        try:
            length = 0 if text[name] is None else len(as_json(text[name]))
        except (TypeError, ValueError, RecursionError) as error:
            bad_type(where, name, f"one that JSON cannot hold ({error})", "numbers, texts, lists and dicts")
        if length > _LONGEST_TEXT:
            came = f"one of {length} bytes as JSON"
            bad_value(where, name, came, f"at most {_LONGEST_TEXT}", "Keep what is large in a file of its own.")
    write_npz(path, arrays, text)


def _completed(rule: Any, phi: Tree, where: str) -> Tree:
    """Return phi, checked, and completed where it was not whole; the dtypes of its leaves stay."""
    checked = parts.check_phi(rule, phi, where)
    return phi if ad.paths(phi) == ad.paths(checked) else checked


def _saved(leaf: Any, name: str, where: str) -> np.ndarray:
    if not (is_array(leaf) or isinstance(leaf, float | np.generic)):
        bad_type(where, name, f"a {type(leaf).__name__}", "a float array")
    found = np.asarray(to_host(leaf))
    if not is_float(found.dtype):
        bad_type(where, name, f"an array of {found.dtype}", "a float array")
    if np.dtype(found.dtype.str) != found.dtype:
        bad_value(where, name, f"of {found.dtype}, which npz files lack", "another float dtype", "Use astype.")
    if not np.isfinite(found).all():
        bad_value(where, name, "not finite", "finite meta-parameters")
    return found


def load_trained(
    name: str | Path,
    *,
    make: Callable[..., Any] | None = None,
    template: tuple[Rule, Tree] | None = None,
    largest: int = LARGEST,
) -> Trained:
    """Return a trained optimizer: one that ships with the project, by its name, or one from a file.

    The file may be the checkpoint of a run; then it is the best of the run so far. Where the config in the file names
    an optimizer of metagrad, nothing else is needed. Any other is made by the caller, since nothing is ever imported
    because a file says so:
    `make`: the function "module:function" of the config, or any that returns a rule with `init_meta(rng, dtype)`, or
    (rule, phi). It is called with what the config says in [optimizer], by name; with nothing where there is no config.
    `template`: (rule, phi), the rule and any meta-parameters that it takes, of the structure, shapes and dtypes of
    those in the file. The config of the file is then not looked at.

    The file may come from a stranger. It is read where it has at most `largest` bytes, and its description at most
    1/256 of that; nothing in it is unpacked or unpickled; and how large an optimizer of metagrad its config asks for is
    compared with the arrays before any of it is made.

    ValueError, saying what came, for an unknown name, for a file that is too large, damaged or edited, or whose arrays
    are not those of the optimizer, with the path of the first that is not, and for an optimizer of the user's own
    without `make` or `template`; TypeError where an array is of another dtype.

    >>> load_trained("lstm_quadratics").optimizer.hidden
    (20, 20)
    """
    path = checks.file_path(_WHERE, "name", name)
    if path.suffix != ".npz":
        known = trained_names()
        if str(name) not in known:
            remedy = f"{nearest(str(name), known)} Or give the path of an .npz file."
            bad_value(_WHERE, "name", repr(str(name)), "a trained optimizer that ships with the project", remedy)
        path = Path(str(resources.files("metagrad") / _FOLDER / f"{name}.npz"))
    if type(largest) is not int or largest < 1:
        bad_value(_WHERE, "largest", repr(largest), "a number of bytes", f"The default is {LARGEST}.")
    arrays, text = read_npz(
        path, _WHERE, argument="name", what="trained optimizer", formats=(_FORMAT, FORMAT), largest=largest
    )
    config, about = text.get("config"), _about(text)
    if not isinstance(config, dict | None) or not isinstance(about, dict):
        bad_value(_WHERE, "name", f"{path}, which is no trained optimizer", "one", "A run's .npz files are.")
    if type(text.get("best_value", 0.0)) is not float:
        bad_value(_WHERE, "name", f"{path}, which was edited (best_value)", "a file as it was written")
    if "best_value" in text and not np.isfinite(text["best_value"]):
        remedy = "Its recipe says after how many episodes (evaluate_every); go on with the run, or look at its metrics."
        bad_value(_WHERE, "name", f"{path}, of a run without a finite evaluation", "one that has one", remedy)
    prefix = "best" if "best_value" in text else "phi"
    optimizer, like = _made(path, arrays, text, make, template)
    phi = _phi(path, arrays, like, prefix, text.get("paths"))
    return Trained(optimizer, parts.check_phi(optimizer, phi, _WHERE), config, about)


def _made(path: Path, arrays: dict[str, np.ndarray], text: dict[str, Any], make: Any, template: Any) -> Any:
    """Return the optimizer of a file, and meta-parameters like those in it."""
    if make is not None and template is not None:
        bad_value(_WHERE, "make", "given beside template", "one of the two")
    if template is not None:
        if type(template) is not tuple or len(template) != 2 or parts.missing(template[0], Rule):
            bad_type(_WHERE, "template", f"a {type(template).__name__}", "(rule, phi)", "Give an optimizer in it.")
        return template[0], _completed(*template, _WHERE)
    config = text.get("config")
    section = {} if config is None else config.get("optimizer", {})
    kind = section.get("kind") if isinstance(section, dict) else None
    if config is not None and not is_own(kind):
        if make is not None:
            bad_value(_WHERE, "make", "given", f"none, since the config of {path} names {kind!r}, of metagrad")
        _check_length(path, "config of the optimizer", [section, config.get("dtype")])
        return optimizer_of(config)
    if make is None:
        came = f"{path}, whose optimizer {_whose(kind, text)}, and no file has code imported"
        call = str(kind).replace(":", ".") if is_own(kind) else "the_function_that_makes_it"
        remedy = f"Write load_trained(path, make={call}), or give template=(rule, phi); {_HOW}."
        bad_value(_WHERE, "name", came, "its maker beside the file", remedy)
    dtype = next(iter(arrays.values())).dtype if config is None and arrays else dtype_of(config or {})
    values = {key: value for key, value in section.items() if key != "kind"}
    return check_maker(make, _WHERE).make(values, dtype, 0)


def _check_length(path: Path, what: str, value: Any) -> None:
    """Raise ValueError where a value of a file is so long that what it asks for, or an error that shows it, is too."""
    if (length := len(json.dumps(value))) > _LONGEST_VALUE:
        came = f"{path}, whose {what} takes {length} bytes"
        bad_value(_WHERE, "name", came, f"at most {_LONGEST_VALUE}")


def _whose(kind: Any, text: dict[str, Any]) -> str:
    if is_own(kind):
        return f"is made by {kind!r}"
    made = text.get("optimizer")
    return f"was made in Python{f' (a {made})' if isinstance(made, str) else ''}, without a config"


def _phi(path: Path, arrays: dict[str, np.ndarray], template: Tree, name: str, saved: Any) -> Tree:
    """Return the arrays `name`_0, `name`_1, ... as a tree like the template, whose paths must be the `saved` ones."""
    wanted, places = ad.leaves(template), [f"phi{at}" for at in ad.paths(template)]
    names = [f"{name}_{k}" for k in range(len(wanted))]
    if saved is not None:
        _check_paths(path, saved, ad.paths(template))
    others = [x for x in arrays if x not in names and (name == "phi" or x.startswith(f"{name}_"))]
    for x, leaf, at in zip(names, wanted, places, strict=True):
        if x not in arrays:
            bad_value(_WHERE, "name", f"{path}, without {x}", f"an array {np.shape(leaf)} for {at} of its optimizer")
        if arrays[x].shape != np.shape(leaf):
            came = f"{path}, with {x} of shape {arrays[x].shape}"
            bad_value(_WHERE, "name", came, f"{np.shape(leaf)}, that of {at} of its optimizer")
    if others:
        bad_value(_WHERE, "name", f"{path}, with {', '.join(others)} beside them", f"{names[0]} .. {names[-1]} alone")
    for x, leaf, at in zip(names, wanted, places, strict=True):
        dtype = np.asarray(to_host(leaf)).dtype
        if arrays[x].dtype != dtype:
            bad_type(
                _WHERE, "name", f"{path}, with {x} of {arrays[x].dtype}", f"{dtype}, that of {at} of its optimizer"
            )
        if not np.isfinite(arrays[x]).all():
            bad_value(_WHERE, "name", f"{path}, with {x}, which is not finite", f"finite numbers for {at}")
    return ad.unflatten(template, [_like(leaf, arrays[x]) for x, leaf in zip(names, wanted, strict=True)])


def _like(leaf: Any, saved: np.ndarray) -> Any:
    """Return what was saved as the kind of the leaf in its place: a Python float, or an array on its device."""
    if type(leaf) is float:
        return float(saved)
    return saved if isinstance(leaf, np.ndarray | np.generic) else namespace(leaf).asarray(saved)


def _check_paths(path: Path, saved: Any, wanted: list[str]) -> None:
    """Raise ValueError, with the first path that differs, unless the tree in the file is that of the optimizer."""
    if not isinstance(saved, list) or not all(isinstance(at, str) for at in saved):
        came = f"{path}, which was edited (paths is a {type(saved).__name__})"
        bad_value(_WHERE, "name", came, "a list of texts, as it was written")
    for k in range(max(len(saved), len(wanted))):
        there, here = (f"phi{x[k][:_LONGEST_PATH]}" if k < len(x) else "nothing" for x in (saved, wanted))
        if there != here:
            came = f"{path}, with {there} where its optimizer has {here}"
            bad_value(_WHERE, "name", came, f"{len(wanted)} arrays, as the optimizer has them")


def _about(text: dict[str, Any]) -> Any:
    if "best_value" in text:
        return {"evaluation": text["best_value"], "episodes": text.get("episode")}
    return text.get("about")


def trained_names() -> list[str]:
    """Return the names of the trained optimizers that ship with the project."""
    folder = resources.files("metagrad") / _FOLDER
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".npz"))
