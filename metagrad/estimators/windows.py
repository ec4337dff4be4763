"""Truncated backpropagation: the horizon in windows, each with what came before it held constant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import Status
from metagrad.protocols import Digits, Estimate, GradientKind, Joint, Objective, Position, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.transforms import Shared, shared_weight
from metagrad.unroll.backward import backward, left_out, those_that_stayed
from metagrad.unroll.carry import Ask, Diverged, Options, Rescue, Scaling, check_options
from metagrad.unroll.neighbours import with_trust
from metagrad.unroll.purity import difference, refuse, same
from metagrad.unroll.replay_sweep import forwards
from metagrad.unroll.rescale import shift
from metagrad.unroll.rescue import fell_out, rescued
from metagrad.unroll.steps import StepKernel, TapeStep
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace


@dataclass(frozen=True)
class Windows:
    """d objective/d phi as the sum over windows of `window` steps, each of which holds its start constant.

    The value is that of the whole run. A gradient reaches back at most `window` steps: it is biased, and its variance
    and size stay small where the whole one explodes (Williams and Peng 1990; Andrychowicz et al. 2016). With
    `window` >= T it is that of `reverse`, bit for bit. Windows are counted from the start; the last takes what is left.
    The exponents of a state survive from one window to the next. The start w_0 of a learned start reaches the first
    window only, and `report` says so.

    The other options are those of `Reverse`, for each window. The run is taken forwards once more, because what a
    window adds to the objective is only known at the end. ValueError unless `window` is at least 1.
    """

    window: int
    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
    memory: int | str = 1 << 30
    fused: bool = True
    diverged: Diverged = "keep"
    rescue: Rescue = "auto"
    trust: bool | int = False

    def __post_init__(self) -> None:
        """Check the window and the options."""
        object.__setattr__(self, "window", checks.count("Windows", "window", self.window))
        check_options("Windows", self)

    def __call__(
        self,
        task: Task,
        rule: Rule,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        at: Position | None = None,
        run: int | None = None,
    ) -> Estimate:
        """Return the value and the truncated meta-gradient after `steps` steps; `at` and `run` as in `Reverse`."""
        options = Options(self.gradient, self.scaling, self.per_task, self.diverged, rescue=self.rescue)
        ask = Ask(task, rule, objective, phi, steps, seed, at, run)
        return with_trust(partial(self._run, ask), ask, options, self.trust)

    def _run(self, ask: Ask, options: Options) -> Estimate:
        if self.window >= ask.steps:
            return backward(ask, options, "windows", memory=int(self.memory), fused=self.fused)
        ask = replace(ask, run=ask.horizon)
        found = self._rescued(ask, options)
        kept = those_that_stayed(found, options)
        if kept is None:
            return found
        again = self._summed(ask, replace(options, diverged="keep", rescue="never"), kept)
        return replace(found, grad=again.grad, notes=(*again.notes, left_out(again, kept)))

    def _rescued(self, ask: Ask, options: Options) -> Estimate:
        """Return the sum over the windows; again, with an exponent beside every entry, where one of them needs it."""

        def again(ask: Ask, options: Options) -> tuple[Unroll, Estimate]:
            return Unroll(ask, options, "windows"), self._summed(ask, replace(options, diverged="keep", rescue="never"))

        unroll, found = again(ask, options)
        return rescued(unroll, found, again=again, need=fell_out(found.status))

    def _summed(self, ask: Ask, options: Options, kept: Array | None = None) -> Estimate:
        """Return the sum over the windows; of the tasks that are kept, if that is given."""
        objective, steps = ask.objective, ask.steps
        cuts = [(lo, min(self.window, steps - lo)) for lo in range(0, steps, self.window)]
        weighed = [_Part(objective, lo, steps).weighs(count) for lo, count in cuts]
        if not any(weighed):
            weighed[-1] = True  # the sweep says that nothing has a weight
        run, again = _Forwards(cuts[weighed.index(True)][0]), partial(Unroll, ask, options, "windows")
        with np.errstate(all="ignore"):
            _, seen = forwards(again(), run, again=again, may_replay=self.fused)
        position, slope = run.position, run.slope
        found: list[tuple[int, Estimate]] = []
        for (lo, count), has_weight in zip(cuts, weighed, strict=True):
            part = _Part(objective, lo, steps, slope)
            window = replace(ask, objective=part, steps=count, at=position)
            if has_weight:
                estimate = backward(window, options, "windows", memory=int(self.memory), fused=self.fused, kept=kept)
                found.append((lo, estimate))
                position = estimate.end
            elif found:  # nothing is measured here: only go on
                position = _onwards(Unroll(window, options, "windows"))
        is_first = not options.wide and not options.copy and kept is None
        if is_first and parts.foreign(ask.rule) is not None:  # both times by the tape: the same bits
            _check_end(ask.rule, seen.end, position)
        grad = found[0][1].grad
        for _, estimate in found[1:]:
            grad = ad.tree_map(lambda a, b: a + b, grad, estimate.grad)
        status, step = _first_trouble(seen, found)
        noted = dict.fromkeys(note for _, estimate in found for note in estimate.notes if "held constant" not in note)
        notes = (*self._notes(ask.phi, ask.at), *noted)
        digits, growth = _digits(seen, [estimate for _, estimate in found])
        said = _said(seen, [estimate for _, estimate in found])
        return replace(
            seen, grad=grad, status=status, status_step=step, notes=notes, digits=digits, growth=growth, replay=said
        )

    def _notes(self, phi: Tree, at: Position | None) -> tuple[str, ...]:
        if not isinstance(phi, Joint) or phi.task is None:
            return ()
        reached = "no window" if at is not None else "the first window alone"
        return (
            f"Each window of {self.window} steps holds its start constant: what the run's start owes to the task's "
            f"meta-parameters reaches {reached}.",
        )


class _Forwards:
    """The whole run forwards: the value, where it stands at `lo`, and the objective's derivative in its sum."""

    def __init__(self, lo: int) -> None:
        self._lo = lo
        self.position: Position | None = None
        self.slope: Scaled

    def __call__(self, unroll: Unroll, kernel: StepKernel) -> Estimate:
        """Return the estimate without a gradient."""
        lo = self._lo
        unroll.tally.measured.take_the_tape()
        carry = unroll.advance(kernel, unroll.start(), 0, lo)
        self.position = unroll.position(carry, lo) if lo else unroll.ask.at
        unroll.advance(kernel, carry, lo, unroll.steps)
        value, self.slope = unroll.tally.finish()
        return unroll.estimate(value, None)


def _check_end(rule: Rule, seen: Position | None, arrived: Position | None) -> None:
    """Raise ValueError where the run, taken window by window, ended elsewhere than when it was taken as a whole."""
    if seen is None or arrived is None or namespace(*ad.leaves(seen.w)) is not np:
        return
    ends = [shift((end.w, end.state), end.exponent - seen.exponent) for end in (arrived, seen)]
    if not same(*ends) and difference(ends[0], ends[1], ends[1]) > 1:
        refuse(f"{type(rule).__name__}.step", "another end of the run when it was taken again, window by window")


def _onwards(unroll: Unroll) -> Position:
    with np.errstate(all="ignore"):
        unroll.advance(TapeStep(unroll.system, unroll.offset), unroll.start(), 0, unroll.steps)
        return unroll.end()


def _said(seen: Estimate, found: list[Estimate]) -> str | None:
    """Return how many steps were replayed: of the run, and of its windows, each line once."""
    told = dict.fromkeys(estimate.replay for estimate in found if estimate.replay is not None)
    if seen.replay is None and not told:
        return None
    return f"The run: {seen.replay or 'not replayed.'} Its windows: {' '.join(told) or 'not replayed.'}"


def _digits(seen: Estimate, found: list[Estimate]) -> tuple[Digits | None, Array | None]:
    """Return the digits of the run's value and those of the worst window's gradient, and the largest growth."""
    gradients = [e.digits.gradient for e in found if e.digits is not None and e.digits.gradient is not None]
    growths = [e.growth for e in found if e.growth is not None]
    xp = namespace(seen.status)
    digits = None if seen.digits is None else seen.digits._replace(gradient=xp.stack(gradients).min(axis=0))
    return digits, xp.stack(growths).max(axis=0) if growths else None


def _first_trouble(seen: Estimate, found: list[tuple[int, Estimate]]) -> tuple[Array, Array]:
    """Return the Status of the run, and where it has none the first of the windows, with its step in the run."""
    status, step = seen.status, seen.status_step
    xp = namespace(status)
    for lo, estimate in found:
        # The value of a window is its share of a sum, of which only the whole has a meaning.
        fresh = (status == 0) & (estimate.status != 0) & (estimate.status != Status.VALUE_ROUNDING.code)
        status, step = xp.where(fresh, estimate.status, status), xp.where(fresh, lo + estimate.status_step, step)
    return status, step


@dataclass(frozen=True)
class _Part:
    """The share of the steps lo..lo + n of a run of `total` steps in a meta-objective; the border belongs to the left.

    `slope`: the derivative of the whole objective in its sum.
    """

    whole: Objective
    lo: int
    total: int
    slope: Scaled | None = None

    @property
    def measure(self) -> Any:
        """That of the whole."""
        return self.whole.measure

    @property
    def only_last(self) -> bool:
        """Whether no iterate of the whole but the last has a weight."""
        return parts.looks_at_the_last_only(self.whole)

    @property
    def logarithmic(self) -> bool:
        """Whether the whole takes a logarithm."""
        return parts.takes_a_logarithm(self.whole)

    def weighs(self, steps: int) -> bool:
        """Whether any iterate of these steps has a weight."""
        return any(self.weight(t, steps) is not None for t in range(steps + 1))

    def weight(self, t: int, steps: int) -> Scaled | float | None:
        """Return the weight that the iterate has in the whole."""
        return None if t == 0 and self.lo else self.whole.weight(self.lo + t, self.total)

    def shared_weight(self, steps: int) -> Shared | None:
        """Return the weight that the whole gives to all times that have one."""
        shared = shared_weight(self.whole, self.total)
        if shared is None:
            return None
        first = max(shared.times.start - self.lo, 1 if self.lo else 0)
        return Shared(range(first, min(shared.times.stop - self.lo, steps + 1)), shared.weight)

    def inner(self, term: Scaled) -> tuple[Scaled, Scaled]:
        """Return the transformation of the whole."""
        return self.whole.inner(term)

    def finish(self, total: Scaled, steps: int) -> tuple[Scaled, Scaled]:
        """Return the share, and the derivative of the whole in it."""
        assert self.slope is not None, "the run was taken forwards before"
        return total, self.slope
