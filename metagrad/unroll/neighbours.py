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
from metagrad.errors import Status, bad_type, bad_value
from metagrad.protocols import Digits, Estimate, Tree
from metagrad.scaled import Scaled
from metagrad.system import Training
from metagrad.unroll.carry import Ask, Options
from metagrad.xp import Array, float_info, namespace

_COPIES = 2
_LOG10_2 = float(np.log10(2.0))
_FEW = 1.0  # digits, below which there is a Status


def check_trust(where: str, trust: Any) -> None:
    """Raise unless `trust` is a bool or a number of copies."""
    if not hasattr(trust, "__index__") and not isinstance(trust, bool | np.bool_):
        bad_type(where, "trust", f"{trust!r}, a {type(trust).__name__}", "True, False or a number of copies")
    if int(trust) < 0:
        bad_value(where, "trust", trust, "True, False or a number of copies of at least 1")


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
    return with_status(replace(found, digits=digits), ask.steps)


def with_status(found: Estimate, steps: int) -> Estimate:
    """Return the estimate with a Status for tasks without a digit, where they have no earlier one."""
    assert found.digits is not None
    code = status_of(found.digits, found.growth, found.value.dtype)
    fresh = (found.status == 0) & (code != 0)
    xp = namespace(found.status)
    status = xp.where(fresh, code, found.status)
    return replace(found, status=status, status_step=xp.where(fresh, steps, found.status_step))


def status_of(digits: Digits, growth: Array | None, dtype: Any) -> Array:
    """Return the Status codes (B,) of tasks without a digit: chaos, or rounding of the gradient or the value."""
    xp = namespace(digits.value)
    lost = digits.value < _FEW
    code = xp.where(lost, Status.VALUE_ROUNDING.code, 0)
    if digits.gradient is not None:
        code = xp.where(digits.gradient < _FEW, Status.GRADIENT_ROUNDING.code, code)
    if growth is None:
        return code
    chaotic = growth + np.log10(float_info(np.dtype(dtype)).eps) > -1.0
    return xp.where((code != 0) & chaotic, Status.CHAOTIC.code, code)


def _digits(distances: tuple[Array | None, ...], dtype: Any) -> Array | None:
    """Return the digits that all copies agree on, from log2 of their distances; NaN is no digit."""
    known = [d for d in distances if d is not None]
    if not known:
        return None
    xp, most = namespace(known[0]), -np.log10(float_info(np.dtype(dtype)).eps)
    worst = xp.stack(known).max(axis=0)  # NaN wins
    return xp.where(xp.isnan(worst), 0.0, xp.clip(-_LOG10_2 * worst, 0.0, most))


def _distances(ours: Estimate, theirs: Estimate, entries: Tree | None, *, per_task: bool) -> tuple[Array, Array | None]:
    """Return log2 of the relative distances of value and gradient, (B,)."""
    of_value = _relative((theirs.value - ours.value).log2abs(), ours.value.log2abs(), ours.value)
    if ours.grad is None:
        return of_value, None
    pairs = list(zip(_leaves(ours.grad, entries, per_task), _leaves(theirs.grad, entries, per_task), strict=True))
    apart, size = _norm([b - a for a, b in pairs]), _norm([a for a, _ in pairs])
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


def _norm(numbers: list[Scaled]) -> Array:
    """Return log2 of the lengths of the rows."""
    xp = namespace(numbers[0].mantissa)
    logs = xp.concatenate([n.log2abs() for n in numbers], axis=1)
    top = xp.maximum(logs.max(axis=1, keepdims=True), -1e300)
    with np.errstate(all="ignore"):
        return top[:, 0] + 0.5 * xp.log2(xp.exp2(2 * (logs - top)).sum(axis=1))
