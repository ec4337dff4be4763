"""Parts of a user's own in a config, `kind = "my_module:make"`: the import, the call, and what the call must return.

Nothing is imported but for a caller that says in which folder: a config that came with a file of weights is data.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.ad.functions.shapes import is_float
from metagrad.errors import bad_type, bad_value
from metagrad.files import sha256
from metagrad.protocols import Objective, Rule, Task, Tree
from metagrad.training.values import arguments
from metagrad.xp import is_array, namespace, rng

_MAKES = {
    "task": "a function from a seed to a task",
    "optimizer": "a rule with init_meta(rng, dtype), or (rule, phi)",
    "objective": "an objective",
    "outer": "(rule, phi)",
}


def is_own(kind: Any) -> bool:
    """Tell whether the kind of a section names a function of the user's.

    >>> is_own("my_module:make"), is_own("lstm")
    (True, False)
    """
    return isinstance(kind, str) and ":" in kind


@dataclass(frozen=True)
class OwnTasks:
    """A function from a seed to a task, with a digest of the code of its module: a checkpoint compares both.

    Of what a function reads by its name, the classes of its tasks among them, a fingerprint does not know.
    """

    tasks: Callable[[int], Task]
    source: str

    def __call__(self, seed: int) -> Task:
        """Return the task of a seed."""
        return self.tasks(seed)


@dataclass(frozen=True)
class Maker:
    """A function of the user's that makes the part of a section, and how errors name it."""

    function: Callable[..., Any]
    section: str
    where: str = "config"
    argument: str = ""
    name: str = ""

    def make(self, values: Any, dtype: Any, seed: int) -> Any:
        """Return what the function makes of the values of its section; an error where that is not such a part."""
        keys = arguments(f"[{self.section}]", self.function, values, dtype)
        found = self._asked("raised", lambda: self.function(**keys))
        check = {"task": self._tasks, "optimizer": self._optimizer, "objective": self._objective, "outer": self._outer}
        return check[self.section](found, dtype, seed)

    def _asked(self, what: str, call: Callable[[], Any]) -> Any:
        """Return what the user's code returns; ValueError, with its own error and the line, where it raises."""
        try:
            return call()
        except (Exception, SystemExit) as error:
            self._refuse(f"which {what} {_said(error)}")

    def _refuse(self, came: str, remedy: str = "") -> Any:
        expected = f"a function that returns {_MAKES[self.section]}"
        return bad_value(self.where, self.argument, f"{self.name}, {came}", expected, remedy)

    def _part(self, part: Any, protocol: Any, what: str = "which returned") -> None:
        """Raise ValueError unless the part has the members that its protocol requires."""
        if isinstance(part, type):
            self._refuse(f"{what} the class {part.__name__}", f"Return {part.__name__}().")
        lacking = parts.missing(part, protocol)
        if lacking:
            remedy = f"help(metagrad.protocols.{protocol.__name__}) says what each is."
            self._refuse(f"{what} a {type(part).__name__} without {', '.join(lacking)}", remedy)
        parts.check_wrapper(part, protocol, f"{self.where}: {self.argument}")

    def _objective(self, found: Any, dtype: Any, seed: int) -> Any:
        self._part(found, Objective)
        return found

    def _outer(self, found: Any, dtype: Any, seed: int) -> Any:
        if not _is_pair(found):
            self._refuse(f"which returned a {type(found).__name__}")
        self._part(found[0], Rule, "which returned a pair with")
        return found[0], parts.check_phi(found[0], found[1], f"{self.where}: {self.argument}")

    def _optimizer(self, found: Any, dtype: Any, seed: int) -> tuple[Rule, Tree]:
        """Return the rule and its meta-parameters at the start, all of them arrays of the dtype of the config."""
        rule, phi = found if _is_pair(found) else (found, None)
        self._part(rule, Rule)
        if not _is_pair(found):
            if not parts.draws_meta(rule):
                self._refuse(f"which returned a {type(rule).__name__} without init_meta")
            draw = rng(seed, "init_meta")
            phi = self._asked("returned a rule whose init_meta raised", lambda: rule.init_meta(draw, dtype))
        phi = parts.check_phi(rule, phi, f"{self.where}: {self.argument}")
        phi = ad.tree_map(lambda x: np.asarray(x, dtype) if type(x) is float else x, phi)
        self._floats("which returned meta-parameters phi", phi, dtype)
        return rule, phi

    def _tasks(self, tasks: Any, dtype: Any, seed: int) -> Any:
        """Return the function from a seed to a task, after a look at the task of one seed."""
        if not callable(tasks) or isinstance(tasks, Task):
            remedy = "Return `lambda seed: task`." if isinstance(tasks, Task) else ""
            self._refuse(f"which returned a {type(tasks).__name__}", remedy)
        seed = int(rng(seed, "check").integers(2**62))  # as large as those that training asks for
        task = self._asked(f"returned a function that, for the seed {seed}, raised", lambda: tasks(seed))
        self._part(task, Task, "whose function of a seed returned")
        w = self._asked("makes a task whose init raised", lambda: task.init(rng(seed, "init")))
        self._floats("whose task has an init that returned w", w, dtype)
        sample = self._asked("makes a task whose sample raised", lambda: parts.sample(task, seed, 0, _namespace(w)))
        self._asked("makes a task whose loss raised", lambda: parts.checked_loss(task, w, sample))
        return OwnTasks(tasks, _source(self.function))

    def _floats(self, what: str, tree: Tree, dtype: Any) -> None:
        """Raise ValueError unless the tree has leaves, and all of them are float arrays of the dtype."""
        found = dict(zip(ad.paths(tree), ad.leaves(tree), strict=True))
        if not found:
            self._refuse(f"{what} without arrays")
        for path, leaf in found.items():
            at = f"{what}, {f'at {path} ' if path else ''}"
            if not is_array(leaf) and not isinstance(leaf, np.generic):
                self._refuse(f"{at}a {type(leaf).__name__}", f"Return float arrays of {dtype}.")
            if not is_float(leaf.dtype) or leaf.dtype != dtype:
                remedy = f"Take a parameter `dtype`: it gets that of the config, {dtype}. Or change that."
                self._refuse(f"{at}an array of {leaf.dtype}", remedy)


def find(section: str, kind: str, folder: str | Path | None) -> Maker:
    """Return the function that `kind` names; ValueError where nothing may be imported, or there is none."""
    argument, name = f"[{section}] kind", repr(kind)
    if folder is None:
        remedy = "If you trust it, give the folder of the module: setup(config, folder=...), or the command --config."
        came = f"{name}, a function of a module, and nothing is imported for a config without its folder"
        bad_value("config", argument, came, "a kind that comes with metagrad", remedy)
    module, _, function = kind.partition(":")
    if not function.isidentifier() or not all(piece.isidentifier() for piece in module.split(".")):
        bad_value("config", argument, name, '"module:function"', 'Such as "my_module:make" for make in my_module.py.')
    found = getattr(_imported(argument, name, module, Path(folder)), function, None)
    if found is None or not _has_signature(found):
        came = f"{name}, and {module} has no function {function}" if found is None else f"{name}, which is no function"
        bad_value("config", argument, came, f"a function that returns {_MAKES[section]}")
    return Maker(found, section, "config", argument, name)


def _imported(argument: str, name: str, module: str, folder: Path) -> Any:
    folders = list(dict.fromkeys(str(x.resolve()) for x in (folder, Path.cwd())))
    importlib.invalidate_caches()  # the file may be younger than the process
    with _first(folders):
        _check_not_another(argument, name, module.partition(".")[0])
        try:
            return importlib.import_module(module)
        except (Exception, SystemExit) as error:
            absent = isinstance(error, ModuleNotFoundError) and error.name in (module, module.partition(".")[0])
            came = f"{name}, whose module cannot be imported ({_said(error)})"
            looked = f"a module {module} in {' or '.join(folders)}, or an installed one"
            remedy = "Look at the name, or move the module beside the config." if absent else "Mend the module."
            bad_value("config", argument, came, looked, remedy)


@contextmanager
def _first(folders: list[str]) -> Iterator[None]:
    """Look for modules in the folders first; afterwards last, for what the modules import when they are called."""
    sys.path[:0] = folders
    try:
        yield
    finally:
        for one in folders:
            with suppress(ValueError):
                sys.path.remove(one)
        sys.path += [one for one in folders if one not in sys.path]


def _check_not_another(argument: str, name: str, top: str) -> None:
    """Raise ValueError where the process has already imported another module of this name from another place."""
    there, found = sys.modules.get(top), PathFinder.find_spec(top)
    if there is None or found is None:
        return
    known, wanted = (
        None if x is None or x.origin is None else Path(x.origin).resolve() for x in (there.__spec__, found)
    )
    if known != wanted:
        came = f"{name}, while another {top} is imported already, of {known or 'the running program'}"
        bad_value("config", argument, came, f"the one of {wanted}", "Give one of the two another name.")


def _has_signature(function: Any) -> bool:
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return False
    return True


def _source(function: Any) -> str:
    """Return a digest of the module of a function, "" without source; comments and spaces do not change it."""
    try:
        text = inspect.getsource(sys.modules[function.__module__])
    except (OSError, TypeError, KeyError, AttributeError):
        return ""
    return sha256(ast.dump(ast.parse(text)).encode())


def _is_pair(found: Any) -> bool:
    return type(found) is tuple and len(found) == 2


def _namespace(w: Tree) -> Any:
    return namespace(*ad.leaves(w))


def _said(error: BaseException) -> str:
    """Say what was raised, and at which line of the user's file."""
    text = f"{type(error).__name__}: {error}"
    import traceback  # where something went wrong alone

    frames = [x for x in traceback.extract_tb(error.__traceback__) if not x.filename.startswith("<")]
    others = (Path(importlib.__file__).parent, Path(__file__).parents[1])
    own = [x for x in frames if not any(Path(x.filename).is_relative_to(one) for one in others)]
    last = [x for x in own if x.filename == own[0].filename]
    return f"{text}, line {last[-1].lineno} of {Path(last[-1].filename).name}" if last else text


def check_maker(function: Any, where: str) -> Maker:
    """Return the maker of optimizers that a caller gave as `make`; TypeError where it is none."""
    if not callable(function) or not _has_signature(function):
        bad_type(where, "make", f"a {type(function).__name__}", f"a function that returns {_MAKES['optimizer']}")
    return Maker(function, "optimizer", where, "make", f"the function {getattr(function, '__name__', function)}")
