"""What an objective looks at along a run: the measure at one time, as plain numbers, by the tape, or by a program.

It depends on w alone, unless the task has meta-parameters of its own, other than a learned start, or the rule an
`answer`: then it is `joint`, a function of phi and of the state of the rule too.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.errors import bad_type, bad_value
from metagrad.measures import Loss, is_of_ours
from metagrad.protocols import Joint, Measure, Task, Tree
from metagrad.replay import ReplayJointTerms, ReplayTerms
from metagrad.system import Training
from metagrad.unroll.carry import Carry
from metagrad.unroll.purity import check_sample, difference, refuse
from metagrad.xp import Array


class Measured:
    """The measure of one task at the times of an unroll, which begins `offset` later in the run."""

    def __init__(self, system: Training, measure: Measure, phi: Tree, offset: int) -> None:
        """Bind the parts."""
        self.system, self.measure, self.phi, self._offset = system, measure, phi, offset
        self.task, self.joint = system.given(phi), isinstance(phi, Joint)
        if system.under_start is not None and is_of_ours(measure):
            self.task, self.joint = system.under_start, False
        self.joint = self.joint or parts.answer_of(system.rule) is not None
        self.begins_in_phi = self.joint or isinstance(phi, Joint)  # whether it owes phi something at time 0
        self.terms: ReplayTerms | None = None  # programs, where there are some
        self._is_by_tape: bool | None = False

    def take_the_tape(self) -> None:
        """Let values come from where their slopes do, on the host: NumPy's functions may round them in another order.

        Else one measure would have two values, and a program would have to compute both.
        """
        self._is_by_tape = None if self.system.xp is np else False  # None: found out at the first term

    def sample(self, t: int) -> Any:
        """Return the randomness of time t."""
        return self.system.sample(self._offset + t)

    def phi_at(self, t: int) -> Tree:
        """Return the meta-parameters beside which the state at t stands: those of the step that made it."""
        return self.system.phi_at(self.phi, max(0, self._offset + t - 1)) if self.joint else self.phi

    def at(self, carry: Carry, t: int) -> Array:
        """Return what is measured at time t."""
        if self.terms is not None:
            return self.terms.value(t, *((self.phi_at(t), carry.w, carry.state) if self.joint else (carry.w,)))
        if self.joint and self._is_by_tape is not False:
            return self.valued_jointly(self.phi_at(t), carry.w, carry.state, self.sample(t))
        if self.joint or self._is_by_tape is False:
            return _own(self.of(self.phi_at(t), carry.w, carry.state, t))
        return self.valued(carry.w, self.sample(t))

    def of(self, phi: Tree, w: Tree, state: Tree, t: int) -> Array:
        """Return what is measured at time t as a function of what stands there."""
        if not self.joint:
            return self.measure.of(self.task, w, self.sample(t))
        return self.jointly(phi, w, state, self.sample(t))

    def jointly(self, phi: Tree, w: Tree, state: Tree, sample: Any) -> Array:
        """Return what is measured as a function of what stands there, and of the sample; where it is joint."""
        task, answer = self.system.measured(phi, w, state)
        return self.measure.of(task, answer, sample)

    def valued_jointly(self, phi: Tree, w: Tree, state: Tree, sample: Any) -> Array:
        """Return the same by the tape, where its slope is."""
        if self._is_by_tape is False:
            return _own(self.jointly(phi, w, state, sample))
        try:
            return _own(ad.recorded(lambda p, u, s: self.jointly(p, u, s, sample), phi, w, state).out)
        except (TypeError, ValueError):  # it has no slope, and need not have one where nobody asks for it
            self._is_by_tape = False
            return _own(self.jointly(phi, w, state, sample))

    def on(self, task: Task) -> Measured:
        """Return the same measure of another task of the same kind."""
        moved = copy.copy(self)
        moved.system, moved.task = self.system.on(task), task
        return moved

    def of_w(self, w: Tree, sample: Any) -> Array:
        """Return what is measured at w, as its code has it; where it is not joint."""
        return self.measure.of(self.task, w, sample)

    def near(self, sample: Any) -> Any:
        """Return the sample to try a program with, beside the one that it was recorded with."""
        return sample

    def valued(self, w: Tree, sample: Any) -> Array:
        """Return what is measured at w, by the tape where its slope is the tape's."""
        if self._takes_the_tape(w, sample):
            try:
                found: Array = ad.recorded(lambda u: self.measure.of(self.task, u, sample), w).out
                return _own(found)
            except (TypeError, ValueError):  # it has no slope, and need not have one where nobody asks for it
                self._is_by_tape = False
        return _own(self.measure.of(self.task, w, sample))

    def _takes_the_tape(self, w: Tree, sample: Any) -> bool:
        if self._is_by_tape is None:
            self._is_by_tape = self.measure.gradient(self.task, w, sample) is None
        return self._is_by_tape

    def slope(self, w: Tree, sample: Any) -> Tree:
        """Return the gradient of what is measured at w: the measure's own where it has one, else the tape's."""
        own = self.measure.gradient(self.task, w, sample)
        if own is not None:
            return own
        losses = ad.recorded(lambda u: self.measure.of(self.task, u, sample), w)
        return losses(np.ones_like(losses.out))[0]

    def recorded(self, carry: Carry, t: int) -> ad.Pullback:
        """Return the pullback to w of what is measured at time t, with all that was recorded."""
        return ad.recorded(lambda w: self.of(self.phi_at(t), w, carry.state, t), carry.w)

    def pulled_jointly(self, carry: Carry, t: int, ones: Array) -> tuple[Array | None, Any]:
        """Return what is measured at time t, unless it need not be computed, and its pullback.

        That gives a cotangent's to phi, and the gradients of each task in w and in the state; `ones`, (B,).
        """
        at = self.phi_at(t), carry.w, carry.state
        known = self.terms.jointly(t, *at) if isinstance(self.terms, ReplayJointTerms) else None
        if known is not None:
            return None, known
        found, pull = ad.vjp(lambda p, u, s: self.of(p, u, s, t), *at)
        return found, lambda cotangent: (pull(cotangent, wrt=(0,))[0], *pull(ones, wrt=(1, 2))[1:])

    def tangents(self, carry: Carry, t: int, d_phi: Tree, tangent: tuple[Tree, Tree]) -> tuple[Array, Array, Array]:
        """Return what is measured at time t, what the tangent of (w, state) adds to it, and what that of phi adds."""
        at = self.phi_at(t), carry.w, carry.state
        known = self.terms.tangents(t, *at, d_phi, tangent) if isinstance(self.terms, ReplayJointTerms) else None
        if known is not None:
            return known
        phi, w, state = at
        found, along = ad.jvp(lambda u, s: self.of(phi, u, s, t), (w, state), tangent)
        _, beside = ad.jvp(lambda p: self.of(p, w, state, t), (phi,), (d_phi,))
        return found, along, beside

    def gradient(self, w: Tree) -> Tree:
        """Return the gradient of the loss of a task that is not random, by a program where there is one."""
        may_replay = type(self.measure) is Loss and self.terms is not None and self._takes_the_tape(w, None)
        found = self.terms.gradient(w) if self.terms is not None and may_replay else None
        return parts.gradient(self.task, w, None) if found is None else found

    def check(self, found: Array, batch: int, dtype: Any) -> None:
        """Raise unless what the measure returned is one number a task."""
        where = f"the measure {self.measure.name!r} of {type(self.task).__name__}"
        if getattr(found, "shape", None) != (batch,):
            remedy = "Sum over the last axes only, and keep the task axis."
            bad_value(where, "what it returns", f"of shape {np.shape(found)}", f"one a task, ({batch},)", remedy)
        if found.dtype != dtype:
            remedy = "Convert the data of the task to the dtype of its parameters."
            bad_type(where, "what it returns", f"of {found.dtype} for w of {dtype}", "one dtype", remedy)

    def look_again(self, carry: Carry, t: int, known: Array) -> None:
        """Raise ValueError where the measure, taken a second time, is not what is known."""
        again = self.of(self.phi_at(t), carry.w, carry.state, t)
        if difference(again, known, known) > 1:
            check_sample(self.system, self._offset + t)
            where = f"the measure {self.measure.name!r} of {type(self.task).__name__}"
            refuse(where, f"another result at time {self._offset + t} when it was taken again at the same place")


def _own(found: Any) -> Any:
    """Return what was measured in memory of its own: a user's code may write the next number into the same array."""
    return found.copy() if type(found) is np.ndarray else found
