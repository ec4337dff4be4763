"""A task from nothing but its loss, with meta-parameters of its own where it has some."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from metagrad.ad import leaves, paths, tree_map
from metagrad.checks import FLOAT_DTYPE, FLOATS
from metagrad.errors import bad_type, bad_value
from metagrad.guard import called, frozen
from metagrad.protocols import Tree
from metagrad.reads import of_another_dtype
from metagrad.xp import Array, is_array

_WHERE = "FunctionTask"


@dataclass(frozen=True)
class FunctionTask:
    """The tasks whose losses (B,) `function` returns, in ordinary NumPy-style code; all derivatives come from the tape.

    `function(w)`, and by keyword what it takes of: `sample=`, where a `sampler` is given; `theta=`, where the task has
    meta-parameters. `validation` is a function of the same form: what `Final("validation")` looks at.
    `w0`: where every task starts, a tree of float arrays (B, ...), or a function of theta that returns one.
    `sampler(rng, t)` draws all the randomness of step t from the generator it is given, and from nothing else.
    `degree`: the p with f(s w) = s**p f(w), where there is one: it lets the engine rescale the state exactly.
    `theta`: the values of the task's meta-parameters where a call gives none, a tree of floats and float arrays: decay,
    weights of losses or samples, strength of an augmentation, data that are learned. A call tunes them with
    `Joint(rule=..., task=theta)`. TypeError and ValueError for losses that are not one number a task.

    >>> def loss(w, theta):
    ...     return np.sum((w - 1.0) ** 2, axis=-1) + np.exp(theta) * np.sum(w * w, axis=-1)
    >>> task = FunctionTask(loss, w0=np.zeros((2, 3)), theta=np.array(-2.0))
    >>> task.loss(task.init(None), None), task.given(np.array(0.0)).loss(np.ones((2, 3)), None)
    (array([3., 3.]), array([3., 3.]))
    """

    function: Callable[..., Array]
    w0: Tree | Callable[[Tree], Tree]
    sampler: Callable[[np.random.Generator, int], Any] | None = None
    degree: int | None = None
    validation: Callable[..., Array] | None = None
    theta: Tree = None

    fixed_start = True

    def __post_init__(self) -> None:
        """Check the functions, the start and what the loss returns there."""
        for name, function in (("function", self.function), ("validation", self.validation)):
            if isinstance(function, type):
                bad_type(_WHERE, name, f"the class {function.__name__}", "a function of w")
            if not callable(function) and not (name == "validation" and function is None):
                bad_type(_WHERE, name, f"a {type(function).__name__}", "a function of w")
        if isinstance(self.w0, type):
            bad_type(_WHERE, "w0", f"the class {self.w0.__name__}", "a tree of float arrays, or a function of theta")
        if self.sampler is not None and (isinstance(self.sampler, type) or not callable(self.sampler)):
            bad_type(_WHERE, "sampler", f"a {type(self.sampler).__name__}", "a function of a generator and t, or None")
        whole = (
            hasattr(self.degree, "__index__") and not isinstance(self.degree, bool | type) and not is_array(self.degree)
        )
        if self.degree is not None and not whole:
            bad_type(_WHERE, "degree", f"{self.degree!r}, of type {type(self.degree).__name__}", "an integer, or None")
        self._check_keywords()
        if self.theta is not None:
            _check_floats("theta", self.theta)
        w = frozen(self.init(None))
        batch = _check_start(w)
        if self.sampler is None:
            for name, loss in (("function", self.loss), ("validation", self.validation_loss)):
                if loss is not None:
                    losses = called(self, name, loss, w, None)
                    _check_losses(name, losses, batch)
                    self._check_dtype(name, losses.dtype, w)

    def init(self, rng: np.random.Generator | None) -> Tree:
        """Return w0."""
        return self.w0(self.theta) if callable(self.w0) else self.w0

    @property
    def full_batch(self) -> bool:
        """Whether there is no randomness."""
        return self.sampler is None

    def sample(self, rng: np.random.Generator, t: int) -> Any:
        """Return the randomness of step t."""
        return None if self.sampler is None else self.sampler(rng, t)

    def loss(self, w: Tree, sample: Any) -> Array:
        """Return the losses, shape (B,)."""
        return self.function(w, **self._keywords(self.function, sample))

    @property
    def validation_loss(self) -> Callable[..., Array] | None:
        """The function (w, sample) -> losses on held-out data, shape (B,); None without `validation`."""
        function = self.validation
        if function is None:
            return None
        return lambda w, sample=None: function(w, **self._keywords(function, sample))

    @property
    def given(self) -> Callable[[Tree], FunctionTask] | None:
        """The function theta -> the task with these meta-parameters; None where it has none."""
        return None if self.theta is None else self._given

    def _given(self, theta: Tree) -> FunctionTask:
        task = copy.copy(self)  # not a new construction: theta may be traced
        object.__setattr__(task, "theta", theta)
        return task

    def check_given(self, theta: Tree, where: str) -> Tree:
        """Return theta; raise unless it is a tree like that of the task, of floats."""
        came, expected = paths(theta), paths(self.theta)
        if came != expected:
            remedy = "Give theta as the task has it."
            bad_type(where, "phi.task", _tree_of(came), f"a tree like theta, {_tree_of(expected)}", remedy)
        _check_floats("phi.task", theta, where)
        return theta

    def _check_dtype(self, name: str, came: Any, w: Tree) -> None:
        """Raise where losses are not of the dtype of w; say that theta is at fault where another one would do."""
        dtype = leaves(w)[0].dtype
        if came == dtype:
            return
        found, expected = f"one that returns {came} for w0 of {dtype}", "losses in the dtype of w0"
        if others := _of_other_dtypes(self.theta, dtype):
            converted = self._given(tree_map(lambda x: _converted(x, dtype), self.theta))
            loss = (converted.validation_loss if name == "validation" else None) or converted.loss
            if called(self, name, loss, w, None).dtype == dtype:
                remedy = f"Write such numbers as np.{dtype}(...), an array by x.astype(np.{dtype})."
                bad_type(_WHERE, name, f"{found}, where {', '.join(others[:4])}", expected, remedy)
        found += of_another_dtype(getattr(self, name), dtype)
        bad_type(_WHERE, name, found, expected, "Convert the data, by x.astype(w0.dtype), or w0.")

    def _keywords(self, function: Callable[..., Array], sample: Any) -> dict[str, Any]:
        takes = _keywords_of(function)
        found = {"theta": self.theta} if self.theta is not None and "theta" in takes else {}
        return found | {"sample": sample} if self.sampler is not None and "sample" in takes else found

    def _check_keywords(self) -> None:
        if self.sampler is not None and "sample" not in _keywords_of(self.function):
            remedy = "Write loss(w, sample)."
            bad_type(_WHERE, "function", "one that takes no `sample`", "one that does, as there is a sampler", remedy)
        functions = [f for f in (self.function, self.validation) if f is not None]
        needed = frozenset[str]().union(*map(_needed_by, functions))
        if self.sampler is None and "sample" in needed:
            bad_type(_WHERE, "sampler", "None, while a function needs `sample`", "what draws it", "Give sampler=.")
        if self.theta is None and "theta" in needed:
            bad_type(_WHERE, "theta", "None, while a function needs it", "where it starts", "Give theta=.")
        if self.theta is None:
            return
        if not callable(self.w0) and not any("theta" in _keywords_of(f) for f in functions):
            remedy = "Write loss(w, theta), or w0 as a function of theta."
            bad_type(_WHERE, "theta", "one that no function takes", "a loss or a start that depends on it", remedy)


def _needed_by(function: Callable[..., Any]) -> frozenset[str]:
    """Return which of sample and theta a function cannot be called without; its first argument is w, however named."""
    try:
        _, *rest = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # no signature, or no argument
        return frozenset()
    return frozenset(p.name for p in rest if p.default is p.empty) & {"sample", "theta"}


def _keywords_of(function: Callable[..., Any]) -> frozenset[str]:
    """Return which of sample and theta a function takes by keyword; asked at every step, and looked up once."""
    try:
        return _KNOWN[function]
    except (KeyError, TypeError):  # not yet, or one that cannot be a key
        found = _read_keywords(function)
    with suppress(TypeError):
        _KNOWN[function] = found
    return found


_KNOWN: WeakKeyDictionary[Callable[..., Any], frozenset[str]] = WeakKeyDictionary()


def _read_keywords(function: Callable[..., Any]) -> frozenset[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return frozenset()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return frozenset(("sample", "theta"))
    return frozenset(p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY) & {"sample", "theta"}


def _check_start(w: Tree) -> int:
    """Return the number of tasks; raise unless w is a tree of float arrays that lead with it."""
    found = list(zip(paths(w), leaves(w), strict=True))
    for path, leaf in found:
        name = f"w0{path}"
        if not is_array(leaf) or leaf.dtype.name not in FLOATS:
            came = f"an array of {leaf.dtype}" if is_array(leaf) else f"a {type(leaf).__name__}"
            remedy = f"Use np.asarray(x, float): the engine takes {FLOAT_DTYPE}."
            bad_type(_WHERE, name, came, "a float array (B, ...) with the task axis first", remedy)
        if leaf.ndim < 1 or (len(found) == 1 and leaf.ndim < 2):
            bad_type(_WHERE, name, f"of shape {leaf.shape}", "shape (B, ...), the task axis first", "Use w0[None].")
        if leaf.size == 0:
            bad_value(_WHERE, name, f"of shape {leaf.shape}", "at least one task and one parameter")
    if not found:
        bad_type(_WHERE, "w0", "a tree without arrays", "float arrays (B, ...)")
    batches, dtypes = {leaf.shape[0] for _, leaf in found}, {str(leaf.dtype) for _, leaf in found}
    if len(batches) > 1:
        bad_value(_WHERE, "w0", f"of {sorted(batches)} tasks in its arrays", "one task axis B for all")
    if len(dtypes) > 1:
        bad_type(_WHERE, "w0", f"of {', '.join(sorted(dtypes))}", "one dtype", "Convert its arrays.")
    return int(next(iter(batches)))


def _check_losses(name: str, loss: Any, batch: int) -> None:
    if getattr(loss, "shape", None) != (batch,):
        found = f"shape {loss.shape}" if hasattr(loss, "shape") else f"a {type(loss).__name__}"
        came = f"one that returns {found} at w0 of {batch} tasks"
        remedy = "Sum over the last axes only (axis=-1), and keep the task axis."
        bad_value(_WHERE, name, came, f"one loss a task, shape ({batch},)", remedy)


def _of_other_dtypes(theta: Tree, dtype: Any) -> list[str]:
    """Return what of theta is not of a dtype, by name: "theta['decay'] is float64"."""
    kinds = [str(getattr(x, "dtype", "a Python float")) for x in leaves(theta)]
    return [f"theta{path} is {kind}" for path, kind in zip(paths(theta), kinds, strict=True) if kind != str(dtype)]


def _converted(x: Any, dtype: Any) -> Any:
    return x.astype(dtype) if hasattr(x, "astype") else dtype.type(x)


def _check_floats(name: str, tree: Tree, where: str = _WHERE) -> None:
    for path, leaf in zip(paths(tree), leaves(tree), strict=True):
        if not isinstance(leaf, float) and getattr(getattr(leaf, "dtype", None), "kind", "") != "f":
            came = f"an array of {leaf.dtype}" if hasattr(leaf, "dtype") else f"{leaf!r}, of type {type(leaf).__name__}"
            remedy = "Write 1.0 for 1; what is not tuned belongs into the function."
            bad_type(where, f"{name}{path}", came, f"a float or an array of {FLOAT_DTYPE}", remedy)
    if not leaves(tree):
        bad_type(where, name, "a tree without numbers", "floats and float arrays")


def _tree_of(found: list[str]) -> str:
    return f"a tree with {', '.join(path or 'one number or array' for path in found) or 'nothing'}"
