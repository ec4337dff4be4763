"""The outer step: a meta-gradient as floats, clipped where the recipe says so, and never turned into a number."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.training.recipe import Recipe
from metagrad.xp import Array, to_host


class Clipped(NamedTuple):
    """A meta-gradient as floats, the log2 of its norm before clipping, and whether it was clipped, and is finite."""

    gradient: Tree
    log2_norm: float
    clipped: bool
    finite: bool


def clip(gradient: Tree, recipe: Recipe) -> Clipped:
    """Return the meta-gradient (a tree of `Scaled`) as floats, within the limits of the recipe.

    A gradient too large for floats still has a direction and a norm: with a limit it is clipped as any other; without
    one it is not finite. `finite` is False, and the gradient of no use, where an entry is inf or NaN.
    """
    numbers = ad.leaves(gradient)
    log2_norm, finite = _log2_norm(numbers), all(_is_finite(x) for x in numbers)
    limit = math.inf if recipe.clip_norm is None else math.log2(recipe.clip_norm)
    excess = max(0.0, log2_norm - limit) if finite else 0.0
    floats = [_times_power(x, -excess) for x in numbers]
    clipped = excess > 0
    if recipe.clip_value is not None and finite:
        clipped |= any(bool((np.abs(x) > recipe.clip_value).any()) for x in floats)
        floats = [np.clip(x, -recipe.clip_value, recipe.clip_value) for x in floats]
    finite = finite and all(bool(np.isfinite(x).all()) for x in floats)
    return Clipped(ad.unflatten(gradient, floats), log2_norm, clipped, finite)


def _is_finite(x: Scaled) -> bool:
    return bool(np.isfinite(to_host(x.mantissa)).all())


def _log2_norm(numbers: list[Scaled]) -> float:
    """Return log2 of the Euclidean norm of all numbers, formed beside their largest exponent."""
    logs = np.concatenate([np.ravel(to_host(x.log2abs())) for x in numbers])
    top = float(np.max(logs, initial=-np.inf))
    if not math.isfinite(top):
        return top
    return top + 0.5 * math.log2(float(np.sum(np.exp2(2 * (logs - top)))))


def _times_power(x: Scaled, log2_factor: float) -> Array:
    """Return x 2**log2_factor as floats on the host; inf and 0 where that is outside of their range."""
    whole = math.floor(log2_factor)
    digits = to_host(x.mantissa) * to_host(x.mantissa).dtype.type(2.0 ** (log2_factor - whole))
    return np.asarray(Scaled.of(digits, to_host(x.exponent) + whole).to_float(out_of_range="ieee"))
