"""Runs that end where the parameters leave a ball: the truncation of Wang et al. 2021."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad import parts
from metagrad.ad import stop_gradient
from metagrad.checks import number, shown
from metagrad.errors import bad_type, bad_value
from metagrad.optimizers._norms import along, chosen
from metagrad.protocols import Rule, Tree, View
from metagrad.xp import Array, is_array, namespace


@dataclass(frozen=True)
class Stopped:
    """The update rule `rule` until ||w|| >= radius; from then on w = radius * direction, and its derivative is zero.

    So is that of the rule's answer, which is radius * direction too. What the rule would do to a task that has ended,
    also in the step at which it leaves, does not count, and be it infinite: it steps from radius * direction instead.

    `radius` > 0, `math.inf` for never; `direction` (d,) or (B, d), unit vectors in the dtype of the task, not needed
    where the radius is infinite. For tasks whose w is one array (B, d). The paper ends a run of training at 40 sigma,
    at a random unit vector: `Stopped.at_noise`. For a schedule write `Scheduled(Stopped(rule, ...))`.
    A wrong shape or value raises ValueError, a wrong kind TypeError. Source: Wang et al. 2021, section 4.

    >>> from metagrad.optimizers import GradientDescent
    >>> from metagrad.views import FixedGradient
    >>> rule = Stopped(GradientDescent(), 5.0, np.array([0.0, 1.0]))
    >>> w = np.array([[3.0, 0.0]])
    >>> phi = GradientDescent.Phi(1.0)
    >>> rule.step(phi, rule.init(phi, w), w, FixedGradient(-w))[0]
    array([[0., 5.]])
    """

    rule: Rule
    radius: float
    direction: Array | None = None

    class State(NamedTuple):
        """The state of the rule, and which runs have ended."""

        inner: Tree
        ended: Array  # (B,) bool

    def __post_init__(self) -> None:
        """Check the radius and the direction."""
        parts.check_part("Stopped", "rule", self.rule, Rule)
        if parts.changes_with_time(self.rule):
            bad_type("Stopped", "rule", f"a {type(self.rule).__name__}", "a rule without a schedule", _SCHEDULE)
        if not isinstance(self.radius, float) or math.isnan(self.radius) or self.radius <= 0:
            remedy = "Use math.inf for no truncation, Stopped.at_noise for the paper's 40 sigma."
            bad_value("Stopped", "radius", shown(self.radius), "a float above 0", remedy)
        if self.radius == math.inf:
            return
        u: Any = self.direction
        if not is_array(u) or u.dtype.kind != "f" or u.ndim not in (1, 2):
            bad_type("Stopped", "direction", f"a {type(u).__name__}", "a float array (d,) or (B, d) of unit vectors")
        norms = namespace(u).linalg.norm(u.astype(np.float64), axis=-1)
        if not bool((abs(norms - 1) <= 0.01).all()):
            bad_value("Stopped", "direction", f"of length {float(norms.max()):.4g}", "unit vectors", "Normalise it.")

    @classmethod
    def at_noise(cls, rule: Rule, sigma: float, direction: Array | None) -> Stopped:
        """Return the paper's rule: truncated at 40 sigma, and never for sigma = 0, where that would be at once."""
        sigma = number("Stopped.at_noise", "sigma", sigma, least=0.0, remedy="It is a standard deviation.")
        return cls(rule, 40.0 * sigma if sigma > 0 else math.inf, direction)

    @property
    def Phi(self) -> Any:  # noqa: N802 - a class, as the `Phi` of every rule
        """That of the rule."""
        return parts.named_phi(self.rule)

    @property
    def decays(self) -> tuple[str, ...]:
        """Those of the rule."""
        return parts.decays(self.rule)

    @property
    def homogeneous(self) -> bool:
        """Whether the rule is homogeneous and never truncated: a ball of a fixed radius is not."""
        return self.radius == math.inf and parts.is_homogeneous(self.rule)

    def init(self, phi: Tree, w: Tree) -> State:
        """Return the state of the rule; no run has ended."""
        inner = self.rule.init(phi, w)
        return Stopped.State(inner, namespace(stop_gradient(w)).zeros(w.shape[0], dtype=bool))

    def step(self, phi: Tree, state: State, w: Array, f: View) -> tuple[Array, State]:
        """Take one step of the rule, and end the runs that it takes out of the ball."""
        if self.direction is None or self.radius == math.inf:
            moved, inner = self.rule.step(phi, state.inner, w, f)
            return moved, Stopped.State(inner, state.ended)
        rim: Array = self.radius * self.direction
        moved, inner = self._moved(phi, state, state.ended, rim, w, f)
        # The norm in units of the radius: its square fits wherever the radius does.
        ended = state.ended | (np.sum((stop_gradient(moved) / self.radius) ** 2, axis=-1) >= 1)
        if bool((ended & ~state.ended).any()):
            moved, inner = self._moved(phi, state, ended, rim, w, f)
        return np.where(along(ended, moved), rim, moved), Stopped.State(inner, ended)

    def _moved(self, phi: Tree, state: State, ended: Array, rim: Array, w: Array, f: View) -> tuple[Array, Tree]:
        """Take one step of the rule; of the tasks that have ended it is the first one, from where they are put, `rim`.

        An adjoint of zero that meets an infinite number would be NaN: what is thrown away has to be finite too.
        """
        if not bool(ended.any()):
            moved, inner = self.rule.step(phi, state.inner, w, f)
            return moved, inner
        place = np.where(along(ended, w), rim, w)
        fresh = stop_gradient(self.rule.init(phi, place))
        moved, inner = self.rule.step(phi, chosen(ended, fresh, state.inner), place, f)
        return moved, chosen(ended, fresh, inner)

    @property
    def answer(self) -> Any:
        """The answer of the rule, w for tasks that have ended; None where the rule has none."""
        own = parts.answer_of(self.rule)
        if own is None:
            return None
        return lambda phi, state, w: chosen(state.ended, w, own(phi, state.inner, w))

    def check_phi(self, phi: Any, where: str) -> Tree:
        """Let the rule check the meta-parameters."""
        return parts.check_phi(self.rule, phi, where)

    def project(self, phi: Tree) -> Tree:
        """Let the rule bring the meta-parameters into its ranges."""
        return parts.project(self.rule, phi)

    def check_horizon(self, phi: Tree, steps: int, where: str) -> None:
        """Let the rule check the horizon."""
        parts.check_horizon(self.rule, phi, steps, where)


_SCHEDULE = "Write Scheduled(Stopped(rule, ...)) for Stopped(Scheduled(rule), ...)."
