"""What a step of a user's own loss costs at any horizon: a step of a logistic regression, beside that at T = 1,000.

Short runs are the engine's set-up (`own_loss`). Long ones are steps alone: states within the memory, what pullbacks
need as far as there is room for it, stretches taken again where there is none. Adam's become chaotic: adjoints grow by
hundreds of digits. States that vanish, task by task at other rates, ask for exponents that differ from task to task and
from term to term. Compiled at once; the second call of each; seconds are those of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Timing, interleave, once
from benchmarks.own_tasks import ADAM, GD, Case, given, parts
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "a user's own loss: the cost of a step from T = 1,000 to 100,000"
BASE, LONG = 1000, (10_000, 100_000)
SIZES = (2, 50, 3)
_TARGET = 1.5

Call = Callable[[], Any]


def run(settings: Settings) -> Result:
    """Compare what a step costs."""
    rows = []
    for what, make in _problems(settings.seed).items():
        short = Contender(f"T = {BASE}", make(BASE))
        (base,) = interleave([short], settings.repetitions, cpu=True)
        rows += [_row(what, steps, *_second(make(steps)), base) for steps in LONG]
    return Result(rows)


def _problems(seed: int) -> dict[str, Callable[[int], Call]]:
    """Return in words what is run, and what makes the call of so many steps."""
    sizes = ", ".join(f"{key} = {size}" for key, size in zip("Bnd", SIZES, strict=True))
    found: dict[str, Callable[[int], Call]] = {}
    for rule, dtype in ((GD, "float64"), (GD, "float32"), (ADAM, "float64")):
        found[f"own loss: {sizes}, {rule}, {dtype}, a step"] = _logistic(rule, dtype, seed)
    found["own parabolas: B = 8, d = 5, GD, float64, states that vanish, a step"] = _vanishing(seed)
    return found


def _logistic(rule: str, dtype: str, seed: int) -> Callable[[int], Call]:
    def make(steps: int) -> Call:
        case = Case("logistic", SIZES, steps, rule, dtype, seed)
        return _call(*parts(case, given(case)), steps)

    return make


def _vanishing(seed: int) -> Callable[[int], Call]:
    import metagrad as mg

    stream = np.random.default_rng(seed)
    scales, start = stream.uniform(0.5, 1.0, (8, 5)), stream.standard_normal((8, 5))

    def make(steps: int) -> Call:
        rate = 100.0 / steps  # whatever the horizon, states end around exp(-75)
        task = mg.FunctionTask(lambda w: np.sum(scales * w * w, axis=-1) / 2, w0=start)
        return _call(task, mg.GradientDescent(), mg.GradientDescent.Phi(rate), steps)

    return make


def _call(task: Any, rule: Any, phi: Any, steps: int) -> Call:
    import metagrad as mg
    from metagrad.replay import replayed

    def call() -> Any:
        with replayed(compiled="at once"):
            return mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=steps)

    return call


def _second(call: Call) -> tuple[Timing, Any]:
    """Return the time of the second call and what it found: the first compiles."""
    call()
    found: list[Any] = []
    timing = once(Contender("", lambda: found.append(call())))
    return timing.times(timing.cores), found[0]


def _row(what: str, steps: int, cost: Timing, found: Any, base: Timing) -> Row:
    lost = int((found.status != 0).sum())
    note = f"{lost} of {len(found.status)} tasks have a Status; {found.replay}"
    ours, peer = cost.times(1 / steps), base.times(1 / BASE)
    return Row(what, f"T = {steps:,}", ours, f"T = {BASE:,}", peer, target=_TARGET, note=note)
