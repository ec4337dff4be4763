"""Meta-parameters as a vector of free numbers, as general optimizers take them: logs and logits of those in a range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.optimizers.wrappers.scheduled import Scheduled
from metagrad.optimizers.wrappers.unconstrained import Unconstrained
from metagrad.protocols import Joint, Rule, Tree
from metagrad.training._leaves import flat, flat_names, like
from metagrad.xp import Array


@dataclass(frozen=True)
class Coordinates:
    """The map from free numbers x (P,) to meta-parameters: eta = exp(x), beta = 1/(1 + exp(-x)), others as they are.

    `free`: the rule in its coordinates; None where its meta-parameters have no ranges, or keep their own coordinates.
    """

    template: Tree  # phi
    free: Unconstrained | None

    @classmethod
    def of(cls, rule: Rule, phi: Tree, *, ranges: bool) -> Coordinates:
        """Return the coordinates of a rule's meta-parameters; `ranges`: whether those with a range get others.

        ValueError where phi stands at the end of a range, which no coordinate reaches.
        """
        made = cls(phi, _free(rule) if ranges else None)
        made.at(phi)
        return made

    def at(self, phi: Tree) -> Array:
        """Return the coordinates of phi."""
        return flat(self._tree(phi)).astype(np.float64)

    def _tree(self, phi: Tree) -> Tree:
        if self.free is None:
            return phi
        return phi._replace(rule=self.free.free(phi.rule)) if isinstance(phi, Joint) else self.free.free(phi)

    @property
    def names(self) -> tuple[str, ...]:
        """What every coordinate is called: log_eta[3], logit_mu."""
        return flat_names(self._tree(self.template))

    def phi(self, x: Array) -> Tree:
        """Return the meta-parameters of coordinates, in the dtypes of the template; ValueError for one out of range."""
        moved = self._unflat(x)
        if self.free is None:
            return moved
        return moved._replace(rule=self.free.phi(moved.rule)) if isinstance(moved, Joint) else self.free.phi(moved)

    def slopes(self, x: Array) -> Array:
        """Return d phi/d x (P,), number by number."""
        return np.ones(x.shape) if self.free is None else self._derivatives(self.free.slopes, x, 1.0)

    def bends(self, x: Array) -> Array:
        """Return d^2 phi/d x^2 (P,), number by number."""
        return np.zeros(x.shape) if self.free is None else self._derivatives(self.free.bends, x, 0.0)

    def _derivatives(self, of_rule: Callable[[Tree], Tree], x: Array, of_task: float) -> Array:
        moved = self._unflat(x)
        if not isinstance(moved, Joint):
            return flat(of_rule(moved)).astype(np.float64)
        others = np.full(flat(moved.task).size, of_task)
        return np.concatenate([flat(of_rule(moved.rule)).astype(np.float64), others])

    def _unflat(self, x: Array) -> Tree:
        template, first, found = self._tree(self.template), 0, []
        for leaf in ad.leaves(template):
            size = int(np.size(leaf))
            found.append(like(leaf, np.asarray(x[first : first + size]).reshape(np.shape(leaf))))
            first += size
        return ad.unflatten(template, found)


def _free(rule: Any) -> Unconstrained | None:
    """Return the rule in its coordinates; those of a schedule are the rule's own, with entries for every step."""
    bare = rule.rule if isinstance(rule, Scheduled) else rule
    if isinstance(bare, Unconstrained):
        return None
    try:
        return Unconstrained(bare)
    except TypeError:  # a network: its weights may be any numbers
        return None
