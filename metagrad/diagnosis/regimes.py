"""What a run does, in one word a task, and what the meta-gradient does as the horizon grows.

With the rates of state and tangent (`growth`), T the horizon:

    exploding      the state grows by more than a decade in T/2 steps, and the interval excludes 0; or it overflowed
    chaotic        the tangent grows by more than two decades in T steps, and the interval excludes 0; the state
                   does not
    floor          w stands still at a value that is not zero, or the tangent shrinks and the meta-gradient is
                   rounding (Status.GRADIENT_ROUNDING); not where the engine rescales the state
    contracting    the tangent shrinks by more than a decade in T steps, and the interval excludes 0
    neutral        none of these: neither growth nor decay can be told from 0

The meta-gradient is "vanishing" or "exploding" where the second half of the horizon changes it by more than a decade.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.diagnosis.case import Case
from metagrad.diagnosis.growth import Rate
from metagrad.errors import Status
from metagrad.protocols import Position
from metagrad.unroll.rescale import is_float_array, magnitude
from metagrad.unroll.rollout import rollout
from metagrad.xp import float_info, to_host

REGIMES = ("contracting", "neutral", "exploding", "chaotic", "floor")
_DECADES = 1.0  # less may be a transient
_SPREAD = 2.0
_LOST = (Status.GRADIENT_ROUNDING.code,)
_OVERFLOWED = tuple(Status[f"STATE_{name}"].code for name in ("OVERFLOW", "NAN"))


def regimes(state: Rate, tangent: Rate, status: Any, stands: Any, steps: int) -> tuple[str, ...]:
    """Return the regime of each task; `stands` (B,): whether w stands still, None where the state is rescaled."""
    grows, spreads = _grows(state, _DECADES, steps / 2) | np.isin(status, _OVERFLOWED), _grows(tangent, _SPREAD, steps)
    shrinks = (tangent.high < 0) & (tangent.value * steps < -_DECADES)
    found = np.full(len(status), "neutral", dtype=object)
    found[shrinks] = "contracting"
    if stands is not None:
        found[(stands | (np.isin(status, _LOST) & shrinks)) & ~spreads] = "floor"
    found[spreads] = "chaotic"
    found[grows] = "exploding"
    return tuple(found)


def _grows(rate: Rate, decades: float, steps: float) -> Any:
    return (rate.low > 0) & (rate.value * steps > decades)


def trend(change: float) -> str:
    """Return what log10 of the meta-gradient does from T/2 to T: "vanishing", "exploding", "steady" or "no number"."""
    if np.isnan(change):
        return "no number"
    return "vanishing" if change < -_DECADES else "exploding" if change > _DECADES else "steady"


def stands_still(case: Case) -> Any:
    """Return whether the last two steps changed w by less than two roundings each, and w is not zero, (B,)."""
    go = partial(rollout, case.task, case.rule, case.phi, seed=case.seed, run=case.steps, with_end=True)
    with np.errstate(all="ignore"):
        _, before = go(steps=max(1, case.steps - 2))
        _, last = go(steps=case.steps - before.t, at=before)
        return np.asarray(to_host(_stands(before, last)))


def _stands(before: Position, last: Position) -> Any:
    eps = max(float_info(x.dtype).eps for x in ad.leaves(last.w) if is_float_array(x))
    size = magnitude(last.w)
    change = magnitude(ad.tree_map(lambda a, b: a - b if is_float_array(a) else a, last.w, before.w))
    return (change <= 4 * (eps / 2) * size) & (size > 0)
