"""Half precision: what is given in float16 is carried in float32, as mixed-precision training does.

T steps of 11 digits each leave none from T = 200 or so: w, the state of the rule and the adjoint drift by T u, and g^2,
which many rules keep, falls below float16's range where g does not. So the numbers that the float16 arrays hold are
taken exactly into float32, the run is taken there, and what it finds is rounded to float16 once. With
scaling="none" nothing is widened: that is plain float16, to see what it loses.
Source of the practice: Micikevicius et al. 2018 (Mixed precision training), section 3.1, a master copy of the weights.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, cast

import numpy as np

from metagrad import ad
from metagrad.protocols import Digits, Estimate
from metagrad.scaled import Scaled
from metagrad.unroll.carry import Ask
from metagrad.unroll.digits import most_digits
from metagrad.xp import is_array

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)


def is_half(ask: Ask, dtype: Any) -> bool:
    """Whether the task is one of float16; `dtype` that of w, which a run that goes on carries in float32."""
    return bool(dtype == HALF or (ask.at is not None and dtype == SINGLE and _holds_half(ask.task)))


def widened(ask: Ask) -> Ask:
    """Return what is asked with every float16 array of its parts in float32; functions keep what they close over."""
    parts = {name: wide(getattr(ask, name)) for name in ("task", "rule", "objective", "at")}
    return dataclasses.replace(ask, **parts, phi=ad.tree_map(_rounded, ask.phi))


def _rounded(leaf: Any) -> Any:
    """Return one of phi's leaves; a Python float takes the dtype of the task, and is widened then."""
    return np.asarray(leaf, dtype=HALF).astype(SINGLE) if isinstance(leaf, float) else wide(leaf)


def narrowed(estimate: Estimate) -> Estimate:
    """Return the estimate with its digits in float16; where it ended stays as the run carries it."""
    grad = estimate.grad
    if grad is not None:
        grad = ad.tree_map(lambda leaf: None if leaf is None else _narrow(leaf), grad)
    digits = estimate.digits
    if digits is not None:
        most, of_gradient = most_digits(HALF), digits.gradient
        of_gradient = None if of_gradient is None else np.minimum(of_gradient, most)
        digits = Digits(np.minimum(digits.value, most), of_gradient)
    return dataclasses.replace(estimate, value=_narrow(estimate.value), grad=grad, digits=digits)


def _holds_half(part: Any) -> bool:
    if is_array(part):
        return bool(part.dtype == HALF)
    if isinstance(part, tuple | list):
        return any(map(_holds_half, part))
    if isinstance(part, dict):
        return any(map(_holds_half, part.values()))
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return any(_holds_half(getattr(part, field.name)) for field in dataclasses.fields(part))
    return False


def wide(part: Any) -> Any:
    """Return a part, or a tree, with every float16 array in float32."""
    if is_array(part) or isinstance(part, np.generic):
        return part.astype(SINGLE) if part.dtype == HALF else part
    if isinstance(part, tuple | list):
        items = [wide(item) for item in part]
        return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
    if isinstance(part, dict):
        return {key: wide(item) for key, item in part.items()}
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        moved: Any = copy.copy(cast(Any, part))  # what was validated once is not validated again
        for field in dataclasses.fields(part):
            object.__setattr__(moved, field.name, wide(getattr(part, field.name)))
        return moved
    return part


def _narrow(x: Scaled) -> Scaled:
    return Scaled.of(x.mantissa.astype(HALF), x.exponent)
