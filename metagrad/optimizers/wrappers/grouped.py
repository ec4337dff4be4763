"""Arrays of w in groups, each with an update rule of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metagrad import parts
from metagrad.ad import is_branch, leaves, paths, unflatten
from metagrad.checks import function, shown
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.protocols import Rule, Tree, View
from metagrad.xp import Array


@dataclass(frozen=True)
class Grouped:
    """The arrays of w in groups: each rule steps on the list of its own arrays, all at the same w.

    `rules`: {name of a group: its rule}. `label`: a tree like w of names, or a function from the path of an array, such
    as "['head']['W']" (`metagrad.ad.paths`), to the name of its group. phi is {name: meta-parameters of that rule}, and
    so is the state. What a rule asks at other parameters than w, it is told with the arrays of the other groups where
    they are. A group without arrays and a name without a group are ValueErrors, before the first step; a rule whose
    leaves lead with time is refused (TypeError).

    >>> import numpy as np, metagrad as mg
    >>> rule = mg.Grouped({"slow": mg.GradientDescent(), "fast": mg.Momentum()}, {"W": "slow", "b": "fast"})
    >>> phi = {"slow": mg.GradientDescent.Phi(0.1), "fast": mg.Momentum.Phi(0.5)}
    >>> w = {"W": np.ones((1, 2)), "b": np.ones((1, 1))}
    >>> rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(w))[0]
    {'W': array([[0.9, 0.9]]), 'b': array([[0.5]])}
    """

    rules: Mapping[str, Rule]
    label: Tree | Callable[[str], str]

    at = None  # what a rule makes of its own meta-parameters at time t, it makes inside of `step`
    entries = None

    def __post_init__(self) -> None:
        """Check the rules."""
        given: Any = self.rules
        if not isinstance(given, Mapping) or not given or not all(isinstance(name, str) for name in given):
            bad_type("Grouped", "rules", shown(given), "a dict from names of groups to rules")
        if callable(self.label):
            function("Grouped", "label", self.label, 1, "a tree like w of names, or a function of a path")
        for name, rule in given.items():
            parts.check_part("Grouped", f"rules[{name!r}]", rule, Rule)
            if parts.entries(rule) is not None:
                came, expected = f"a {type(rule).__name__}", "a rule whose meta-parameters have no entries"
                bad_type(
                    "Grouped", f"rules[{name!r}]", came, expected, "Let it follow a schedule: Following(rule, ...)."
                )

    def _places(self, w: Tree) -> dict[str, list[int]]:
        """Return which arrays of w, in the order of leaves, are in each group."""
        found = paths(w)
        names = [self.label(path) for path in found] if callable(self.label) else leaves(self.label)
        if not callable(self.label) and paths(self.label) != found:
            came = f"a tree with {', '.join(paths(self.label))}"
            bad_type("Grouped", "label", came, f"a tree like w, with {', '.join(found) or 'one array'}")
        for path, name in zip(found, names, strict=True):
            if name not in self.rules:
                known = nearest(str(name), list(self.rules))
                bad_value("Grouped", "label", f"{name!r} for w{path}", "the name of a group", known)
        places = {group: [k for k, name in enumerate(names) if name == group] for group in self.rules}
        empty = [group for group, own in places.items() if not own]
        if empty:
            bad_value("Grouped", "label", f"one without {', '.join(empty)}", "at least one array for each group")
        return places

    @property
    def homogeneous(self) -> bool:
        """Whether all rules are homogeneous."""
        return all(parts.is_homogeneous(rule) for rule in self.rules.values())

    def init(self, phi: dict[str, Tree], w: Tree) -> dict[str, Tree]:
        """Return the state of each rule; an error where the label does not fit w."""
        flat, places = leaves(w), self._places(w)
        return {name: rule.init(phi[name], [flat[k] for k in places[name]]) for name, rule in self.rules.items()}

    def step(self, phi: dict[str, Tree], state: dict[str, Tree], w: Tree, f: View) -> tuple[Tree, dict[str, Tree]]:
        """Take one step of each rule from w."""
        flat, after, states = leaves(w), leaves(w), {}
        g = leaves(f.gradient(w))
        for name, own in self._places(w).items():
            mine = [flat[k] for k in own]
            now = parts.at(self.rules[name], phi[name], f.t)
            moved, states[name] = self.rules[name].step(now, state[name], mine, _Part(f, w, own, mine, g))
            for k, leaf in zip(own, leaves(moved), strict=True):
                after[k] = leaf
        return unflatten(w, after), states

    @property
    def answer(self) -> Any:
        """The answers of the rules that have one, w elsewhere; None where none has one."""
        answers = {name: own for name, rule in self.rules.items() if (own := parts.answer_of(rule)) is not None}
        if not answers:
            return None

        def answer(phi: dict[str, Tree], state: dict[str, Tree], w: Tree) -> Tree:
            flat, places = leaves(w), self._places(w)
            found = list(flat)
            for name, own in answers.items():
                at = own(phi[name], state[name], [flat[k] for k in places[name]])
                for k, leaf in zip(places[name], leaves(at), strict=True):
                    found[k] = leaf
            return unflatten(w, found)

        return answer

    def check_phi(self, phi: Any, where: str) -> dict[str, Tree]:
        """Return phi with what each rule makes of its own; TypeError unless it is a dict of the groups."""
        if not isinstance(phi, dict) or set(phi) != set(self.rules):
            came = f"a dict of {', '.join(map(str, phi))}" if isinstance(phi, dict) else f"a {type(phi).__name__}"
            bad_type(where, "phi", came, f"a dict with the groups {', '.join(self.rules)}")
        return {name: parts.check_phi(rule, phi[name], f"{where}, group {name!r}") for name, rule in self.rules.items()}

    def project(self, phi: dict[str, Tree]) -> dict[str, Tree]:
        """Let each rule bring its own meta-parameters into its ranges."""
        return {name: parts.project(rule, phi[name]) for name, rule in self.rules.items()}

    def check_horizon(self, phi: dict[str, Tree], steps: int, where: str) -> None:
        """Let the rules check the horizon."""
        for name, rule in self.rules.items():
            parts.check_horizon(rule, phi[name], steps, f"{where}, group {name!r}")


class _Part:
    """The task as a function of the arrays of one group, the others where they are."""

    __slots__ = ("_f", "_g", "_mine", "_places", "_w", "steps", "t")

    def __init__(self, f: View, w: Tree, places: list[int], mine: list[Array], g: list[Array]) -> None:
        """Bind the view, w, the places of the group in it, its arrays, and the gradient at w."""
        self._f, self._w, self._places, self._mine, self._g = f, w, places, mine, g
        self.t, self.steps = f.t, f.steps

    def __call__(self, w: Tree) -> Array:
        """Return the loss with the arrays w in the group."""
        return self._f(self._whole(w))

    def gradient(self, w: Tree) -> Tree:
        """Return the gradient in the arrays of the group; at w it is known."""
        g = self._g if w is self._mine else leaves(self._f.gradient(self._whole(w)))
        return [g[k] for k in self._places]

    def ask(self, question: Any, w: Tree) -> Tree:
        """Return what the view answers for the whole w, and of a tree like w the part of the group."""
        answer = self._f.ask(question, self._whole(w))
        if not is_branch(answer) or paths(answer) != paths(self._w):
            return answer
        flat = leaves(answer)
        return [flat[k] for k in self._places]

    def _whole(self, own: Tree) -> Tree:
        flat = leaves(self._w)
        for k, leaf in zip(self._places, leaves(own), strict=True):
            flat[k] = leaf
        return unflatten(self._w, flat)
