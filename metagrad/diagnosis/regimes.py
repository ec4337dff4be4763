"""What a run does, in one word a task, and what the meta-gradient does as the horizon grows.

With the rates of state and tangent (`growth`), T the horizon, u the unit roundoff:

    exploding      the state grows by more than a decade in T steps, and the interval excludes 0; or it overflowed
    chaotic        the tangent grows so, and the state does not
    floor          the tangent shrinks, and w stands still or its gradient is rounding (Status.GRADIENT_ROUNDING)
    contracting    the tangent shrinks by more than a decade in T steps, and the interval excludes 0
    neutral        none of these: neither growth nor decay can be told from 0

The meta-gradient is "vanishing" or "exploding" where the second half of the horizon changes it by more than a decade.
"""

from __future__ import annotations

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
_DECADES = 1.0
_LOST = (Status.GRADIENT_ROUNDING.code,)
_OVERFLOWED = tuple(Status[f"STATE_{name}"].code for name in ("OVERFLOW", "NAN"))


def regimes(state: Rate, tangent: Rate, status: Any, stands: Any, steps: int) -> tuple[str, ...]:
    """Return the regime of each task."""
    grows, spreads = _grows(state, steps) | np.isin(status, _OVERFLOWED), _grows(tangent, steps)
    shrinks = (tangent.high < 0) & (tangent.value * steps < -_DECADES)
    found = np.full(len(status), "neutral", dtype=object)
    found[shrinks] = "contracting"
    found[(stands | np.isin(status, _LOST)) & ~spreads] = "floor"
    found[spreads] = "chaotic"
    found[grows] = "exploding"
    return tuple(found)


def _grows(rate: Rate, steps: int) -> Any:
    return (rate.low > 0) & (rate.value * steps > _DECADES)


def trend(change: float) -> str:
    """Return what log10 of the meta-gradient does from T/2 to T: "vanishing", "exploding", "steady" or "no number"."""
    if np.isnan(change):
        return "no number"
    return "vanishing" if change < -_DECADES else "exploding" if change > _DECADES else "steady"


def standing_still(case: Case) -> Any:
    """Return whether the last two steps changed w by less than two roundings each, and w is not zero, (B,)."""
    if case.steps < 3:
        return np.zeros(len(ad.leaves(case.task.init(np.random.default_rng(case.seed)))[0]), dtype=bool)
    run = {"seed": case.seed, "run": case.steps, "with_end": True}
    with np.errstate(all="ignore"):
        _, before = rollout(case.task, case.rule, case.phi, steps=case.steps - 2, **run)
        _, last = rollout(case.task, case.rule, case.phi, steps=2, at=before, **run)
        return np.asarray(to_host(_stands(before, last)))


def _stands(before: Position, last: Position) -> Any:
    eps = max(float_info(x.dtype).eps for x in ad.leaves(last.w) if is_float_array(x))
    size = magnitude(last.w)
    change = magnitude(ad.tree_map(lambda a, b: a - b if is_float_array(a) else a, last.w, before.w))
    return (change <= 4 * (eps / 2) * size) & (size > 0)
