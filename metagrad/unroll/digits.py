"""Digits of trust for free: from what a sweep and the last states of a run tell of their rounding.

    value      |dF| = u (sum_t max(p_t, r_t)**2)**(1/2)        the roundings of all steps, by `growth`
               |dF| = |F(w_T moved by a float) - F(w_T)|       what the measure itself loses at the end
    gradient   |dg|/|g| = u 2**growth C/|g|                    C = sum_t |what step t gives|, where that is known
               |dg|/|g| = max|rounding of grad f| / max|grad f|  at the end, by `trust`, where it is only the end
digits = -log10 of the largest, cut to [0, -log10 u]. First order: of a run that is smooth on the scale of its
roundings. It says nothing of a rule whose own state is chaotic while w is not; runs from neighbouring floats do
(`neighbours`). Only what leaves no digit by far, 10 times over, is a Status. Derived; constants are measured.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.errors import Status
from metagrad.protocols import Digits, Tree
from metagrad.scaled import Scaled, surely_finite
from metagrad.unroll.growth import Grown
from metagrad.xp import Array, float_info, namespace

LOG10_2 = float(np.log10(2.0))
FEW = 1.0  # digits, below which there is a Status
_MARGIN = 1.0  # digits by which a free bound has to be below none


class Known(NamedTuple):
    """What a run knows of its roundings, in log2, (B,), each None where it is not known.

    `grown`: by `growth`; `of_measure`: |dF|, what one rounding of the last w changes; `floor`: |dg|/|g| at the end;
    `cancelled`: C/|g| of the meta-gradient.
    """

    grown: Grown | None
    of_measure: Array | None
    floor: Array | None
    cancelled: Array | None


@lru_cache(maxsize=16)
def most_digits(dtype: Any) -> float:
    """Return the decimal digits of a dtype, -log10 eps."""
    return float(-np.log10(float_info(np.dtype(dtype)).eps))


def free_digits(value: Scaled, known: Known, *, shared: bool, has_gradient: bool) -> tuple[Digits, Array | None]:
    """Return the digits, and the Status codes (B,) of tasks without one by far; None where it is seen that none is.

    `shared`: the meta-gradient is that of the mean over tasks.
    """
    xp, most = namespace(value.mantissa), most_digits(value.dtype)
    usual = _usual_digits(value, known, most, shared=shared, has_gradient=has_gradient) if xp is np else None
    if usual is not None:
        return usual, None
    none = xp.zeros(value.shape)
    of_value = _value_digits(value, known, most)
    of_gradient, chaos = none + most, none
    if known.grown is not None:
        growth = known.grown.rounding
        if shared and (xp is not np or growth.any()):  # nothing has grown, in the usual case
            growth = _weighed(growth, known.grown.size)
        of_gradient, chaos = most - LOG10_2 * growth, LOG10_2 * known.grown.chaos
    if known.cancelled is not None:
        of_gradient = of_gradient - LOG10_2 * xp.maximum(known.cancelled, 0.0)
    if known.floor is not None and not (xp is np and -LOG10_2 * known.floor.max() >= most):  # far from it, usually
        floor = xp.minimum(known.floor, 0.0) if shared else known.floor
        if shared:
            floor = _weighed(floor, none if known.grown is None else known.grown.size)
        of_gradient = xp.minimum(of_gradient, -LOG10_2 * floor)
    lost = of_value < -_MARGIN
    if known.of_measure is not None:
        lost = lost | (_against(value, known.of_measure) < FEW)
    gradient_lost = of_gradient < -_MARGIN if has_gradient else None
    fine = xp is np and not lost.any() and (gradient_lost is None or not gradient_lost.any())
    code = None if fine else status_of(lost, gradient_lost, chaos - most > -1.0, shared=shared)
    cut = [xp.where(xp.isnan(x), 0.0, xp.clip(x, 0.0, most)) for x in (of_value, of_gradient)]
    return Digits(cut[0], xp.broadcast_to(cut[1], value.shape) if has_gradient else None), code


def _usual_digits(value: Scaled, known: Known, most: float, *, shared: bool, has_gradient: bool) -> Digits | None:
    """Return the digits where all are well, as seen by a cheap look on the host; None means nothing.

    Roundings have grown alike in all tasks, if at all, and what the measure loses is known: the formulas of
    `free_digits` with all cases left out that do not occur.
    """
    grown = known.grown
    if grown is None or grown.value is None or known.of_measure is None:
        return None
    growth = float(grown.rounding.max())
    if (shared and grown.rounding.min() != growth) or not (surely_finite(value) and value.mantissa.all()):
        return None
    size = value.log2abs()
    by_measure = LOG10_2 * (size - known.of_measure)
    of_value = np.minimum(np.minimum(most, most + LOG10_2 * (size - grown.value)), by_measure)
    none = np.zeros(value.shape)
    of_gradient = np.float64(most - LOG10_2 * growth) if shared else most - LOG10_2 * grown.rounding
    if known.cancelled is not None:
        of_gradient = of_gradient - LOG10_2 * np.maximum(known.cancelled, 0.0)
    if known.floor is not None and -LOG10_2 * known.floor.max() < most:
        floor = _weighed(np.minimum(known.floor, 0.0), grown.size) if shared else known.floor
        of_gradient = np.minimum(of_gradient, -LOG10_2 * floor)
    if not (of_value.min() >= 0.0 and by_measure.min() >= FEW and of_gradient.min() >= 0.0):
        return None
    return Digits(of_value, none + of_gradient if has_gradient else None)


def cancellation(grad: Tree, spread: Tree, rows: int) -> Array:
    """Return log2 of how far the steps' shares of the meta-gradient cancel, one a task or for all."""
    pairs = [(g, c) for g, c in zip(ad.leaves(grad), ad.leaves(spread), strict=True) if c is not None]
    both = log2_length([_one_above_the_other(*pair, rows) for pair in pairs])
    xp = namespace(both)
    size, of_parts = both[:rows], both[rows:]
    return xp.where(of_parts == -np.inf, 0.0, of_parts - size)


def _one_above_the_other(a: Scaled, b: Scaled, rows: int) -> Scaled:
    """Return both numbers as rows of one array: what is asked of both is asked once."""
    xp = namespace(a.mantissa)
    parts = (a.mantissa, b.mantissa), (a.exponent, b.exponent)
    return Scaled(*(xp.concatenate([x.reshape((rows, -1)) for x in pair]) for pair in parts))


def log2_length(numbers: list[Scaled]) -> Array:
    """Return log2 of the lengths of rows (B, n), which lie side by side."""
    xp = namespace(numbers[0].mantissa)
    whole = numbers[0]
    if len(numbers) > 1:
        pairs = [(n.mantissa, n.exponent) for n in numbers]
        whole = Scaled(*(xp.concatenate(parts, axis=1) for parts in zip(*pairs, strict=True)))
    logs = whole.log2abs()
    if logs.shape[1] == 1:
        return xp.where(logs[:, 0] == np.inf, np.nan, logs[:, 0])
    top = xp.maximum(logs.max(axis=1, keepdims=True), -1e300)
    with np.errstate(all="ignore"):
        return top[:, 0] + 0.5 * xp.log2(xp.exp2(2 * (logs - top)).sum(axis=1))


def status_of(value: Array, gradient: Array | None, chaotic: Array, *, shared: bool) -> Array:
    """Return the Status codes (B,) of lost values and gradients, both bools: of chaos or else of rounding.

    A gradient of the mean over tasks is lost to chaos if one of them is chaotic.
    """
    xp = namespace(value)
    code = xp.where(value, Status.VALUE_ROUNDING.code, 0)
    code = xp.where(value & chaotic, Status.CHAOTIC.code, code)
    if gradient is None:
        return code
    kind = chaotic.any() if shared else chaotic
    return xp.where(gradient, xp.where(kind, Status.CHAOTIC.code, Status.GRADIENT_ROUNDING.code), code)


def _against(value: Scaled, moved: Array) -> Array:
    """Return the digits of a value that is moved by so much, in log2; a value of exactly 0 is a matter of the range."""
    xp = namespace(moved)
    return xp.where(xp.isneginf(moved) | (value.mantissa == 0), np.inf, LOG10_2 * (value.log2abs() - moved))


def _value_digits(value: Scaled, known: Known, most: float) -> Array:
    xp = namespace(value.mantissa)
    found = xp.where(xp.isfinite(value.mantissa), most, np.nan)
    if known.grown is not None and known.grown.value is not None:
        found = xp.minimum(found, most + _against(value, known.grown.value))
    if known.of_measure is not None:
        found = xp.minimum(found, _against(value, known.of_measure))
    return found


def _weighed(numbers: Array, size: Array) -> Array:
    """Return the root of the mean square over tasks, each weighed by its size: all in log2, a number."""
    xp = namespace(size)
    size = xp.where(xp.isfinite(size), size, -1e9)
    weights = xp.exp2(2 * (size - size.max()))
    most = xp.maximum(numbers.max(), -1e9)
    return most + 0.5 * xp.log2((weights * xp.exp2(2 * (numbers - most))).sum() / weights.sum())
