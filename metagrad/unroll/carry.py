"""The state of an unroll at one time, and how it is to be differentiated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from metagrad.protocols import GradientKind, Tree
from metagrad.xp import Array

Scaling = Literal["auto", "adjoint", "none"]


class Carry(NamedTuple):
    """The state at one time: the true parameters are w * 2**exponent, the true optimizer state likewise."""

    w: Tree
    state: Tree
    exponent: Array  # (B,) int64


@dataclass(frozen=True)
class Options:
    """How to differentiate: which gradient, and what is carried beside the digits.

    `gradient`: "full", or "stop_gradient" to hold the optimizee's gradient constant (another number, at times of
    another sign). `scaling`: "auto" scales adjoints always and states where that is exact, "adjoint" only adjoints,
    "none" is plain floating point. `per_task`: phi leads with B and so does the meta-gradient.
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
