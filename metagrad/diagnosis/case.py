"""What is diagnosed: the parts of one meta-gradient in one dtype, and the calls of the engine that all share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.api import meta_gradient, value
from metagrad.objectives import Final
from metagrad.protocols import Estimate, Objective, Rule, Task, Tree
from metagrad.scaled import Scaled, ldexp
from metagrad.unroll.carry import Ask, Options
from metagrad.unroll.unroll import Unroll
from metagrad.xp import to_host

_LOG10_2 = float(np.log10(2.0))


@dataclass(frozen=True)
class Case:
    """One meta-gradient: the arguments of `meta_gradient`, checked and in one dtype."""

    task: Task
    rule: Rule
    objective: Objective
    phi: Tree
    steps: int
    seed: int

    def gradient(self, *, steps: int | None = None, phi: Tree = None, **options: Any) -> Estimate:
        """Return the estimate of a shorter horizon, other meta-parameters or other options."""
        parts = self.task, self.rule, self.objective, self.phi if phi is None else phi
        horizon = self.steps if steps is None else steps
        return meta_gradient(*parts, steps=horizon, run=self.steps, seed=self.seed, **options)

    def value(self, phi: Tree, steps: int | None = None) -> Scaled:
        """Return the mean over tasks of the meta-objective at other meta-parameters, in float64 on the host."""
        horizon = self.steps if steps is None else steps
        parts = self.task, self.rule, self.objective, phi
        found = value(*parts, steps=horizon, run=self.steps, seed=self.seed).value
        return Scaled(np.asarray(to_host(found.mantissa), np.float64), to_host(found.exponent)).mean()

    def unroll(self) -> Unroll:
        """Return an unroll that measures no more than the last iterate."""
        ask = Ask(self.task, self.rule, Final("squared_norm"), self.phi, self.steps, self.seed)
        return Unroll(ask, Options(), "diagnose")


def vector(grad: Tree) -> tuple[Any, int]:
    """Return all entries of a tree of Scaled as one float64 vector and the power of two that it is to be times."""
    rows = [(to_host(x.mantissa).ravel().astype(np.float64), to_host(x.exponent).ravel()) for x in ad.leaves(grad)]
    mantissa, exponent = (np.concatenate(column) for column in zip(*rows, strict=True))
    known = exponent[mantissa != 0]
    top = int(known.max()) if known.size else 0
    return ldexp(mantissa, exponent - top), top


def log10_norm(grad: Tree) -> float:
    """Return log10 of the length of a tree of Scaled, of any size: -inf for zero, NaN where it is no number."""
    entries, top = vector(grad)
    with np.errstate(all="ignore"):
        return float(np.log10(np.sqrt(np.sum(entries * entries)))) + top * _LOG10_2
