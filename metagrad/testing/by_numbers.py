"""A meta-gradient against numbers: those of the closed form, or the caller's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from metagrad import ad, checks
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Estimate, Tree
from metagrad.scaled import Scaled
from metagrad.testing.cases import (
    SURE,
    WHERE,
    Case,
    Match,
    UnresolvedError,
    along,
    axes_of_tasks,
    differ,
    digits_of,
    length,
    on_host,
    relative,
    shown_number,
    unresolved,
)
from metagrad.xp import float_info, is_array, to_host


def same_numbers(case: Case, found: Estimate, expected: Estimate, least: float) -> Match:
    """Compare value and gradient, entry by entry, with the length of the gradient as the measure."""
    name = "closed_form" if expected.digits is not None else "the numbers given"
    if not expected.ok:
        raise UnresolvedError(f"{WHERE}: {name} says of itself: {expected.report()}")
    full = -np.log10(float_info(found.value.dtype).eps)
    known = [digits_of(one, full, "gradient") for one in (found, expected) if one.digits is not None]
    allowed = sum(SURE * 10.0**-one for one in known) if known else SURE * 10.0**-full
    axes = axes_of_tasks(case, found.grad)
    size = length(expected.grad, axes)
    worst, at = 0.0, ("", "", "")
    for path, a, b, axis in zip(
        ad.paths(found.grad), ad.leaves(found.grad), ad.leaves(expected.grad), axes, strict=True
    ):
        with np.errstate(over="ignore"):  # something beside 0
            apart = relative(on_host(a) - on_host(b), size, axis) / along(allowed, a.ndim, axis)
        apart = np.where(np.isnan(apart), np.inf, apart)
        if apart.size and float(apart.max()) > worst:
            worst = float(apart.max())
            k = np.unravel_index(int(np.argmax(apart)), apart.shape)
            at = (f"phi{path}{list(map(int, k)) if k else ''}", _entry(a, k), _entry(b, k))
    asked = -np.log10(float(np.max(allowed)))
    if asked < least:
        unresolved(case, f"{asked:.1f} digits can be compared with {name}", least)
    if worst > 1:
        differ(case, found, at, name, asked - np.log10(worst), asked)
    if expected.digits is not None:
        _same_values(case, found, expected)
    return Match(name, float(min(full, asked - np.log10(max(worst, 1e-3)))), asked)


def _entry(x: Scaled, index: tuple[Any, ...]) -> str:
    return shown_number(x[index] if index else x)


def _same_values(case: Case, found: Estimate, expected: Estimate) -> None:
    full = -np.log10(float_info(found.value.dtype).eps)
    allowed = sum(SURE * 10.0 ** -digits_of(one, full, "value") for one in (found, expected))
    apart = relative(on_host(found.value) - on_host(expected.value), abs(on_host(expected.value)), None)
    apart = np.where(np.isnan(apart), np.inf, apart)
    if (apart > allowed).any():
        b = int(np.argmax(apart / allowed))
        at = (f"the value of task {b}", shown_number(found.value[b]), shown_number(expected.value[b]))
        asked = -np.log10(float(np.broadcast_to(allowed, apart.shape)[b]))
        differ(case, found, at, "closed_form", -np.log10(float(apart[b])), asked)


def given(found: Estimate, expected: Tree) -> Estimate:
    """Return numbers of the caller's as an estimate without an error of its own; TypeError where they are none."""
    places = ad.paths(found.grad)
    if ad.paths(expected) != places and len(places) == 1 and len(ad.leaves(expected)) == 1:
        expected = ad.unflatten(found.grad, ad.leaves(expected))  # one number, for a rule of one meta-parameter
    if ad.paths(expected) != places:
        came = f"a tree with {', '.join(ad.paths(expected)) or 'one number'}"
        bad_type(WHERE, "against", came, f"'closed_form', 'differences', or a tree with {', '.join(places)}")
    leaves = []
    for at, mine, theirs in zip(places, ad.leaves(found.grad), ad.leaves(expected), strict=True):
        number = theirs if isinstance(theirs, Scaled) else _as_scaled(at, theirs)
        if number.shape != mine.shape:
            bad_value(WHERE, f"against{at}", f"of shape {number.shape}", f"shape {mine.shape}, as the gradient has it")
        if not np.isfinite(to_host(number.mantissa)).all():
            bad_value(WHERE, f"against{at}", "inf or NaN somewhere", "finite numbers", "Scaled has those of any size.")
        leaves.append(number)
    return dataclasses.replace(found, grad=ad.unflatten(found.grad, leaves), digits=None)


def _as_scaled(at: str, number: Any) -> Scaled:
    host = np.asarray(to_host(number)) if is_array(number) else np.asarray(number)
    if host.dtype.kind not in "fiu":
        bad_type(WHERE, f"against{at}", checks.shown(number), "numbers")
    return Scaled.of(host.astype(np.float64))
