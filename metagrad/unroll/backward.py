"""The fastest backward sweep that a pair of task and rule allows: whole windows, whole blocks, or step by step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from metagrad import ad, parts
from metagrad.errors import Status
from metagrad.kernels import block_kernel, fused_step
from metagrad.protocols import Estimate, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.blame import explained
from metagrad.unroll.block_sweep import BlockSweep
from metagrad.unroll.by_window import by_window
from metagrad.unroll.carry import Ask, Options
from metagrad.unroll.quiet import quiet
from metagrad.unroll.quiet_starts import run_from_start
from metagrad.unroll.replay_sweep import by_replay
from metagrad.unroll.rescue import rescued
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.tape_sweep import TapeSweep
from metagrad.unroll.unroll import Unroll
from metagrad.xp import Array, namespace

_MEMORY_TO_LOOK = 1 << 28


def backward(
    ask: Ask, options: Options, where: str, *, memory: int, fused: bool, kept: Array | None = None
) -> Estimate:
    """Return value and meta-gradient by backpropagation, keeping states within `memory` bytes.

    `fused`: take a fused kernel where there is one; a sweep that has to give up is begun anew. `kept`: bools (B,), the
    tasks whose mean the gradient is of; by default all, or those that did not diverge, as the options say.
    """
    # Leaving the range is what this is about: it is reported by Status, not by NumPy's warnings.
    with np.errstate(all="ignore"):
        if kept is not None:
            return _of_those_kept(ask, options, where, kept, memory)
        found = quiet(ask, options, where, memory) if fused else None
        from_start = run_from_start(ask, options, memory) if fused and found is None else None
        if from_start is not None:
            found = from_start.found(where)
        if found is not None:
            return found
        estimate = _rescued(ask, options, where, memory, fused=fused)
        if from_start is not None:
            estimate = from_start.beside(estimate, where)
        kept = those_that_stayed(estimate, options)
        if kept is None:
            return estimate
        again = _of_those_kept(ask, options, where, kept, memory)
        notes = (*again.notes, left_out(again, kept))
        return replace(estimate, grad=again.grad, digits=again.digits, growth=again.growth, notes=notes)


def _rescued(
    ask: Ask, options: Options, where: str, memory: int, *, fused: bool, kept: Array | None = None
) -> Estimate:
    """Return the estimate of a sweep, or of one with an exponent beside every entry where it needs one."""

    def sweep(ask: Ask, options: Options) -> tuple[Unroll, Estimate]:
        return _swept(ask, options, where, memory, fused=fused, kept=kept)

    unroll, estimate = sweep(ask, options)
    found = rescued(unroll, estimate, again=sweep, looked=sweep, whole=kept is not None)
    is_lost = found.record is None and estimate.record is not None
    return replace(found, record=estimate.record) if is_lost else found


def _swept(
    ask: Ask, options: Options, where: str, memory: int, *, fused: bool, kept: Array | None
) -> tuple[Unroll, Estimate]:
    """Return the estimate of one backward sweep, and its unroll."""
    unroll, on_tape, said = Unroll(ask, options, where), False, None
    found: tuple[Scaled, Tree] | Estimate | None = None
    if kept is not None:
        unroll.keep(kept)
    by_tape = unroll.wide or options.precise or kept is not None
    if fused and not by_tape:
        unroll, found, said = by_window(unroll, memory, again=partial(Unroll, ask, options, where))
    if found is None:
        found, on_tape, said = _by_steps(unroll, memory, fused=fused and not by_tape)
    if found is None:  # a program had other bits than the tape
        unroll = Unroll(ask, options, where)
        found, on_tape, _ = _by_steps(unroll, memory, fused=False)
        assert found is not None
    if isinstance(found, Estimate):
        return unroll, found
    estimate = explained(unroll, unroll.estimate(*found), on_tape=on_tape)
    return unroll, estimate if said is None else replace(estimate, replay=said)


def looked(ask: Ask, options: Options) -> tuple[Unroll, Estimate] | None:
    """Return a backward sweep that looks at every entry; None for code that cannot be differentiated."""
    try:
        return _swept(ask, options, "reverse", _MEMORY_TO_LOOK, fused=False, kept=None)
    except TypeError:
        return None


def those_that_stayed(estimate: Estimate, options: Options) -> Array | None:
    """Return the tasks (B,) that stayed within the range, where others are to be left out; else None."""
    if options.diverged == "keep" or options.per_task or _is_finite(estimate):
        return None
    xp = namespace(estimate.status)
    fine = xp.isfinite(estimate.value.mantissa) & ~xp.isin(estimate.status, xp.asarray(_SPOILT))
    kept = (estimate.status == 0) & xp.isfinite(estimate.value.mantissa) | fine
    return kept if 0 < int(kept.sum()) < len(kept) else None


def left_out(estimate: Estimate, kept: Array) -> str:
    """Return the sentence that says how many tasks were left out."""
    count, all_tasks = int((~kept).sum()), len(kept)
    if not _is_finite(estimate):
        return (
            f"{count} of {all_tasks} tasks diverged and were left out; the gradient of the others is no number either."
        )
    return f"{count} of {all_tasks} tasks diverged: the gradient is that of the mean over the others."


def _is_finite(estimate: Estimate) -> bool:
    return all(bool(namespace(x.mantissa).isfinite(x.mantissa).all()) for x in ad.leaves(estimate.grad))


def _of_those_kept(ask: Ask, options: Options, where: str, kept: Array, memory: int) -> Estimate:
    """Return the estimate of the mean over the tasks that are kept.

    The others stay where a task that is kept begins, and weigh nothing.
    """
    estimate = _rescued(ask, options, where, memory, fused=False, kept=kept)
    xp, dtype = namespace(estimate.value.mantissa), estimate.value.dtype
    share = xp.asarray(len(kept) / int(kept.sum()), dtype=dtype)
    return replace(estimate, grad=ad.tree_map(lambda x: Scaled.of(x.mantissa * share, x.exponent), estimate.grad))


_SPOILT = [
    status.code
    for status in Status
    if status.name.endswith(("_NAN", "_OVERFLOW")) or status in (Status.LOG_OF_ZERO, Status.LOG_OF_NEGATIVE)
]


def _by_steps(
    unroll: Unroll, memory: int, *, fused: bool
) -> tuple[tuple[Scaled, Tree] | Estimate | None, bool, str | None]:
    """Return value and gradient, whether the steps were those of the tape, bit by bit, and a line about replaying them.

    None for value and gradient where the sweep has to be made anew; the whole estimate where it was found at once.
    """
    task, rule, phi, options = unroll.task, unroll.rule, unroll.phi, unroll.options
    may_fuse = fused and not unroll.joint
    if may_fuse and not options.record and not unroll.offset and parts.looks_at_the_last_only(unroll.objective):
        scales = {"scale_state": unroll.scale_state, "scale_adjoint": options.scaling != "none"}
        kernel = block_kernel(task, rule, phi, options.gradient, **scales)
        if kernel is not None:
            value, eta_bar = BlockSweep(unroll, kernel).run(memory)
            return (value, type(phi)(eta_bar)), False, None
    step = fused_step(task, rule, options.gradient) if may_fuse else None
    if step is not None:
        return TapeSweep(unroll, step, fused=True).run(memory), False, None
    found, said = by_replay(unroll, memory) if fused else (None, None)
    if found is None and said is None:
        found = TapeSweep(unroll, TapeStep(unroll.system, unroll.offset)).run(memory)
    return found, True, said
