"""Meta-parameters of their own for every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metagrad import parts
from metagrad.ad import tree_map
from metagrad.checks import shown
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.protocols import Rule, Tree, View


@dataclass(frozen=True)
class Scheduled:
    """The update rule `rule` with its own meta-parameters at every step: leaves of phi lead with T.

    `Scheduled(GradientDescent())` takes eta of shape (T,) for a schedule, or (T, d) for one a coordinate as well.
    `fields`: the names of those that have an entry for every step; None for all. `Scheduled(Momentum(), ("eta",))`
    takes eta of shape (T,) and one mu for all steps. TypeError for a name that the rule has not.
    """

    rule: Rule
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the rule and the names."""
        parts.check_part("Scheduled", "rule", self.rule, Rule)
        if parts.entries(self.rule) is not None:
            remedy = "Name all fields that lead with time in one Scheduled."
            bad_type("Scheduled", "rule", _named(self.rule), "a rule without a schedule", remedy)
        if parts.changes_with_time(self.rule):
            came = f"{_named(self.rule)}, which has an `at` of its own"
            bad_type("Scheduled", "rule", came, "a rule without one", "Let its `at` take the entries of step t.")
        if self.fields is None:
            return
        fields: Any = self.fields
        if isinstance(fields, str) or not isinstance(fields, Sequence):
            remedy = "Write ('eta',) for a single one."
            bad_type("Scheduled", "fields", shown(fields), "a tuple of names, or None for all", remedy)
        kind = parts.named_phi(self.rule)
        known = list(kind._fields) if kind is not None else []
        for name in self.fields:
            if name not in known:
                came = f"{name!r} for a {type(self.rule).__name__}"
                bad_type("Scheduled", "fields", came, "names of its meta-parameters", nearest(str(name), known))

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every rule
        """That of the rule."""
        return parts.named_phi(self.rule)

    @property
    def entries(self) -> tuple[str, ...] | bool:
        """The fields that lead with time, True for all."""
        return True if self.fields is None else self.fields

    @property
    def homogeneous(self) -> bool:
        """Whether the rule is homogeneous."""
        return parts.is_homogeneous(self.rule)

    def init(self, phi: Tree, w: Tree) -> Tree:
        """Return the state of the rule with the meta-parameters of the first step."""
        return self.rule.init(self.at(phi, 0), w)

    def at(self, phi: Tree, t: int) -> Tree:
        """Return the meta-parameters of step t: the leaves' entries t."""
        if self.fields is None:
            return tree_map(lambda leaf: leaf[t], phi)
        led = {name: tree_map(lambda leaf: leaf[t], getattr(phi, name)) for name in self.fields}
        return phi._replace(**led)

    def step(self, phi: Tree, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Take one step of the rule with the meta-parameters of this step."""
        return self.rule.step(phi, state, w, f)

    @property
    def answer(self) -> Any:
        """The answer of the rule, None where it has none."""
        return parts.answer_of(self.rule)

    def check_phi(self, phi: Any, where: str) -> Tree:
        """Let the rule check the meta-parameters."""
        return parts.check_phi(self.rule, phi, where)

    def project(self, phi: Tree) -> Tree:
        """Let the rule bring the meta-parameters into its ranges."""
        return parts.project(self.rule, phi)

    def check_horizon(self, phi: Tree, steps: int, where: str) -> None:
        """Raise unless every leaf that leads with time has an entry for each of the `steps` steps.

        The rule checks the meta-parameters of the first step.
        """

        def check(leaf: Any) -> Any:
            length = leaf.shape[0] if getattr(leaf, "ndim", 0) else None
            if length != steps:
                came = "a number" if length is None else f"an array of {length} steps"
                bad_value(where, "phi", came, f"{steps} entries along the first axis", "Give one for each step.")
            return leaf

        for led in [phi] if self.fields is None else [getattr(phi, name) for name in self.fields]:
            tree_map(check, led)
        parts.check_horizon(self.rule, self.at(phi, 0), steps, where)


def _named(rule: Any) -> str:
    """Return what the rule is, and which rule inside of it has the `at` that it passes on."""
    inner, name = rule, f"a {type(rule).__name__}"
    while (held := parts.inner_rule(inner)) is not None and parts.changes_with_time(held):
        inner = held
    return name if inner is rule else f"{name} around a {type(inner).__name__}"
