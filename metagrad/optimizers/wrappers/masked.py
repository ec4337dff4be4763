"""Rules that train some entries of w and leave the others where they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from metagrad import parts
from metagrad.ad import is_branch, leaves, paths, tree_map
from metagrad.checks import shown
from metagrad.errors import bad_type, bad_value
from metagrad.optimizers._hyper import zeros
from metagrad.protocols import Rule, Tree, View
from metagrad.views import ChangedGradient
from metagrad.xp import is_array


@dataclass(frozen=True)
class Masked:
    """The update rule `rule` on the entries of w where `mask` is True; the others stay exactly as they are.

    `mask`: a tree like w of bools, for whole arrays, and of bool arrays that broadcast against (B, ...): (d,) for
    coordinates, (B, 1) for tasks; or one bool. The rule is shown the gradient 0 where nothing is trained, so that norms
    are those of the trained part; the loss, and what else it asks, are those of the whole w. An adjoint passes through
    an entry that stays, and the trained ones owe theirs to it: the meta-gradient is that of the whole run.
    A mask that does not fit w is a ValueError or TypeError, before the first step. `Phi` is that of the rule.

    >>> import metagrad as mg
    >>> rule = mg.Masked(mg.GradientDescent(), np.array([True, False]))
    >>> w, phi = np.array([[1.0, 2.0]]), mg.GradientDescent.Phi(0.5)
    >>> rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(w))[0]
    array([[0.5, 2. ]])
    """

    rule: Rule
    mask: Tree

    def __post_init__(self) -> None:
        """Check the kinds of the mask."""
        parts.check_part("Masked", "rule", self.rule, Rule)
        for path, leaf in zip(paths(self.mask), leaves(self.mask), strict=True):
            if not isinstance(leaf, bool | np.bool_) and not (is_array(leaf) and leaf.dtype.kind == "b"):
                kind = f"an array of {leaf.dtype}" if is_array(leaf) else f"{shown(leaf)}, a {type(leaf).__name__}"
                bad_type("Masked", f"mask{path}", kind, "True, False or a bool array", "Write mask != 0.")
        if not leaves(self.mask):
            bad_type("Masked", "mask", repr(self.mask), "True, False, a bool array, or a tree of them like w")

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every rule
        """That of the rule."""
        return parts.named_phi(self.rule)

    @property
    def homogeneous(self) -> bool:
        """Whether the rule is homogeneous."""
        return parts.is_homogeneous(self.rule)

    @property
    def decays(self) -> tuple[str, ...]:
        """Those of the rule."""
        return parts.decays(self.rule)

    @property
    def entries(self) -> tuple[str, ...] | bool | None:
        """Those of the rule."""
        return parts.entries(self.rule)

    @property
    def at(self) -> Any:
        """That of the rule, None where it has none."""
        return partial(parts.at, self.rule) if parts.changes_with_time(self.rule) else None

    def init(self, phi: Tree, w: Tree) -> Tree:
        """Return the state of the rule; an error where the mask does not fit w."""
        self._check_fits(w)
        return self.rule.init(phi, w)

    def step(self, phi: Tree, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Take one step of the rule in the trained entries."""
        shown = ChangedGradient(f, lambda u: tree_map(_or_zero, self._like(u), f.gradient(u)))
        after, state = self.rule.step(phi, state, w, shown)
        return self._trained(after, w), state

    @property
    def answer(self) -> Any:
        """The answer of the rule in the trained entries, w in the others; None where the rule has none."""
        own = parts.answer_of(self.rule)
        return None if own is None else lambda phi, state, w: self._trained(own(phi, state, w), w)

    def check_phi(self, phi: Any, where: str) -> Tree:
        """Let the rule check the meta-parameters."""
        return parts.check_phi(self.rule, phi, where)

    def project(self, phi: Tree) -> Tree:
        """Let the rule bring the meta-parameters into its ranges."""
        return parts.project(self.rule, phi)

    def check_horizon(self, phi: Tree, steps: int, where: str) -> None:
        """Let the rule check the horizon."""
        parts.check_horizon(self.rule, phi, steps, where)

    def _trained(self, after: Tree, before: Tree) -> Tree:
        return tree_map(_kept, self._like(before), after, before)

    def _like(self, w: Tree) -> Tree:
        return self.mask if is_branch(self.mask) else tree_map(lambda _: self.mask, w)

    def _check_fits(self, w: Tree) -> None:
        def check(mask: Any, leaf: Any) -> Any:
            shape = getattr(mask, "shape", ())
            padded = (1,) * (leaf.ndim - len(shape)) + tuple(shape)
            if len(shape) > leaf.ndim or any(m not in (1, n) for m, n in zip(padded, leaf.shape, strict=True)):
                remedy = "Give one bool a coordinate, or one for the whole array."
                bad_value("Masked", "mask", f"of shape {shape}", f"one that fits an array of w, {leaf.shape}", remedy)
            return mask

        if paths(self._like(w)) != paths(w):
            came = f"a tree with {', '.join(paths(self.mask))}"
            bad_type("Masked", "mask", came, f"a tree like w, with {', '.join(paths(w)) or 'one array'}")
        tree_map(check, self._like(w), w)


def _or_zero(mask: Any, g: Any) -> Any:
    if not is_array(mask):
        return g if mask else zeros(g)
    return np.where(mask, g, 0.0)


def _kept(mask: Any, after: Any, before: Any) -> Any:
    if not is_array(mask):
        return after if mask else before
    return np.where(mask, after, before)
