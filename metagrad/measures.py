"""What a meta-objective looks at: measures of the optimizee, each with its derivative and its degree.

    name            of(task, w, sample)                      offered by
    "loss"          the loss on the sample of the step       every task
    "squared_norm"  ||w||^2 of all parameters                every task
    "train"         the loss on all training samples         `train_loss(w)`
    "excess"        that above the least train loss          `excess(w)`
    "validation"    the loss on held-out samples             `validation_loss(w)`
    "risk"          the loss on the population               `risk(w)`

A measure of one's own is a function of w, or any object with `name`, `of`, `gradient` and `degree` (see
`metagrad.protocols.Measure`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metagrad import ad, parts
from metagrad.checks import shown
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.guard import called
from metagrad.protocols import Measure, Task, Tree
from metagrad.xp import Array, float_info

MeasureName = Literal["loss", "squared_norm", "train", "excess", "validation", "risk"]


@dataclass(frozen=True)
class Loss:
    """f(w) on the sample of the step."""

    name: str = "loss"

    def of(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return the loss, shape (B,)."""
        return parts.loss(task, w, sample)

    def gradient(self, task: Task, w: Tree, sample: Any) -> Tree | None:
        """Return the task's own gradient, or None where the tape has to find it."""
        return parts.known_gradient(task, w, sample)

    def degree(self, task: Task) -> int | None:
        """Return the degree of the loss."""
        return parts.degree(task)


@dataclass(frozen=True)
class SquaredNorm:
    """||w||^2, over all arrays of w."""

    name: str = "squared_norm"

    def of(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return the squared norm, shape (B,)."""
        squares = [np.sum(x * x, axis=tuple(range(1, x.ndim))) for x in ad.leaves(w)]
        return sum(squares[1:], squares[0])

    def gradient(self, task: Task, w: Tree, sample: Any) -> Tree | None:
        """Return 2 w."""
        return ad.tree_map(lambda x: 2 * x, w)

    def degree(self, task: Task) -> int | None:
        """Return 2."""
        return 2


@dataclass(frozen=True)
class Offered:
    """What a task measures by a method of its own, `method(w)`; `as_loss` if it has the degree of the loss."""

    name: str
    method: str
    as_loss: bool = False

    def of(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return what the method returns, shape (B,); ValueError where the task has no such method, or no data."""
        if not parts.has_measure(task, self.method):
            came, remedy = (
                f"{self.name!r} on a {type(task).__name__}",
                _OFFERED,
            )
            bad_value("measure_of", "measure", came, f"a task with a method {self.method}(w)", remedy)
        return parts.own_measure(task, self.method, w, sample)

    def gradient(self, task: Task, w: Tree, sample: Any) -> Tree | None:
        """Return None: the tape finds it."""
        return None

    def degree(self, task: Task) -> int | None:
        """Return the degree of the loss where the measure has it.

        The train loss and its excess have it: they are its average over samples, and its floor is zero where it is
        homogeneous.
        """
        return parts.degree(task) if self.as_loss else None


@dataclass(frozen=True)
class OfParameters:
    """What a function of w alone returns, shape (B,)."""

    function: Callable[[Tree], Array]

    @property
    def name(self) -> str:
        """The name of the function."""
        return f"the function {self.function.__name__}"

    def of(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return what the function returns at w."""
        return called(self.function, "", self.function, w)

    def gradient(self, task: Task, w: Tree, sample: Any) -> Tree | None:
        """Return None: the tape finds it."""
        return None

    def degree(self, task: Task) -> int | None:
        """Return None: a function does not say."""
        return None


@dataclass(frozen=True)
class AboveFloor:
    """base - floor, and zero where no digit of the difference is more than rounding.

    `floor`: a float, or an array (B,) in the dtype of the task. The relative error of the difference is eps
    base/(base - floor); one within 16 eps of the larger of the two counts as zero.
    """

    base: Measure
    floor: float | Array

    @property
    def name(self) -> str:
        """The name of the base: the derivative is the same."""
        return self.base.name

    def of(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return the difference, shape (B,)."""
        value = self.base.of(task, w, sample)
        floor = self._floor_for(value)
        rounding = 16 * float_info(value.dtype).eps * np.maximum(np.absolute(value), np.absolute(floor))
        excess = value - floor
        return np.where(np.absolute(excess) <= rounding, 0 * excess, excess)

    def gradient(self, task: Task, w: Tree, sample: Any) -> Tree | None:
        """Return the derivative of the base."""
        return self.base.gradient(task, w, sample)

    def degree(self, task: Task) -> int | None:
        """Return None: a constant floor is not homogeneous in w."""
        return None

    def _floor_for(self, value: Array) -> Any:
        floor = self.floor
        if isinstance(floor, float):
            return floor
        if floor.shape not in ((), value.shape):
            bad_value("LogExcess", "floor", f"of shape {floor.shape}", f"one number a task, shape {value.shape}")
        if floor.dtype != value.dtype:
            came = f"of {floor.dtype} while the task is {value.dtype}"
            bad_type("LogExcess", "floor", came, "the dtype of the task", "Convert it, or pass a Python float.")
        return floor


_OFFERED = "FunctionTask takes `validation=`; LeastSquares has all of them."
LOSS = Loss()
EXCESS = Offered("excess", "excess", as_loss=True)
_KNOWN: dict[str, Measure] = {
    "loss": LOSS,
    "squared_norm": SquaredNorm(),
    "train": Offered("train", "train_loss", as_loss=True),
    "excess": EXCESS,
    "validation": Offered("validation", "validation_loss"),
    "risk": Offered("risk", "risk"),
}
_OURS = frozenset(map(type, _KNOWN.values()))  # known to be measures: asking a Protocol takes 10 us


def is_of_ours(measure: Measure) -> bool:
    """Whether a measure is one of the known ones, which look at nothing but the loss, the data and w."""
    return type(measure) in _OURS


def as_measure(where: str, measure: Any) -> Measure:
    """Return the measure of a name, of a function of w, or the measure itself.

    ValueError for an unknown name, TypeError for another kind.
    """
    if isinstance(measure, str):
        if measure not in _KNOWN:
            bad_value(where, "measure", repr(measure), "a known measure", nearest(measure, list(_KNOWN)))
        return _KNOWN[measure]
    if inspect.isfunction(measure):
        return OfParameters(measure)
    if type(measure) not in _OURS and (isinstance(measure, type) or not isinstance(measure, Measure)):
        expected = "a name, a function of w, or an object with `name`, `of`, `gradient` and `degree`"
        bad_type(where, "measure", shown(measure), expected, nearest("", list(_KNOWN)))
    found: Measure = measure
    return found
