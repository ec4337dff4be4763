"""A schedule that begins small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import parts
from metagrad.ad import is_branch, tree_map
from metagrad.checks import shown
from metagrad.errors import bad_type
from metagrad.optimizers._fields import named
from metagrad.optimizers._hyper import WARM, check_field, project_field
from metagrad.optimizers._schedules import Schedule
from metagrad.protocols import Tree


@dataclass(frozen=True)
class WarmUp:
    """min(1, (t + 1)/warm) times the schedule `then` at time t = 0, 1, ...

    `warm` > 0, the number of steps until the schedule itself is reached, need not be an integer (up to 1 there is no
    warm-up): its derivative is that of the formula, -(t + 1)/warm^2 times the schedule before, and 0 after. `Phi` has
    `warm` and the parameters of `then`. Beyond the horizon it is the schedule.
    Source: Goyal et al. 2017 (Accurate, large minibatch SGD), section 2.2: a linear ramp.

    >>> from metagrad.optimizers.schedules.cosine import Cosine
    >>> ramp = WarmUp(Cosine())
    >>> [ramp(ramp.Phi(warm=4.0, start=1.0, end=1.0), t, 9) for t in (0, 1, 3, 8)]
    [0.25, 0.5, 1.0, 1.0]
    """

    then: Any

    def __post_init__(self) -> None:
        """Check what comes after."""
        if isinstance(self.then, type) or not isinstance(self.then, Schedule):
            bad_type("WarmUp", "then", shown(self.then), "a schedule", "Write WarmUp(Cosine()).")
        if "warm" in self.then.Phi._fields:
            bad_type("WarmUp", "then", "one that warms up itself", "a schedule without `warm`")

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every schedule
        """The NamedTuple of `warm` and the parameters of the schedule."""
        return named("WarmUp", ("warm", *self.then.Phi._fields))

    def __call__(self, phi: Any, t: int, steps: int | None) -> Tree:
        """Return the value at time t."""
        value = self.then(self.then.Phi(*phi[1:]), t, steps)

        def warmed(x: Any, warm: Any = phi[0]) -> Any:
            ramp = (t + 1) / warm
            return x * (min(1.0, ramp) if isinstance(ramp, float) else np.minimum(ramp, 1.0))

        if is_branch(phi[0]):
            return tree_map(warmed, value if is_branch(value) else tree_map(lambda _: value, phi[0]), phi[0])
        return tree_map(warmed, value)

    def check_phi(self, phi: Any, where: str) -> Any:
        """Return phi; raise unless it is floating and in range."""
        kind = self.Phi
        if not isinstance(phi, kind):
            bad_type(where, "phi", f"a {type(phi).__name__}", f"Phi({', '.join(kind._fields)}) of the WarmUp")
        then = self.then.check_phi(self.then.Phi(*phi[1:]), where)
        return kind(check_field(where, "warm", phi[0], WARM), *then)

    def project(self, phi: Any) -> Any:
        """Return the nearest phi in range."""
        then = parts.project(self.then, self.then.Phi(*phi[1:]))
        return self.Phi(project_field(phi[0], WARM), *then)
