"""Meta-parameters of their own for every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metagrad.ad import tree_map
from metagrad.errors import bad_value
from metagrad.protocols import Optimizer, Tree


@dataclass(frozen=True)
class Scheduled:
    """The update rule `rule` with its own meta-parameters at every step: all leaves of phi lead with T.

    `Scheduled(GradientDescent())` takes eta of shape (T,) for a schedule, or (T, d) for one a coordinate as well.
    """

    rule: Optimizer

    @property
    def homogeneous(self) -> bool:
        """Whether the rule is homogeneous."""
        return bool(getattr(self.rule, "homogeneous", False))

    def init(self, w: Tree) -> Tree:
        """Return the state of the rule."""
        return self.rule.init(w)

    def at(self, phi: Tree, t: int) -> Tree:
        """Return the meta-parameters of step t: the leaves' entries t."""
        return tree_map(lambda leaf: leaf[t], phi)

    def step(self, phi: Tree, state: Tree, w: Tree, g: Tree) -> tuple[Tree, Tree]:
        """Take one step of the rule with the meta-parameters of this step."""
        return self.rule.step(phi, state, w, g)

    def check_phi(self, phi: Any, where: str) -> Tree:
        """Let the rule check the meta-parameters."""
        check = getattr(self.rule, "check_phi", None)
        return phi if check is None else check(phi, where)

    def check_horizon(self, phi: Tree, steps: int, where: str) -> None:
        """Raise unless every leaf of phi has an entry for each of the `steps` steps."""

        def check(leaf: Any) -> Any:
            length = leaf.shape[0] if getattr(leaf, "ndim", 0) else None
            if length != steps:
                came = "a number" if length is None else f"an array of {length} steps"
                bad_value(where, "phi", came, f"{steps} entries along the first axis", "Give one for each step.")
            return leaf

        tree_map(check, phi)
