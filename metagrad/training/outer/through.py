"""Any update rule as the outer step: a meta-gradient as floats, clipped where that is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import bad_type
from metagrad.protocols import Estimate, OuterReport, Rule, Tree
from metagrad.scaled import Scaled
from metagrad.training._leaves import all_finite, is_finite, log2_norm
from metagrad.views import FixedGradient
from metagrad.xp import Array, move, namespace, to_host

_WHERE = "Through"


@dataclass(frozen=True)
class Through:
    """phi, state <- rule.step(...), with the meta-gradient as floats: `Through(Adam(), Adam.Phi(1e-3))`.

    `rule`: any rule of the project, with its own meta-parameters `phi`. `clip_norm`, `clip_value`: the meta-gradient's
    largest norm over all meta-parameters, and largest entry; None for none. `steps`: how many outer steps the run has,
    for rules that follow a schedule, such as Following(GradientDescent(), eta=Polynomial()). A gradient too large for
    floats still has a direction and a norm, and is clipped as any other. Where the meta-gradient, or the step along it,
    is inf or NaN, no step is taken: the state stays, and the meta-parameters come back as NaN. TypeError where `phi` is
    not the rule's, ValueError where it is out of the rule's range (a step size below 0 would ascend), and unless the
    limits are above 0 and `steps` at least 1.

    >>> from metagrad.optimizers import GradientDescent
    >>> step = Through(GradientDescent(), GradientDescent.Phi(0.5), clip_norm=1.0)
    >>> found = Estimate(Scaled.of(np.ones(1)), Scaled.of(np.array([3.0, 4.0])), np.zeros(1), np.zeros(1))
    >>> step.step(np.zeros(2), step.init(np.zeros(2)), found, 1)[0]
    array([-0.3, -0.4])
    """

    rule: Rule
    phi: Any
    clip_norm: float | None = None
    clip_value: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        """Check the meta-parameters and the limits."""
        parts.check_part(_WHERE, "rule", self.rule, Rule)
        kind = parts.named_phi(self.rule)
        if not isinstance(self.phi, tuple) and kind is not None:
            came = f"a {type(self.phi).__name__}"
            bad_type(_WHERE, "phi", came, f"{kind.__qualname__}({', '.join(kind._fields)})")
        parts.check_phi(self.rule, self.phi, _WHERE)
        for name in ("clip_norm", "clip_value"):
            check_limit(_WHERE, name, getattr(self, name))
        if self.steps is not None:
            checks.count(_WHERE, "steps", self.steps)

    def init(self, phi: Tree) -> Tree:
        """Return the state of the rule."""
        return self.rule.init(self.phi, _as_arrays(phi))

    def step(self, phi: Tree, state: Tree, found: Estimate, k: int) -> tuple[Tree, Tree, OuterReport]:
        """Return the next meta-parameters and state."""
        step = clip(found.grad, self.clip_norm, self.clip_value)
        phi = _as_arrays(phi)
        if step.finite:
            gradient = move(step.gradient, namespace(*ad.leaves(phi)))
            with np.errstate(all="ignore"):  # what overflows is looked at below
                moved, after = self.rule.step(self.phi, state, phi, FixedGradient(gradient, k - 1, self.steps))
            if all_finite((moved, after)):
                return moved, after, OuterReport(step.log2_norm, step.clipped)
        nowhere = ad.tree_map(lambda leaf: leaf * math.nan, phi)
        return nowhere, state, OuterReport(step.log2_norm, finite=False)


class Clipped(NamedTuple):
    """A meta-gradient as floats, the log2 of its norm before clipping, and whether it was clipped, and is finite."""

    gradient: Tree
    log2_norm: float
    clipped: bool
    finite: bool


def clip(gradient: Tree, norm: float | None = None, value: float | None = None) -> Clipped:
    """Return the meta-gradient (a tree of `Scaled`) as floats, its norm and its entries within these limits.

    A gradient too large for floats still has a direction and a norm: with a limit it is clipped as any other; without
    one it is not finite. `finite` is False, and the gradient of no use, where an entry is inf or NaN.
    """
    numbers = ad.leaves(gradient)
    size, finite = log2_norm(numbers), all(is_finite(x) for x in numbers)
    limit = math.inf if norm is None else math.log2(norm)
    excess = max(0.0, size - limit) if finite else 0.0
    floats = [_times_power(x, -excess) for x in numbers]
    clipped = excess > 0
    if value is not None and finite:
        clipped |= any(bool((np.abs(x) > value).any()) for x in floats)
        floats = [np.clip(x, -value, value) for x in floats]
    finite = finite and all(bool(np.isfinite(x).all()) for x in floats)
    return Clipped(ad.unflatten(gradient, floats), size, clipped, finite)


def check_limit(where: str, name: str, limit: Any) -> None:
    """Raise TypeError unless the limit is a number or None, ValueError unless it is finite and above 0."""
    if limit is not None:
        checks.number(where, name, limit, above=0.0, remedy="None is for no limit.")


def _as_arrays(phi: Tree) -> Tree:
    """Return phi with arrays of shape () for Python's floats: rules step arrays."""
    return ad.tree_map(lambda leaf: leaf if hasattr(leaf, "dtype") else np.asarray(leaf), phi)


def _times_power(x: Scaled, log2_factor: float) -> Array:
    """Return x 2**log2_factor as floats on the host; inf and 0 where that is outside of their range."""
    whole = math.floor(log2_factor)
    digits = to_host(x.mantissa) * to_host(x.mantissa).dtype.type(2.0 ** (log2_factor - whole))
    return np.asarray(Scaled.of(digits, to_host(x.exponent) + whole).to_float(out_of_range="ieee"))
