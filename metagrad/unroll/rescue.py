"""Running again where one exponent a task was too few.

Entries of one state part company: a coordinate that grows takes the exponent of its task with it, and one that shrinks
falls out of the range of floats beside it. `metagrad.unroll.lost` says where that may count. Then every entry gets an
exponent of its own, in one of two ways,

    "entry"   by splitting, where the problem is a sum over coordinates (`metagrad.unroll.split`): about the same time
    "wide"    by running on scaled numbers (`metagrad.scaled`), for any task and rule: 10 to 20 times the time

and the answer is that of the run again, for all tasks. `Estimate.carrier` says which it was ("task": neither). Where
the time would be too long, or a task leaves NumPy's functions, the Status ENTRIES_LOST says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import Status
from metagrad.protocols import Estimate, Position
from metagrad.scaled import Scaled, ldexp
from metagrad.unroll.carry import Ask, Options
from metagrad.unroll.lost import UNDERFLOWS, any_entry
from metagrad.unroll.split import negligible, split
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace

# Steps times entries (an entry of a small array costs as much as a thousand): about a minute on one core.
_MOST_WORK, _LEAST_ENTRIES = 4e7, 1000

Look = Callable[[Ask, Options], tuple[Unroll, Estimate] | None]
Run = Callable[[Ask, Options], tuple[Unroll, Estimate]]  # an estimator's own way, step by step


def wanted(unroll: Unroll, estimate: Estimate) -> Array:
    """Return the tasks (B,) of which an entry may have been lost that counts."""
    tally, lost = unroll.tally, unroll.lost
    if unroll.wide or unroll.options.entry:
        return unroll.xp.zeros(unroll.batch, dtype=bool)
    lost.term_is_low = tally.low()
    found: Array = lost.matters(estimate.value, estimate.grad, unroll.phi, unroll.steps, estimate.status)
    if unroll.grown is not None and found.any():  # of runs on the host alone
        found = found & ~_drowned(unroll, estimate)
    return found | _fell(unroll) if unroll.scale_state else found


def wanted_forwards(unroll: Unroll, value: Scaled) -> Array:
    """Return the tasks (B,) of which anything fell out of the range on the way forwards, where that is all there is."""
    if unroll.wide or unroll.options.entry:
        return unroll.xp.zeros(unroll.batch, dtype=bool)
    found: Array = unroll.lost.counted | unroll.tally.low() | (value.mantissa == 0)
    return found | _fell(unroll) if unroll.scale_state else found


def _drowned(unroll: Unroll, estimate: Estimate) -> Array:
    """Return the tasks (B,) of a chaotic run of which what was lost is a thousandth of what roundings did.

    Both are carried by the same adjoints: a lost entry moves the objective by at most E (`lost`), the roundings of the
    steps by u p_t, p_t = sum |lambda_t w_t| (`growth`). Where E is below u/1000 of max(|value|, rms p_t), every p_t is
    right to that part of the largest, so that the growth by which the run is called CHAOTIC is not made by the loss,
    and no digit of the value would be another one. Of the meta-gradient there is none: that is what CHAOTIC says here.
    An exponent beside every entry would cost 100 times the run, and give other roundings.
    """
    xp, grown, digits = unroll.xp, unroll.grown, estimate.digits
    none = xp.zeros(unroll.batch, dtype=bool)
    if grown is None or grown.value is None or digits is None or digits.gradient is None:
        return none
    of_roundings = xp.maximum(estimate.value.log2abs(), grown.value)
    small = unroll.lost.bound(unroll.steps) < of_roundings + unroll.lost.trust
    without_digits = (estimate.status == Status.CHAOTIC.code) & (digits.gradient == 0)
    found: Array = small & without_digits & ~unroll.lost.term_is_low
    return found


def _fell(unroll: Unroll) -> Array:
    """Return the tasks of which an entry of the state fell out, and counts as far as theory knows.

    What is gone has no adjoint either: the bound of `lost`, which is of first order, does not see both.
    """
    masks = unroll.fell()
    if not masks:
        return unroll.xp.zeros(unroll.batch, dtype=bool)
    fell = any_entry(masks)
    if unroll.xp is np and not fell.any():  # only asked on the host, where looking costs nothing
        return fell
    return fell & ~negligible(unroll, masks[0])


def fell_out(status: Array) -> Array:
    """Return whether a Status says that numbers fell out of the range at its lower end, (B,)."""
    xp = namespace(status)
    found: Array = xp.isin(status, xp.asarray([Status.ENTRIES_LOST.code, *UNDERFLOWS]))
    return found


def rescued(
    unroll: Unroll,
    estimate: Estimate,
    *,
    again: Run,
    looked: Look | None = None,
    need: Array | None = None,
    whole: bool = False,
) -> Estimate:
    """Return the estimate, or that of a run with an exponent beside every entry where it needs one.

    `again(ask, options)` is the way that gave the estimate, step by step, on whatever arrays the ask leads to.
    `looked`: a backward sweep that looks at every entry, where there is one. `need`: the tasks that may need it, if
    they are known otherwise. `whole`: tasks cannot be split into coordinates.
    """
    options, ask = unroll.options, unroll.ask
    if options.scaling == "none":  # to see what plain floats lose: the estimate says so
        return estimate
    need = wanted(unroll, estimate) if need is None else need
    if unroll.xp is not np:  # nothing waits for the device
        return _said(unroll, estimate, need)
    if not need.any():
        return estimate
    is_allowed = options.scaling == "auto" and options.rescue != "never"
    coordinates = split(unroll) if is_allowed and not whole else None
    if coordinates is not None:
        of_parts = replace(options, per_task=True, diverged="keep", record=False, entry=True)
        return unroll.as_given(coordinates.joined(again(coordinates.ask, of_parts)[1]))
    seen = looked(ask, replace(options, precise=True)) if looked is not None else None
    need = need if seen is None else wanted(*seen)
    if not need.any():
        return estimate
    why_not = _obstacle(unroll, allowed=is_allowed)
    found = _widely(unroll, estimate, again, need) if why_not is None else _said(unroll, estimate, need, why_not)
    return unroll.as_given(found)


def _obstacle(unroll: Unroll, *, allowed: bool) -> str | None:
    """Return what would have to be otherwise for a run on scaled numbers; None where it can be made."""
    if not allowed:
        return "scaling='auto' and rescue='auto' run again with an exponent beside every entry."
    work = unroll.steps * (_LEAST_ENTRIES + sum(leaf.size for leaf in ad.leaves(unroll.w0)))
    if unroll.options.rescue != "always" and work > _MOST_WORK:
        return "rescue='always' runs again with an exponent beside every entry, for long."
    return None


def _widely(unroll: Unroll, estimate: Estimate, again: Run, need: Array) -> Estimate:
    """Return the estimate of a run on scaled numbers; the one that there is where the task does not know them."""
    try:
        _, found = again(unroll.ask, replace(unroll.options, wide=True))
    except TypeError as error:
        if "scaled numbers" not in str(error) and "a Scaled" not in str(error):
            raise
        return _said(unroll, estimate, need, f"With an exponent beside every entry the task does not run. {error}")
    notes = estimate.notes if (found.status == estimate.status).all() else found.notes  # why there is no number
    return replace(found, end=_end(found.end), carrier="wide", notes=notes)


def _said(unroll: Unroll, estimate: Estimate, need: Array, *remedy: str) -> Estimate:
    """Return the estimate with the Status of what was lost, where it has none yet, and what would help."""
    xp = namespace(estimate.status)
    fresh = need & (estimate.status == 0)
    code = xp.where(fresh, Status.ENTRIES_LOST.code, estimate.status)
    step = xp.where(fresh, unroll.steps, estimate.status_step)
    return replace(estimate, status=code, status_step=step, notes=(*estimate.notes, *remedy))


def _end(end: Any) -> Any:
    """Return where a wide run has arrived, in floats beside one exponent a task where that loses nothing."""
    if not isinstance(end, Position):
        return end
    leaves = [leaf for leaf in ad.leaves((end.w, end.state)) if type(leaf) is Scaled]
    if not leaves:
        return end
    floats = [leaf.to_float(out_of_range="ieee") for leaf in leaves]
    for leaf, plain in zip(leaves, floats, strict=True):
        same = (ldexp(leaf.mantissa, leaf.exponent) == plain) & (Scaled.of(plain) == leaf)
        if not bool(same.all()):
            return end
    narrow = iter(floats)
    w, state = ad.tree_map(lambda leaf: next(narrow) if type(leaf) is Scaled else leaf, (end.w, end.state))
    return end._replace(w=w, state=state)
