"""Rules whose hyper-parameters follow a schedule of few parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad import parts
from metagrad.ad import tree_map
from metagrad.checks import shown
from metagrad.errors import bad_type, nearest
from metagrad.optimizers._fields import defaults_of, last_defaults, named
from metagrad.optimizers._schedules import Schedule
from metagrad.protocols import Rule, Tree, View
from metagrad.xp import namespace

_VALUES = ("start", "end")  # parameters of a schedule that are values of it, and all others lie between


@dataclass(frozen=True, init=False)
class Following:
    """The update rule `rule` with hyper-parameters that follow schedules: `Following(Momentum(), eta=Cosine())`.

    At time t of a run of T steps the rule has eta_t = schedule(phi, t, T), and all parameters of the schedule get
    their derivative, sum_t (d f/d eta_t) (d eta_t/d phi). `Phi` is that of the rule with the parameters of the schedule
    in the place of eta, under names that begin with it: eta_start, eta_end, mu. The time is that of the run, also in
    windows; t = 0 is the first step. The values of all steps must be in the range of the rule (ValueError, where the
    horizon is checked). A rule whose leaves lead with time is refused: write Scheduled(Following(rule, ...), fields).
    `Following(Unconstrained(rule), log_eta=...)` lets the coordinate follow, `Unconstrained(Following(rule, ...))` has
    coordinates of the parameters.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.Quadratic(np.eye(1), np.ones((1, 1)))
    >>> rule = mg.Following(mg.GradientDescent(), eta=mg.Polynomial())
    >>> found = mg.meta_gradient(task, rule, mg.Final(), rule.Phi(eta_start=0.5, eta_end=0.0, eta_power=1.0), steps=2)
    >>> [float(x.to_float().round(6)) for x in found.grad]
    [-0.375, -0.09375, 0.032491]
    """

    rule: Rule
    schedules: Mapping[str, Schedule]

    at = None  # the time is that of the view, inside of `step`
    entries = None

    class State(NamedTuple):
        """The state of the rule, and of the last step the time and the horizon, -1 where it is not known."""

        inner: Tree
        t: int
        steps: int

    def __init__(self, rule: Rule, /, **schedules: Schedule) -> None:
        """Bind the rule and the schedules, and check that they fit."""
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "schedules", schedules)
        parts.check_part("Following", "rule", rule, Rule)
        if parts.entries(rule) is not None:
            remedy = "Write Scheduled(Following(rule, ...), fields)."
            bad_type(
                "Following", "rule", f"a {type(rule).__name__}", "a rule whose meta-parameters have no entries", remedy
            )
        kind = parts.named_phi(rule)
        known = list(getattr(kind, "_fields", ()))
        if not known:
            came = f"a {type(rule).__name__}"
            bad_type("Following", "rule", came, "a rule whose `Phi` names its hyper-parameters")
        if not schedules:
            bad_type("Following", "schedules", "nothing", "at least one", "Write Following(rule, eta=Cosine()).")
        for name, schedule in schedules.items():
            if name not in known:
                came = f"one for {name!r} of a {type(rule).__name__}"
                bad_type("Following", "schedules", came, "names of its hyper-parameters", nearest(name, known))
            if isinstance(schedule, type) or not isinstance(schedule, Schedule):
                bad_type("Following", name, shown(schedule), "a schedule, such as Cosine()")

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every rule
        """The NamedTuple of the rule's hyper-parameters with those of the schedules in their places."""
        fields = tuple(name for field in parts.named_phi(self.rule)._fields for name in self._names(field))
        return named("Following", fields, last_defaults(fields, defaults_of(self.rule)))

    def _names(self, field: str) -> tuple[str, ...]:
        schedule = self.schedules.get(field)
        return (field,) if schedule is None else tuple(f"{field}_{name}" for name in schedule.Phi._fields)

    @property
    def homogeneous(self) -> bool:
        """Whether the rule is homogeneous."""
        return parts.is_homogeneous(self.rule)

    @property
    def decays(self) -> tuple[str, ...]:
        """Those of the rule that follow nothing."""
        return tuple(name for name in parts.decays(self.rule) if name not in self.schedules)

    def _values(self, phi: Any, t: int, steps: int | None) -> Any:
        """Return the hyper-parameters of the rule at time t."""
        found = {}
        for field in parts.named_phi(self.rule)._fields:
            own = [getattr(phi, name) for name in self._names(field)]
            schedule = self.schedules.get(field)
            found[field] = own[0] if schedule is None else schedule(schedule.Phi(*own), t, steps)
        return parts.named_phi(self.rule)(**found)

    def init(self, phi: Any, w: Tree) -> State:
        """Return the state of the rule with the hyper-parameters of the first step."""
        return Following.State(self.rule.init(self._values(phi, 0, None), w), 0, -1)

    def step(self, phi: Any, state: State, w: Tree, f: View) -> tuple[Tree, State]:
        """Take one step of the rule with the hyper-parameters of this time."""
        now = parts.at(self.rule, self._values(phi, f.t, f.steps), f.t)
        after, inner = self.rule.step(now, state.inner, w, f)
        return after, Following.State(inner, f.t, -1 if f.steps is None else f.steps)

    @property
    def answer(self) -> Any:
        """The answer of the rule with the hyper-parameters of the last step, None where it has none."""
        own = parts.answer_of(self.rule)
        if own is None:
            return None

        def answer(phi: Any, state: Following.State, w: Tree) -> Tree:
            steps = None if state.steps < 0 else state.steps
            return own(self._values(phi, state.t, steps), state.inner, w)

        return answer

    def check_phi(self, phi: Any, where: str) -> Any:
        """Return phi with what the schedules and the rule make of it; TypeError for another kind."""
        kind = self.Phi
        if not isinstance(phi, kind):
            remedy = f"Write rule.Phi({', '.join(f'{name}=...' for name in kind._fields)})."
            bad_type(where, "phi", f"a {type(phi).__name__}", f"Phi({', '.join(kind._fields)}) of Following", remedy)
        found = phi._asdict()
        for field, schedule in self.schedules.items():
            names = self._names(field)
            own = schedule.check_phi(
                schedule.Phi(*[found[name] for name in names]), f"{where}, the schedule of {field}"
            )
            found |= dict(zip(names, own, strict=True))
        # At the first step, and half-way: what leads out of the range is seen before the horizon is known.
        parts.check_phi(self.rule, self._values(kind(**found), 1, 2), f"{where}, half-way")
        checked = parts.check_phi(self.rule, self._values(kind(**found), 0, None), where)
        rest = {field: getattr(checked, field) for field in checked._fields if field not in self.schedules}
        return kind(**(found | rest))

    def project(self, phi: Any) -> Any:
        """Let the schedules and the rule bring their own into range; a `start` and an `end` are values of the rule."""
        found = phi._asdict()
        for field, schedule in self.schedules.items():
            names = self._names(field)
            own = parts.project(schedule, schedule.Phi(*[found[name] for name in names]))
            found |= dict(zip(names, own, strict=True))
        at_start = self._values(self.Phi(**found), 0, None)
        for field, schedule in self.schedules.items():
            for name, called in zip(self._names(field), schedule.Phi._fields, strict=True):
                if called in _VALUES:
                    held = parts.project(self.rule, at_start._replace(**{field: found[name]}))
                    found[name] = getattr(held, field)
        nearest = parts.project(self.rule, at_start)
        rest = {field: getattr(nearest, field) for field in nearest._fields if field not in self.schedules}
        return self.Phi(**(found | rest))

    def check_horizon(self, phi: Any, steps: int, where: str) -> None:
        """Let the rule check the smallest and the largest values of the run, and the horizon."""
        first = self._values(phi, 0, steps)
        low = {field: getattr(first, field) for field in self.schedules}
        high = dict(low)
        for t in range(1, steps):
            now = self._values(phi, t, steps)
            low = {field: _extreme("minimum", x, getattr(now, field)) for field, x in low.items()}
            high = {field: _extreme("maximum", x, getattr(now, field)) for field, x in high.items()}
        for reached in (low, high):
            parts.check_phi(self.rule, first._replace(**reached), f"{where}, in the course of {steps} steps")
        parts.check_horizon(self.rule, first, steps, where)


def _extreme(which: str, x: Tree, y: Tree) -> Tree:
    def of(a: Any, b: Any) -> Any:
        found = getattr(namespace(a, b), which)(a, b)
        return float(found) if isinstance(a, float) else found

    return tree_map(of, x, y)
