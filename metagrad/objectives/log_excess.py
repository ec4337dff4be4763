"""The logarithm of what a loss is above its floor: the log objective where the loss cannot reach zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad.errors import bad_type, bad_value
from metagrad.measures import (
    UNIT_WEIGHT,
    Measure,
    check_measure,
    degree_of,
    log_and_slope,
    measure_gradient,
    measure_of,
    one_like,
)
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array, float_info, is_array, namespace


@dataclass(frozen=True)
class LogExcess:
    """E = (1/T) log(f(w_T) - floor): bounded meta-gradients where log f has vanishing ones, for want of a zero.

    `floor` None: the least train loss of a task that has the method `excess`, such as `LeastSquares`. The excess is
    then computed as ||X(w - w_ls)||^2/(2n), with no cancellation: right until w rounds at w_ls (from where on it
    has Status.GRADIENT_ROUNDING), and at any horizon on `task.centred()`. `floor` a number, or an array (B,) in the
    dtype of the task: of what `measure` names ("train", "validation", "risk", "loss"). The relative error of f -
    floor is then eps f/(f - floor), and an error of the floor itself comes on top; an excess within 16 eps of f has
    no digits and counts as zero (Status.LOG_OF_ZERO), one below that is Status.LOG_OF_NEGATIVE. Derived: with a
    floor T_inf > 0 |(log f)'|/T <= S mu^(2T-1)/T_inf, while the excess of gradient descent is that of a quadratic.

    >>> import metagrad as mg
    >>> task, rule = mg.random_least_squares(1, 8, 2, sigma=1.0), mg.GradientDescent()
    >>> slopes = [mg.meta_gradient(task, rule, o, 0.4, steps=50).grad.eta for o in (mg.LogFinal(), LogExcess())]
    >>> print(*[f"{s.to_float():.1g}" for s in slopes])
    -4e-07 -0.8
    """

    floor: float | Array | None = None
    measure: Measure = "train"
    only_last = True
    logarithmic = True

    def __post_init__(self) -> None:
        """Check the floor, and the name of the measure."""
        check_measure("LogExcess", self.measure)
        if self.floor is None:
            if self.measure != "train":
                remedy = f"Give the floor of {self.measure!r} as a number."
                bad_value("LogExcess", "measure", f"{self.measure!r} without a floor", "'train'", remedy)
            return
        if not (isinstance(self.floor, float) or (is_array(self.floor) and self.floor.dtype.kind == "f")):
            bad_type("LogExcess", "floor", repr(self.floor), "a float, a float array (B,), or None")
        finite = math.isfinite(self.floor) if isinstance(self.floor, float) else _all_finite(self.floor)
        if not finite:
            bad_value("LogExcess", "floor", self.floor, "finite numbers")

    @property
    def measured(self) -> Measure:
        """What is measured: the excess where no floor is given."""
        return "excess" if self.floor is None else self.measure

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1 at the last iterate."""
        return UNIT_WEIGHT if t == steps else None

    def term(self, task: Task, w: Tree, sample: Any) -> Array:
        """Return the excess at w."""
        value = measure_of(self.measured, task, w, sample)
        return value if self.floor is None else _resolved(value, self._floor_for(value))

    def term_gradient(self, task: Task, w: Tree, sample: Any) -> Array | None:
        """Return the derivative of the term in w where it is known, else None."""
        return measure_gradient(self.measured, task, w, sample)

    def degree(self, task: Task) -> int | None:
        """Return the degree of homogeneity of the excess; None with a given floor."""
        return degree_of("excess", task) if self.floor is None else None

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the term itself: the logarithm is taken at the end."""
        return term, one_like(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return log(f(w_T) - floor)/T and 1/(T (f(w_T) - floor))."""
        return log_and_slope(total, 1.0 / steps)

    def _floor_for(self, value: Array) -> Any:
        floor = self.floor
        if floor is None or isinstance(floor, float):
            return floor
        if floor.shape not in ((), value.shape):
            bad_value("LogExcess", "floor", f"of shape {floor.shape}", f"one number a task, shape {value.shape}")
        if floor.dtype != value.dtype:
            came = f"of {floor.dtype} while the task is {value.dtype}"
            bad_type("LogExcess", "floor", came, "the dtype of the task", "Convert it, or pass a Python float.")
        return floor


def _resolved(value: Array, floor: Any) -> Array:
    """Return value - floor, or zero where no digit of the difference is more than rounding."""
    rounding = 16 * float_info(value.dtype).eps * np.maximum(np.absolute(value), np.absolute(floor))
    excess = value - floor
    return np.where(np.absolute(excess) <= rounding, 0 * excess, excess)


def _all_finite(x: Array) -> bool:
    return bool(namespace(x).isfinite(x).all())
