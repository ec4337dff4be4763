"""Meta-parameters as a vector of free numbers, as general optimizers take them: logs and logits of those in a range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.errors import bad_value, nearest
from metagrad.optimizers.wrappers.scheduled import Scheduled
from metagrad.optimizers.wrappers.unconstrained import Unconstrained
from metagrad.protocols import Joint, Rule, Tree
from metagrad.training._leaves import flat, flat_names, like
from metagrad.xp import Array


@dataclass(frozen=True)
class Coordinates:
    """The map from free numbers x (P,) to meta-parameters: eta = exp(x), beta = 1/(1 + exp(-x)), others as they are.

    `free`: the rule in its coordinates; None where its meta-parameters have no ranges, or keep their own coordinates.
    `moved`: which of the numbers of phi are free; the others keep the bits of phi.
    """

    template: Tree  # phi
    free: Unconstrained | None
    moved: Array

    @classmethod
    def of(cls, where: str, rule: Rule, phi: Tree, *, ranges: bool, held: tuple[str, ...]) -> Coordinates:
        """Return the coordinates of a rule's meta-parameters; `ranges`: whether those with a range get others.

        ValueError where what is free stands at the end of a range, which no coordinate reaches.
        """
        moved = ~_held(where, flat_names(phi), held)
        made = cls(phi, _free(rule) if ranges and moved[: _rule_numbers(phi)].any() else None, moved)
        made.at(phi)
        return made

    def at(self, phi: Tree) -> Array:
        """Return the coordinates of phi, those that are free."""
        return flat(self._tree(phi)).astype(np.float64)[self.moved]

    def _tree(self, phi: Tree) -> Tree:
        if self.free is None:
            return phi
        if isinstance(phi, Joint):
            return phi._replace(rule=self.free.free(self._inside(phi.rule)))
        return self.free.free(self._inside(phi))

    def _inside(self, phi: Tree) -> Tree:
        """Return the rule's phi with 0.5, which is in every range, for what is held: that may be at the end of one."""
        first, found = 0, []
        for leaf in ad.leaves(phi):
            free = self.moved[first : first + np.size(leaf)].reshape(np.shape(leaf))
            found.append(leaf if free.all() else like(leaf, np.where(free, leaf, 0.5)))
            first += int(np.size(leaf))
        return ad.unflatten(phi, found)

    @property
    def names(self) -> tuple[str, ...]:
        """What every coordinate is called: log_eta[3], logit_mu."""
        every = flat_names(self._tree(self.template))
        return tuple(name for name, moved in zip(every, self.moved, strict=True) if moved)

    def phi(self, x: Array) -> Tree:
        """Return the meta-parameters of coordinates, in the dtypes of the template; ValueError for one out of range."""
        moved = self._unflat(x)
        if self.free is not None:
            is_joint = isinstance(moved, Joint)
            moved = moved._replace(rule=self.free.phi(moved.rule)) if is_joint else self.free.phi(moved)
        if self.moved.all():
            return moved
        kept, first, found = ad.leaves(self.template), 0, []
        for leaf, before in zip(ad.leaves(moved), kept, strict=True):
            free = self.moved[first : first + np.size(before)].reshape(np.shape(before))
            found.append(before if not free.any() else leaf if free.all() else np.where(free, leaf, before))
            first += int(np.size(before))
        return ad.unflatten(self.template, found)

    def slopes(self, x: Array) -> Array:
        """Return d phi/d x (P,), number by number."""
        return np.ones(x.shape) if self.free is None else self._derivatives(self.free.slopes, x, 1.0)

    def bends(self, x: Array) -> Array:
        """Return d^2 phi/d x^2 (P,), number by number."""
        return np.zeros(x.shape) if self.free is None else self._derivatives(self.free.bends, x, 0.0)

    def _derivatives(self, of_rule: Callable[[Tree], Tree], x: Array, of_task: float) -> Array:
        moved = self._unflat(x)
        if not isinstance(moved, Joint):
            return flat(of_rule(moved)).astype(np.float64)[self.moved]
        others = np.full(flat(moved.task).size, of_task)
        return np.concatenate([flat(of_rule(moved.rule)).astype(np.float64), others])[self.moved]

    def _unflat(self, x: Array) -> Tree:
        template, first, found = self._tree(self.template), 0, []
        every = flat(template).astype(np.float64)
        every[self.moved] = x
        x = every
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


def _rule_numbers(phi: Tree) -> int:
    return int(flat(phi.rule if isinstance(phi, Joint) else phi).size)


def _held(where: str, names: tuple[str, ...], held: tuple[str, ...]) -> Array:
    """Return which numbers are held (P,): those whose name is one of `held`, or goes on within one."""
    found = np.zeros(len(names), bool)
    for one in held:
        under = np.array([name == one or name.startswith((f"{one}.", f"{one}[")) for name in names])
        if not under.any():
            known = list(dict.fromkeys(name.partition("[")[0] for name in names))
            bad_value(where, "held", repr(one), "a meta-parameter by its name", nearest(one, known))
        found |= under
    if found.all():
        bad_value(where, "held", held, "at least one meta-parameter that is free")
    return found
