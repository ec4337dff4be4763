"""Running a rule without differentiating it: the loss along the trajectory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

import numpy as np

from metagrad import checks, parts
from metagrad.ad import leaves
from metagrad.guard import called
from metagrad.measures import MeasureName, as_measure
from metagrad.protocols import Joint, Position, Rule, Task, Tree
from metagrad.system import Training
from metagrad.unroll.carry import check_position
from metagrad.unroll.phi import Shape, bare, first_float, prepare
from metagrad.unroll.replay_rollout import run_forwards
from metagrad.unroll.rescale import shift
from metagrad.unroll.tally import Times
from metagrad.xp import Array, namespace, to_host

_WHERE = "rollout"
Look = Callable[[Tree], Array]


@overload
def rollout(
    task: Task,
    rule: Rule,
    phi: Tree,
    *,
    steps: int,
    seed: int = 0,
    measure: Look | MeasureName | None = None,
    per_task: bool = False,
    at: Position | None = None,
    run: int | None = None,
    with_end: Literal[False] = False,
) -> Array: ...
@overload
def rollout(
    task: Task,
    rule: Rule,
    phi: Tree,
    *,
    steps: int,
    seed: int = 0,
    measure: Look | MeasureName | None = None,
    per_task: bool = False,
    at: Position | None = None,
    run: int | None = None,
    with_end: Literal[True],
) -> tuple[Array, Position]: ...
def rollout(  # noqa: PLR0913 - what `meta_gradient` takes, and what is looked at
    task: Task,
    rule: Rule,
    phi: Tree,
    *,
    steps: int,
    seed: int = 0,
    measure: Look | MeasureName | None = None,
    per_task: bool = False,
    at: Position | None = None,
    run: int | None = None,
    with_end: bool = False,
) -> Array | tuple[Array, Position]:
    """Return what `measure` gives (B,) at w_0..w_T, as floats on the host, shape (T + 1, B).

    `measure(w)`, or the name of a measure: by default the loss on the sample of the time (that of step t at w_t), at
    the rule's answer where it has one. A run that leaves the range of floats goes on as inf and NaN, and is returned
    so. `phi`: what `meta_gradient` takes, a `Joint` or `per_task` too. `at`: go on from there; `run`: the horizon of
    the whole run that the rule is told, where these steps are a part of it. `with_end=True` returns (curve, where the
    run ended) in place of the curve. ValueError for `steps` below 0, and for a schedule of another length; TypeError
    for other kinds.
    """
    steps = checks.count(_WHERE, "steps", steps, 0)
    checks.count(_WHERE, "seed", seed, 0)
    _check(task, rule, measure, {"per_task": per_task, "with_end": with_end})
    check_position(at, run, _WHERE)
    phi, offset = bare(_checked(task, rule, phi, steps if run is None else run, at)), 0 if at is None else at.t
    horizon = max(offset + steps, 0 if run is None else run)
    system = Training(task, rule, seed, steps=horizon)
    w = system.like(phi) if at is None else at.w
    first_float(w, _WHERE)
    system.xp = namespace(*leaves(w))
    phi = prepare(phi, system.entries(phi), Shape.of(w, system.xp, per_task=per_task), _WHERE, floats=False)
    w, state = system.start(phi) if at is None else shift((at.w, at.state), at.exponent)
    curve: Array = np.empty(0)

    def look(t: int, w: Tree, state: Tree) -> None:
        nonlocal curve
        made_by = system.phi_at(phi, max(0, offset + t - 1))
        found = to_host(_look(system, made_by, w, state, offset + t, measure))
        curve = curve if t else _room(steps, found)
        curve[t] = found

    with np.errstate(all="ignore"):
        w, state = run_forwards(system, phi, (w, state), Times(steps, offset), look)
    if not with_end:
        return curve
    exponent = system.xp.zeros(leaves(w)[0].shape[0], dtype=np.int64)
    return curve, Position(w, state, exponent, offset + steps)


def _check(task: Any, rule: Any, measure: Any, flags: dict[str, Any]) -> None:
    parts.check_part(_WHERE, "task", task, Task)
    parts.check_part(_WHERE, "rule", rule, Rule)
    if isinstance(measure, str):
        as_measure(_WHERE, measure)
    elif measure is not None:
        checks.function(_WHERE, "measure", measure, 1, "a function of w, or the name of a measure")
    for name, given in flags.items():
        checks.flag(_WHERE, name, given)


def _look(system: Training, phi: Tree, w: Tree, state: Tree, t: int, measure: Look | MeasureName | None) -> Array:
    task, answer = system.measured(phi, w, state)
    if isinstance(measure, str):
        return as_measure(_WHERE, measure).of(task, answer, system.sample(t))
    if measure is None:
        return parts.checked_loss(task, answer, system.sample(t))
    return called(measure, "", measure, answer)


def _checked(task: Any, rule: Any, phi: Tree, steps: int, at: Position | None) -> Tree:
    """Return phi as the rule's own, and the task's; TypeError for those of another one."""
    if isinstance(phi, Joint):
        return Joint(_checked(task, rule, phi.rule, steps, at), parts.check_given(task, phi.task, _WHERE))
    phi = parts.complete_phi(rule, phi, _WHERE) if parts.named_phi(rule) else parts.check_phi(rule, phi, _WHERE)
    if steps and at is None:
        parts.check_horizon(rule, phi, steps, _WHERE)
    return phi


def _room(steps: int, first: Array) -> Array:
    """Return an array for steps + 1 arrays like the first; MemoryError at once where they will not fit."""
    size = (steps + 1) * first.nbytes
    try:
        if size > checks.physical_memory():
            raise MemoryError
        return np.empty((steps + 1, *first.shape), dtype=first.dtype)
    except (MemoryError, ValueError):
        came = f"{steps}, and {steps} steps of {first.size} numbers take {size:.3g} bytes"
        raise MemoryError(
            f"{_WHERE}: steps is {came}; expected a curve that fits the memory. Roll out a part at a time, with `at`."
        ) from None
