"""A meta-gradient against differences of values: for any task, rule and objective that are smooth at phi."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Estimate, Tree
from metagrad.scaled import Scaled
from metagrad.testing.cases import (
    SURE,
    Case,
    Match,
    axes_of_tasks,
    differ,
    digits_of,
    length,
    on_host,
    shown_number,
    unresolved,
    widened,
)
from metagrad.testing.differences import room, slope_along
from metagrad.xp import Array, float_info, rng, to_host

_ENTRIES, _LINES = 8, 4  # up to so many meta-parameters one by one, else along so many lines


def same_slopes(case: Case, found: Estimate, least: float) -> Match:
    """Compare slopes along lines with differences of values, in float64 where the task can be widened."""
    wide = widened(case)
    grad = ad.tree_map(on_host, found.grad)
    axes = axes_of_tasks(case, found.grad)
    size = length(grad, axes)
    full = -np.log10(float_info(found.value.dtype).eps)
    rounding = SURE * 10.0 ** -digits_of(found, full, "gradient")
    worst, asked, said, at = 0.0, full, "", ("", "", "")
    for name, direction in _directions(wide.phi, grad, case.seed, axes, case.per_task):
        slope = slope_along(lambda h, v=direction: wide.value(_moved(wide.phi, v, h)))  # type: ignore[misc]
        ours, reach = _product(grad, direction, axes), _reach(direction, axes)
        unit = Scaled.of(np.ones_like(slope.slope), slope.exponent)
        came, top = ((x / unit).to_float(out_of_range="ieee") for x in (ours, size * Scaled.of(reach)))
        allowed = rounding * top + slope.off
        with np.errstate(all="ignore"):
            digits = -np.log10(allowed / np.where(top > 0, top, 1.0))  # of a gradient that is 0: beside the value
            apart = np.abs(came - slope.slope) / allowed
        # equal numbers are 0 apart, where nothing is allowed too: a gradient of exactly 0 has no size
        apart = np.where(came == slope.slope, 0.0, np.where(np.isnan(apart), np.inf, apart))
        if digits.min() < asked:
            asked, said = float(digits.min()), name
        if apart.max() > worst:
            b = int(np.argmax(apart))
            worst, at = float(apart[b]), (name, shown_number(ours[b]), shown_number((Scaled.of(slope.slope) * unit)[b]))
    if worst > 1:
        differ(case, found, at, "differences", asked - np.log10(worst), asked)
    if asked < least:
        unresolved(case, f"differences along {said} have {max(asked, 0.0):.1f} digits", least)
    return Match("differences", float(min(full, asked - np.log10(max(worst, 1e-3)))), asked)


def _directions(phi: Tree, grad: Tree, seed: int, axes: list[int | None], per_task: bool) -> list[tuple[str, Tree]]:
    """Return the lines to look along, by name: one for each meta-parameter where there are few."""
    reach = ad.tree_map(room, phi)
    places, leaves = ad.paths(phi), ad.leaves(reach)
    shapes = [_without(np.shape(x), axis) for x, axis in zip(leaves, axes, strict=True)]
    count = sum(int(np.prod(shape, dtype=int)) for shape in shapes)
    lines = []
    if count <= _ENTRIES:
        for k, (path, shape) in enumerate(zip(places, shapes, strict=True)):
            for index in np.ndindex(*shape):
                one = [np.zeros_like(x) for x in leaves]
                place = index if axes[k] is None else (*index[: axes[k]], slice(None), *index[axes[k] :])
                one[k][place] = leaves[k][place]
                lines.append((f"phi{path}{list(index) if index else ''}", ad.unflatten(phi, one)))
        return lines
    # with a length of its own for each entry: along signs alone two entries that were swapped give the same slope
    lines_of = [
        [
            (np.sign(to_host(g.mantissa)) if k == 0 else draw.choice([-1.0, 1.0], np.shape(x))).reshape(np.shape(x))
            * draw.uniform(0.5, 1.0, np.shape(x))
            for j, (x, g) in enumerate(zip(leaves, ad.leaves(grad), strict=True))
            for draw in [rng(seed, "lines", k, j)]
        ]
        for k in range(_LINES)
    ]
    names = ["the signs of the gradient", *(f"line {k}" for k in range(1, _LINES))]
    return [
        (name, ad.unflatten(phi, [s * x for s, x in zip(line, leaves, strict=True)]))
        for name, line in zip(names, lines_of, strict=True)
    ]


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])


def _moved(phi: Tree, direction: Tree, h: float) -> Tree:
    def one(x: Any, v: Any) -> Any:
        if not hasattr(x, "dtype"):
            return x + float(h * v)
        return x + x.dtype.type(h) * v.astype(x.dtype)

    return ad.tree_map(one, phi, direction)


def _product(grad: Tree, direction: Tree, axes: list[int | None]) -> Scaled:
    """Return the slope along a direction, (B,) or (1,)."""
    total: Any = None
    for g, v, axis in zip(ad.leaves(grad), ad.leaves(direction), axes, strict=True):
        term = g * Scaled.of(np.asarray(v, dtype=np.float64))
        over = tuple(k for k in range(term.ndim) if k != axis)
        term = term.sum(axis=over) if over else term
        total = term if total is None else total + term
    found: Scaled = total if total.ndim else total.reshape((1,))
    return found


def _reach(direction: Tree, axes: list[int | None]) -> Array:
    total: Any = 0.0
    for v, axis in zip(ad.leaves(direction), axes, strict=True):
        total = total + np.sum(np.asarray(v) ** 2, axis=tuple(k for k in range(np.ndim(v)) if k != axis))
    return np.atleast_1d(np.sqrt(total))
