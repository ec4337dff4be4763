"""Digits of trust by runs from neighbouring floats: what a few of them disagree on, rounding has decided.

    digits = min over copies of -log10( |their number - ours| / |ours| ),  cut to [0, -log10 eps]

Each copy is the same run with w moved by one unit in the last place at its start and after every step (`nudge`). It is
a sample of roundings, not a bound: to within a digit or so. It does not see what is lost inside a loss that cancels,
nor what leaves the range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import Status
from metagrad.protocols import Digits, Estimate, Position, Tree
from metagrad.scaled import Scaled
from metagrad.system import Training
from metagrad.unroll.carry import Ask, Options
from metagrad.unroll.digits import FEW, LOG10_2, log2_length, most_digits, status_of
from metagrad.unroll.rescale import is_float_array, magnitude, shift
from metagrad.xp import Array, namespace

_COPIES = 2
_GROWN = 2.0  # digits by which roundings have grown where what is lost is lost to chaos


def with_trust(run: Callable[[Options], Estimate], ask: Ask, options: Options, trust: bool | int) -> Estimate:
    """Return run(options), its digits found by `trust` copies of it (True: 2); as it is for False."""
    found = run(options)
    copies = _COPIES if isinstance(trust, bool | np.bool_) and trust else int(trust)
    if not copies:
        return found
    others = [run(replace(options, copy=k, record=False)) for k in range(1, copies + 1)]
    entries = Training(ask.task, ask.rule, ask.seed).entries(found.grad) if found.grad is not None else None
    distances = [_distances(found, other, entries, per_task=options.per_task) for other in others]
    digits = Digits(*(_digits(parts, found.value.dtype) for parts in zip(*distances, strict=True)))
    growth = _growth(found, others)
    return _with_status(replace(found, digits=digits), growth, ask.steps, shared=not options.per_task)


def _with_status(found: Estimate, growth: Array, steps: int, *, shared: bool) -> Estimate:
    """Return the estimate with a Status for tasks without a digit, where they have no earlier one."""
    assert found.digits is not None
    xp, gradient = namespace(found.status), found.digits.gradient
    lost = None if gradient is None else gradient < FEW
    code = status_of(found.digits.value < FEW, lost, growth > _GROWN, shared=shared)
    # Nothing else says these two: they were those of the free digits, which the measured ones take the place of.
    open_to = (found.status == 0) | xp.isin(found.status, xp.asarray([Status.CHAOTIC.code, Status.VALUE_ROUNDING.code]))
    status, step = xp.where(open_to, code, found.status), xp.where(code != 0, steps, -1)
    return replace(found, status=status, status_step=xp.where(open_to, step, found.status_step))


def _growth(found: Estimate, others: list[Estimate]) -> Array:
    """Return log10 of how much roundings grew, (B,): as the run has seen it, or by how far the last states differ."""
    xp = namespace(found.status)
    if found.growth is not None or not isinstance(found.end, Position):
        return xp.zeros(found.status.shape) if found.growth is None else found.growth
    end, most = found.end, most_digits(found.value.dtype)
    far = [_apart(end, other.end) for other in others]
    with np.errstate(divide="ignore", invalid="ignore"):
        return xp.log10(xp.stack(far).max(axis=0).astype(np.float64)) + most


def _apart(ours: Position, theirs: Position) -> Array:
    """Return max |their w - ours| / max |our w|, (B,)."""
    moved = shift(theirs.w, theirs.exponent - ours.exponent)
    return magnitude(ad.tree_map(lambda a, b: b - a if is_float_array(a) else a, ours.w, moved)) / magnitude(ours.w)


def _digits(distances: tuple[Array | None, ...], dtype: Any) -> Array | None:
    """Return the digits that all copies agree on, from log2 of their distances; NaN is no digit."""
    known = [d for d in distances if d is not None]
    if not known:
        return None
    xp, most = namespace(known[0]), most_digits(dtype)
    worst = xp.stack(known).max(axis=0)  # NaN wins
    return xp.where(xp.isnan(worst), 0.0, xp.clip(-LOG10_2 * worst, 0.0, most))


def _distances(ours: Estimate, theirs: Estimate, entries: Tree | None, *, per_task: bool) -> tuple[Array, Array | None]:
    """Return log2 of the relative distances of value and gradient, (B,)."""
    of_value = _relative((theirs.value - ours.value).log2abs(), ours.value.log2abs(), ours.value)
    if ours.grad is None:
        return of_value, None
    pairs = list(zip(_leaves(ours.grad, entries, per_task), _leaves(theirs.grad, entries, per_task), strict=True))
    apart, size = log2_length([b - a for a, b in pairs]), log2_length([a for a, _ in pairs])
    return of_value, namespace(apart).broadcast_to(_relative(apart, size, None), of_value.shape)


def _relative(apart: Array, size: Array, number: Scaled | None) -> Array:
    xp = namespace(apart)
    with np.errstate(invalid="ignore"):
        found = xp.where(xp.isneginf(apart), apart, apart - size)
    return found if number is None else xp.where(xp.isfinite(number.mantissa), found, np.nan)


def _leaves(grad: Tree, entries: Tree | None, per_task: bool) -> list[Scaled]:
    """Return the leaves as (B, n) where phi is given task by task, else (1, n)."""
    flat = ad.leaves(grad)
    led = [False] * len(flat) if entries is None else ad.leaves(entries)
    found = []
    for leaf, is_led in zip(flat, led, strict=True):
        if leaf is None:
            continue
        xp = namespace(leaf.mantissa)
        if not per_task:
            found.append(leaf.reshape((1, -1)))
            continue
        rows = [xp.moveaxis(x, int(bool(is_led)), 0) for x in (leaf.mantissa, leaf.exponent)]
        found.append(Scaled(*(x.reshape((x.shape[0], -1)) for x in rows)))
    return found
