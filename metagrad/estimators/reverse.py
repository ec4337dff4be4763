"""Reverse mode: backpropagation through the unroll, with adjoints whose exponents cannot run out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from metagrad.protocols import Estimate, GradientKind, Objective, Position, Rule, Task, Tree
from metagrad.unroll.backward import backward
from metagrad.unroll.carry import Ask, Diverged, Options, Rescue, Scaling, check_options, options_of
from metagrad.unroll.neighbours import with_trust

_DEFAULT_MEMORY = 1 << 30


@dataclass(frozen=True)
class Reverse:
    """d objective/d phi by lambda_t = (dU/dw)' lambda_{t+1} + d term_t/d w, grad = sum_t (dU/dphi)' lambda_{t+1}.

    `gradient`: "full" differentiates through the optimizee's gradient, "stop_gradient" holds it constant (the first
    is the derivative of the objective; the second another number, at times of another sign).
    `scaling`: "auto" carries exponents beside adjoints, and beside states where the step is homogeneous; "adjoint"
    beside adjoints only; "none" is plain floating point, as any automatic differentiation does it. But for "none" a
    task in float16 is carried in float32, from the very numbers it holds, and the answer is rounded to float16 once.
    `per_task`: phi and the meta-gradient lead with the task axis.
    `memory`: bytes for kept states, an integer or a text such as "64 MiB", "1MB", "2 GiB" (MB = 10**6, MiB = 2**20);
    fewer means more recomputation and the same bits (`unroll.checkpoint`).
    `fused`: use a fused kernel where there is one (compiled, with the extra `fast`).
    `diverged`: "keep" lets a task that leaves the range spoil the gradient of the mean over tasks; "skip" leaves such
    tasks out where the gradient is not finite: it is then that of the mean over the others, and `report` counts them.
    `rescue`: "auto" runs again, with an exponent beside every entry, where entries fell out of the range of floats that
    may count (`metagrad.unroll.rescue`), unless that takes long; "always" however long; "never" leaves it at a Status.
    `record`: keep the sizes of state and adjoint at every time, of any size, as `Estimate.record`; step by step.
    `trust`: take the run from neighbouring floats too, so many times (True: 2), for digits that are measured.
    ValueError and TypeError for other options, where the estimator is made.
    """

    gradient: GradientKind = "full"
    scaling: Scaling = "auto"
    per_task: bool = False
    memory: int | str = _DEFAULT_MEMORY  # an int once it is made
    fused: bool = True
    diverged: Diverged = "keep"
    record: bool = False
    rescue: Rescue = "auto"
    trust: bool | int = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_options("Reverse", self)

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
        """Return the value and the meta-gradient after `steps` steps.

        `at`: go on from there instead of from the task's own start; then `Estimate.end` is where it arrived. The
        objective counts its own time from 0, and sees both ends; what came before is held constant. `run`: the horizon
        that the rule is told, by default the last time of these steps.
        """
        options = options_of(self.gradient, self.scaling, self.per_task, self.diverged, self.record, self.rescue)
        ask = Ask(task, rule, objective, phi, steps, seed, at, run)
        return with_trust(partial(self._run, ask), ask, options, self.trust)

    def _run(self, ask: Ask, options: Options) -> Estimate:
        return backward(ask, options, "reverse", memory=int(self.memory), fused=self.fused)
