"""What a meta-objective measures of the optimizee, and how it transforms it: the parts objectives are made of."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value, nearest
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array, namespace

Measure = Literal["loss", "squared_norm", "train", "excess", "validation", "risk"]
# what a task measures by methods of its own, beside its loss
_OWN = {"train": "train_loss", "excess": "excess", "validation": "validation_loss", "risk": "risk"}
_MEASURES = ["loss", "squared_norm", *_OWN]


def check_measure(where: str, measure: str) -> None:
    """Raise ValueError unless `measure` is one of the known ones."""
    if measure not in _MEASURES:
        bad_value(where, "measure", repr(measure), "a known measure", nearest(str(measure), _MEASURES))


def measure_of(measure: Measure, task: Task, w: Tree, sample: Any) -> Array:
    """Return what `measure` names, shape (B,): ValueError where the task has no method for it.

    "loss": the loss on the sample of the step; "squared_norm": ||w||^2 of all parameters; and what the task
    offers by methods of its own: "train" `train_loss(w)` on all training samples, "excess" `excess(w)` above the least
    train loss, "validation" `validation_loss(w)`, "risk" `risk(w)` on the population.
    """
    if measure == "loss":
        return task.loss(w, sample)
    if measure == "squared_norm":
        return _squared_norm(w)
    own = getattr(task, _OWN[measure], None)
    if own is None:
        came, remedy = f"{measure!r} on a {type(task).__name__}", "LeastSquares has all of them."
        bad_value("measure_of", "measure", came, f"a task with a method {_OWN[measure]}(w)", remedy)
    return own(w)


def _squared_norm(w: Tree) -> Array:
    squares = [np.sum(x * x, axis=tuple(range(1, x.ndim))) for x in ad.leaves(w)]
    return sum(squares[1:], squares[0])


def measure_gradient(measure: Measure, task: Task, w: Tree, sample: Any) -> Tree | None:
    """Return the derivative of the measure in w where it is known without the tape, else None."""
    own = getattr(task, "gradient", None)
    if measure == "loss":
        return None if own is None else own(w, sample)
    return ad.tree_map(lambda x: 2 * x, w) if measure == "squared_norm" else None


def degree_of(measure: Measure, task: Task) -> int | None:
    """Return the degree of homogeneity of the measure in w, if there is one.

    The train loss and its excess have the degree of the loss: they are its average over samples, and its floor is
    zero where it is homogeneous.
    """
    if measure == "squared_norm":
        return 2
    return None if measure in ("validation", "risk") else getattr(task, "degree", None)


def one_like(x: Scaled) -> Scaled:
    """Return the number 1, in the shape and dtype of `x`."""
    xp = namespace(x.mantissa)
    return Scaled(xp.full(x.shape, 0.5, dtype=x.dtype), xp.ones(x.shape, dtype=np.int64))


def log_and_slope(x: Scaled, scale: float = 1.0) -> tuple[Scaled, Scaled]:
    """Return scale * log(x) and its derivative scale / x; -inf and inf at zero, NaN below."""
    xp = namespace(x.mantissa)
    factor = xp.asarray(scale, dtype=x.dtype)
    # The logarithm is taken in float64 (the exponents of a long unroll do not fit float16), then stored as x is.
    value = Scaled.of((scale * x.log()).astype(x.dtype))
    safe = Scaled(xp.where(x.mantissa == 0, xp.asarray(0.5, dtype=x.dtype), x.mantissa), x.exponent)
    slope = Scaled.of(factor / safe.mantissa, -safe.exponent)
    undefined = xp.where(x.mantissa == 0, xp.asarray(xp.inf, dtype=x.dtype), slope.mantissa)
    return value, Scaled(xp.where(x.mantissa < 0, xp.asarray(xp.nan, dtype=x.dtype), undefined), slope.exponent)


UNIT_WEIGHT = Scaled(np.asarray(0.5), np.asarray(1, dtype=np.int64))


def power_weight(rho: float, t: int) -> Scaled:
    """Return rho**t for rho > 0, of any size, by repeated squaring of the mantissa."""
    if rho == 1:
        return UNIT_WEIGHT
    result, base = UNIT_WEIGHT, Scaled.of(np.asarray(float(rho)))
    while t:
        if t & 1:
            result = result * base
        base, t = base * base, t >> 1
    return result
