"""How far cheaper gradients are from the meta-gradient: stop-gradient, and windows of truncated backpropagation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad.diagnosis.case import Case, vector
from metagrad.protocols import Tree


class Bias(NamedTuple):
    """A cheaper gradient b beside the full one g, over all meta-parameters: |b - g|/|g| and b'g/(|b||g|).

    `log10_ratio` is log10 of |b|/|g|; `relative` is inf where that leaves the range of floats. NaN where either is no
    number. The sign is right where `cosine` is above 0.
    """

    name: str
    window: int | None
    relative: float
    cosine: float
    log10_ratio: float


def biases(case: Case, full: Tree, windows: tuple[int, ...]) -> tuple[Bias, ...]:
    """Return the bias of stop-gradient and of each window length."""
    held = case.gradient(gradient="stop_gradient").grad
    found = [_bias("stop-gradient", None, held, full)]
    for length in windows:
        cut = case.gradient(method="windows", window=length).grad
        found.append(_bias(f"windows of {length}", length, cut, full))
    return tuple(found)


def default_windows(steps: int) -> tuple[int, ...]:
    """Return a twentieth, a fifth and a half of the steps.

    >>> default_windows(100)
    (5, 20, 50)
    """
    return tuple(sorted({n for n in (steps // 20, steps // 5, steps // 2) if 0 < n < steps}))


def _bias(name: str, window: int | None, cheaper: Tree, full: Tree) -> Bias:
    (b, b_top), (g, g_top) = vector(cheaper), vector(full)
    with np.errstate(all="ignore"):
        b_size, g_size = (float(np.sqrt(np.sum(x * x))) for x in (b, g))
        cosine = float(np.sum(b * g)) / (b_size * g_size) if b_size * g_size else float("nan")
        ratio = float(np.log10(np.float64(b_size) / g_size)) + (b_top - g_top) * float(np.log10(2.0))
        relative: Any = np.sqrt(np.sum((np.ldexp(b, int(np.clip(b_top - g_top, -4000, 4000))) - g) ** 2)) / g_size
    return Bias(name, window, float(relative), cosine, ratio)
