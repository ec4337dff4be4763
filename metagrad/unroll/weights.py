"""The weights of the states in the meta-objective, which are asked for several times a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from metagrad.protocols import Objective
from metagrad.scaled import Scaled
from metagrad.transforms import UNIT_WEIGHT, shared_weight

_MOST = 1 << 12  # times


class Weights:
    """The weights of w_0, ..., w_T as an objective gives them: numbers of any size, None where there is none."""

    def __init__(self, objective: Objective, steps: int) -> None:
        """Take the objective and T."""
        self._objective, self._steps = objective, steps
        self._shared = shared_weight(objective, steps)
        self._known: dict[int, Scaled | None] = {}

    @property
    def are_plain(self) -> bool:
        """Whether all weights are surely 1."""
        return self._shared is not None and self._shared.weight is UNIT_WEIGHT

    def at(self, t: int) -> Scaled | None:
        """Return the weight of the state at t."""
        if self._shared is not None:
            return self._shared.at(t)
        try:
            return self._known[t]
        except KeyError:
            pass
        found: Any = self._objective.weight(t, self._steps)
        found = found if found is None or isinstance(found, Scaled) else Scaled.of(np.asarray(float(found)))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[t] = found
        return found  # type: ignore[no-any-return]

    def of(self, times: Iterable[int]) -> list[Scaled | None]:
        """Return those of some times."""
        if self._shared is not None:
            weighed, weight = self._shared
            return [weight if t in weighed else None for t in times]
        known = self._known
        return [known[t] if t in known else self.at(t) for t in times]
