"""What a meta-objective measures of the optimizee, and how it transforms it: the parts objectives are made of."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from metagrad.errors import bad_value, nearest
from metagrad.protocols import Task, Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array, namespace

Measure = Literal["loss", "squared_norm"]
_MEASURES = ["loss", "squared_norm"]


def check_measure(where: str, measure: str) -> None:
    """Raise ValueError unless `measure` is one of the known ones."""
    if measure not in _MEASURES:
        bad_value(where, "measure", repr(measure), "a known measure", nearest(str(measure), _MEASURES))


def measure_of(measure: Measure, task: Task, w: Tree, sample: Any) -> Array:
    """Return the loss, or ||w||^2 of the flat parameters w (B, d): shape (B,)."""
    return task.loss(w, sample) if measure == "loss" else np.sum(w * w, axis=-1)


def measure_gradient(measure: Measure, task: Task, w: Tree, sample: Any) -> Array | None:
    """Return the derivative of the measure in w (B, d) where it is known without the tape, else None."""
    own = getattr(task, "gradient", None)
    if measure == "loss":
        return None if own is None else own(w, sample)
    return 2 * w


def degree_of(measure: Measure, task: Task) -> int | None:
    """Return the degree of homogeneity of the measure in w, if there is one."""
    return getattr(task, "degree", None) if measure == "loss" else 2


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
    result, base = UNIT_WEIGHT, Scaled.of(np.asarray(float(rho)))
    while t:
        if t & 1:
            result = result * base
        base, t = base * base, t >> 1
    return result
