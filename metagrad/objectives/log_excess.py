"""The logarithm of what a loss is above its floor: the log objective where the loss cannot reach zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from metagrad.checks import shown
from metagrad.errors import bad_type, bad_value
from metagrad.measures import EXCESS, AboveFloor, MeasureName, as_measure
from metagrad.protocols import Measure
from metagrad.scaled import Scaled
from metagrad.transforms import Shared, at_the_end, log_and_slope, unchanged
from metagrad.xp import Array, is_array, namespace


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
    measure: MeasureName | Measure = "train"
    only_last = True
    logarithmic = True

    def __post_init__(self) -> None:
        """Check the floor, and find the measure: the excess where no floor is given."""
        given = self.measure.base if isinstance(self.measure, AboveFloor) else as_measure("LogExcess", self.measure)
        if self.floor is None and given not in (_TRAIN, EXCESS):
            remedy = f"Give the floor of {given.name!r} as a number."
            bad_value("LogExcess", "measure", f"{given.name!r} without a floor", "'train'", remedy)
        measured = EXCESS if self.floor is None else AboveFloor(given, _checked(self.floor))
        object.__setattr__(self, "measure", measured)

    def weight(self, t: int, steps: int) -> Scaled | None:
        """Return 1 at the last iterate."""
        return at_the_end(steps).at(t)

    def shared_weight(self, steps: int) -> Shared:
        """Return that weight, and its times."""
        return at_the_end(steps)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the term itself: the logarithm is taken at the end."""
        return unchanged(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return log(f(w_T) - floor)/T and 1/(T (f(w_T) - floor))."""
        return log_and_slope(total, 1.0 / steps)


_TRAIN = as_measure("LogExcess", "train")


def _checked(floor: Any) -> Any:
    if not (isinstance(floor, float) or (is_array(floor) and floor.dtype.kind == "f")):
        bad_type("LogExcess", "floor", shown(floor), "a float, a float array (B,), or None")
    if not isinstance(floor, float) and floor.ndim > 1:
        bad_value("LogExcess", "floor", shown(floor), "a float, a float array (B,), or None")
    finite = math.isfinite(floor) if isinstance(floor, float) else bool(namespace(floor).isfinite(floor).all())
    if not finite:
        bad_value("LogExcess", "floor", floor, "finite numbers")
    return floor
