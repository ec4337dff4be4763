"""Coordinates in which a hyper-parameter with a range may be any number: the maps, and where they may lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad import sigmoid
from metagrad.optimizers._safe import Decay
from metagrad.xp import Array


class Map(NamedTuple):
    """The hyper-parameter `value(x)` of a coordinate x, its inverse, and what it reaches: examples, and in words."""

    prefix: str
    value: Callable[[Any], Any]
    coordinate: Callable[[Any], Any]
    reaches: tuple[float, ...]
    bounds: str


def _logit(beta: Array) -> Array:
    return np.log(beta) - np.log1p(-beta)


def _inverse_softplus(x: Array) -> Array:
    return x + np.log(-np.expm1(-x))


# In this order, the first whose examples a rule takes is its default.
MAPS = {
    "identity": Map("", lambda x: x, lambda x: x, (-2.0, 0.5, 2.0), "of any size"),
    "log": Map("log_", np.exp, np.log, (0.5, 2.0), "above 0"),
    "logit": Map("logit_", lambda c: Decay(sigmoid(c), sigmoid(-c)), _logit, (0.5,), "in (0, 1)"),
    "softplus": Map("inverse_softplus_", lambda a: np.logaddexp(a, 0.0), _inverse_softplus, (0.5, 2.0), "above 0"),
}


def within(kind: str, value: Any) -> Array:
    """Return where a value of the map `kind` is one that its dtype did not round to a bound of its range."""
    if isinstance(value, Decay):
        return (value.beta > 0) & (value.rest > 0)
    if kind == "identity":
        return np.isfinite(value)
    return (value > 0) & (value < (1.0 if kind == "logit" else np.inf))


def guarded(kind: str, value: Any) -> Any:
    """Return the value, NaN where it is not `within`: a bound is no hyper-parameter, and a rule might stand still."""
    holds = within(kind, value)
    if isinstance(value, Decay):
        return Decay(*[np.where(holds, part, np.nan) for part in value])
    return np.where(holds, value, np.nan)
