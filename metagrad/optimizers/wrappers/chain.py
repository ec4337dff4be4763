"""Transformations of the gradient and of the step around a rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

from metagrad import parts
from metagrad.errors import bad_type, bad_value
from metagrad.optimizers._fields import as_of, defaults_of, fields_of, last_defaults, named
from metagrad.protocols import Rule, Tree, View
from metagrad.views import ChangedGradient


@runtime_checkable
class Transformation(Protocol):
    """What stands between a task and a rule, with meta-parameters of its own and without a state.

    `Phi`: the NamedTuple of the meta-parameters; `homogeneous`: whether scaling w and the gradient by s > 0 scales what
    it returns by s. Both methods are NumPy-style code and are differentiated through. Optional: `project(phi)`, as of a
    rule.
    """

    Phi: Any
    homogeneous: bool

    def gradient(self, phi: Any, f: View, w: Tree) -> Tree:
        """Return the gradient at w that is shown further inside; that of the task is `f.gradient(w)`."""
        ...

    def moved(self, phi: Any, before: Tree, after: Tree) -> Tree:
        """Return the next w from that of the rule, `after`, and w, `before`."""
        ...

    def check_phi(self, phi: Any, where: str) -> Any:
        """Return phi, completed and checked, or raise."""
        ...


@dataclass(frozen=True, init=False)
class Chain:
    """The update rule `rule` behind transformations, the first of which is next to the task.

    With f_0 the task, f_i shows the gradient that transformation i makes of f_{i-1}'s; the rule steps on the last,
    and of its step each transformation makes its own, the last one first.

    `Phi` has the meta-parameters of the transformations, in their order, and then those of the rule, side by side;
    where the rule has no `Phi` of named ones, they are its field `rule`. The state is that of the rule. So
    `Unconstrained(Chain(...))`, `Following(Chain(...), max_norm=...)` and `Scheduled(Chain(...), ("eta",))` work. A
    rule whose leaves lead with time is refused (TypeError): schedule the chain. ValueError for two fields of one name.

    >>> import numpy as np, metagrad as mg
    >>> rule = mg.Chain(mg.ClipByNorm(), mg.WeightDecay(), rule=mg.GradientDescent())
    >>> phi = rule.Phi(max_norm=1.0, weight_decay=0.1, eta=0.5)
    >>> w = np.array([[3.0, 4.0]])
    >>> rule.step(phi, rule.init(phi, w), w, mg.FixedGradient(w))[0]
    array([[2.4, 3.2]])
    """

    transformations: tuple[Any, ...]
    rule: Rule

    at = None  # what a rule makes of its own meta-parameters at time t, it makes inside of `step`
    entries = None

    def __init__(self, *transformations: Any, rule: Rule) -> None:
        """Bind the transformations and the rule, and check that their meta-parameters have names of their own."""
        object.__setattr__(self, "transformations", transformations)
        object.__setattr__(self, "rule", rule)
        for part in transformations:
            _check_part(part)
        parts.check_part("Chain", "rule", rule, Rule)
        if parts.entries(rule) is not None:
            remedy = "Write Scheduled(Chain(..., rule=rule), fields)."
            bad_type(
                "Chain", "rule", f"a {type(rule).__name__}", "a rule whose meta-parameters have no entries", remedy
            )
        fields = self._fields()
        twice = sorted({name for name in fields if fields.count(name) > 1})
        if twice:
            remedy = "Leave one of them out, or write a transformation whose `Phi` has other names."
            bad_value("Chain", "transformations", f"several with {', '.join(twice)}", "one field of each name", remedy)

    def _fields(self) -> tuple[str, ...]:
        return (*[name for part in self.transformations for name in part.Phi._fields], *fields_of(self.rule))

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every rule
        """The NamedTuple of all meta-parameters: those of the transformations, then those of the rule."""
        defaults = [defaults_of(part) for part in (*self.transformations, self.rule)]
        fields = self._fields()
        return named("Chain", fields, last_defaults(fields, {k: v for d in defaults for k, v in d.items()}))

    @property
    def homogeneous(self) -> bool:
        """Whether the rule and all transformations are homogeneous."""
        return parts.is_homogeneous(self.rule) and all(part.homogeneous for part in self.transformations)

    @property
    def decays(self) -> tuple[str, ...]:
        """Those of the rule."""
        return parts.decays(self.rule)

    def _split(self, phi: Any) -> tuple[list[Any], Any]:
        """Return the meta-parameters of each transformation, and those of the rule."""
        found, start = [], 0
        for part in self.transformations:
            stop = start + len(part.Phi._fields)
            found.append(part.Phi(*phi[start:stop]))
            start = stop
        return found, as_of(self.rule, tuple(phi[start:]))

    def init(self, phi: Any, w: Tree) -> Tree:
        """Return the state of the rule."""
        return self.rule.init(self._split(phi)[1], w)

    def step(self, phi: Any, state: Tree, w: Tree, f: View) -> tuple[Tree, Tree]:
        """Take one step of the rule on what the transformations show it, and let them change it."""
        own, inner = self._split(phi)
        seen: View = f
        for part, p in zip(self.transformations, own, strict=True):
            seen = ChangedGradient(seen, partial(part.gradient, p, seen))
        after, state = self.rule.step(parts.at(self.rule, inner, f.t), state, w, seen)
        for part, p in reversed(list(zip(self.transformations, own, strict=True))):
            after = part.moved(p, w, after)
        return after, state

    @property
    def answer(self) -> Any:
        """The answer of the rule, None where it has none."""
        own = parts.answer_of(self.rule)
        return None if own is None else lambda phi, state, w: own(self._split(phi)[1], state, w)

    def check_phi(self, phi: Any, where: str) -> Any:
        """Return phi with what each part makes of its own; TypeError for another kind, their errors for theirs."""
        kind = self.Phi
        if not isinstance(phi, kind):
            remedy = f"Write rule.Phi({', '.join(f'{name}=...' for name in kind._fields)})."
            bad_type(where, "phi", f"a {type(phi).__name__}", f"Phi({', '.join(kind._fields)}) of the Chain", remedy)
        own, inner = self._split(phi)
        checked = [part.check_phi(p, where) for part, p in zip(self.transformations, own, strict=True)]
        return self._joined(checked, parts.check_phi(self.rule, inner, where))

    def project(self, phi: Any) -> Any:
        """Let each part bring its own meta-parameters into its ranges."""
        own, inner = self._split(phi)
        nearest = [parts.project(part, p) for part, p in zip(self.transformations, own, strict=True)]
        return self._joined(nearest, parts.project(self.rule, inner))

    def _joined(self, own: list[Any], inner: Any) -> Any:
        is_named = hasattr(parts.named_phi(self.rule), "_fields")
        return self.Phi(*[x for p in own for x in p], *(inner if is_named else [inner]))

    def check_horizon(self, phi: Any, steps: int, where: str) -> None:
        """Let the rule check the horizon."""
        parts.check_horizon(self.rule, self._split(phi)[1], steps, where)


def _check_part(part: Any) -> None:
    if isinstance(part, type):
        came, remedy = f"the class {part.__name__}", f"Write {part.__name__}()."
        bad_type("Chain", "transformations", came, "instances", remedy)
    if not isinstance(part, Transformation):
        came = f"a {type(part).__name__} without {', '.join(parts.missing(part, Transformation))}"
        remedy = "The rule comes last: Chain(..., rule=...)." if isinstance(part, Rule) else ""
        bad_type("Chain", "transformations", came, "transformations of the gradient, such as ClipByNorm()", remedy)
