"""Gradient descent with meta-gradients of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad, checks
from metagrad.ad.tree import leaves_as
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Estimate, OuterReport, Tree
from metagrad.scaled import Scaled
from metagrad.training._leaves import is_finite, like, log2_norm
from metagrad.xp import Array, to_host

_WHERE = "Descent"


@dataclass(frozen=True)
class Descent:
    """phi <- phi - (scale / k**power) grad, k = 1, 2, ...: the recipe of Wang et al. 2021 by default.

    With `power=1/2` the paper proves convergence on the log objective. A meta-gradient of any finite size is used as
    it is, however far outside the range of floats. `sign=True` moves every meta-parameter by scale / k**power against
    the sign of its gradient, however small that is: for objectives whose gradient vanishes with the horizon (a loss
    with a floor, see `LogExcess`). `scale` > 0: one number, or a tree like phi of numbers and arrays for gradients of
    several sizes; None in it holds a part of phi where it is. A meta-parameter whose gradient is inf or NaN becomes
    NaN. ValueError unless `scale` and `power` are finite and `scale` is above 0; TypeError where its tree is another.

    >>> step = Descent(0.5, power=1.0)
    >>> found = Estimate(Scaled.of(np.ones(1)), (Scaled.of(np.asarray(0.25)),), np.zeros(1), np.zeros(1))
    >>> step.step((1.0,), (), found, 1)[0]
    (0.875,)
    """

    scale: Any = 0.01  # a float, or a tree like phi
    power: float = 0.5
    sign: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_scale(_WHERE, self.scale)
        checks.number(_WHERE, "power", self.power)
        checks.flag(_WHERE, "sign", self.sign)

    def init(self, phi: Tree) -> Tree:
        """Return the empty state."""
        return ()

    def step(self, phi: Tree, state: Tree, found: Estimate, k: int) -> tuple[Tree, Tree, OuterReport]:
        """Return the next meta-parameters."""
        grads = [leaf for leaf in ad.leaves(found.grad) if leaf is not None]
        leaves = ad.leaves(phi)
        scales = leaves_as(phi, self.scale, _WHERE, "scale") if _is_tree(self.scale) else [self.scale] * len(leaves)
        moved = [
            leaf if scale is None else like(leaf, self.moved(to_host(leaf), grad, scale / k**self.power))
            for leaf, grad, scale in zip(leaves, grads, scales, strict=True)
        ]
        report = OuterReport(log2_norm(grads), finite=all(map(is_finite, grads)))
        return ad.unflatten(phi, moved), state, report

    def moved(self, leaf: Array, grad: Scaled, rate: float | Array) -> Array:
        """Return leaf - rate grad, exact also where the gradient alone fits no float; NaN where that is no number."""
        digits, power = to_host(grad.mantissa), to_host(grad.exponent)
        direction = Scaled.of(np.sign(digits)) if self.sign else Scaled(digits, power)
        # The rate first: a step may fit where its gradient does not. One that is too large for a float is inf, with
        # its sign, so that a projection of it is exact.
        mantissa, exponent = np.frexp(to_host(rate))
        step = direction * Scaled(np.asarray(mantissa).astype(digits.dtype), np.asarray(exponent).astype(np.int64))
        with np.errstate(invalid="ignore"):
            there = leaf - np.asarray(step.to_float(out_of_range="ieee"))
        return np.where(np.isfinite(digits), there, np.nan).astype(np.asarray(leaf).dtype)


def check_scale(where: str, scale: Any) -> None:
    """Raise ValueError unless every number of `scale` is finite and above 0, TypeError where there is none."""
    for leaf in ad.leaves(scale):
        if isinstance(leaf, bool) or not (hasattr(leaf, "dtype") or isinstance(leaf, int | float)):
            came = f"{checks.shown(leaf)}, a {type(leaf).__name__}"
            bad_type(where, "scale", came, "a number, or a tree of numbers like phi")
        numbers = to_host(leaf)
        if not ((numbers > 0) & np.isfinite(numbers)).all():
            bad_value(where, "scale", scale, "finite numbers above 0" if _is_tree(scale) else "a finite number above 0")
    if not ad.leaves(scale):
        bad_type(where, "scale", repr(scale), "a number, or a tree of numbers like phi")


def _is_tree(scale: Any) -> bool:
    return ad.is_branch(scale)
