"""The fastest backward sweep that a pair of task and rule allows: whole windows, whole blocks, or step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metagrad import ad, parts
from metagrad.errors import Status
from metagrad.kernels import block_kernel, fused_step, lstm_window
from metagrad.protocols import Estimate, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.block_sweep import BlockSweep
from metagrad.unroll.carry import Ask, Options
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.tape_sweep import TapeSweep
from metagrad.unroll.unroll import Unroll
from metagrad.unroll.window_sweep import WindowSweep
from metagrad.xp import namespace


def backward(ask: Ask, options: Options, where: str, *, memory: int, fused: bool) -> Estimate:
    """Return value and meta-gradient by backpropagation, keeping states within `memory` bytes.

    `fused`: take a fused kernel where there is one; a sweep that has to give up is begun anew.
    """
    # Leaving the range is what this is about: it is reported by Status, not by NumPy's warnings.
    with np.errstate(all="ignore"):
        unroll = Unroll(ask, options, where)
        found = _by_window(unroll, memory) if fused else None
        if found is None:
            unroll = unroll if unroll.is_fresh else Unroll(ask, options, where)
            found = _by_steps(unroll, memory, fused=fused)
        estimate = unroll.estimate(*found)
        if options.diverged == "skip" and not options.per_task and not _is_finite(estimate.grad):
            return _without_diverged(ask, options, where, estimate, memory)
        return estimate


def _is_finite(grad: Tree) -> bool:
    return all(bool(namespace(leaf.mantissa).isfinite(leaf.mantissa).all()) for leaf in ad.leaves(grad))


def _without_diverged(ask: Ask, options: Options, where: str, seen: Estimate, memory: int) -> Estimate:
    """Return the estimate with the gradient of the mean over the tasks that stayed within the range.

    The others stay where an unspoilt task begins, weigh nothing, and have the value and the Status that they had.
    """
    unroll = Unroll(ask, options, where)
    xp = unroll.xp
    kept = (seen.status == 0) | xp.isfinite(seen.value.mantissa) & ~xp.isin(seen.status, xp.asarray(_SPOILT))
    count = int(kept.sum())
    if count in (0, len(kept)):
        return seen
    unroll.keep(kept)
    _, grad = TapeSweep(unroll, TapeStep(unroll.system, unroll.offset)).run(memory)
    again = unroll.estimate(seen.value, grad)
    share = xp.asarray(len(kept) / count, dtype=unroll.dtype)
    grad = ad.tree_map(lambda leaf: Scaled.of(leaf.mantissa * share, leaf.exponent), again.grad)
    note = f"{len(kept) - count} of {len(kept)} tasks diverged: the gradient is that of the mean over the others."
    return replace(seen, grad=grad, notes=(*again.notes, note))


_SPOILT = [
    status.code
    for status in Status
    if status.name.endswith(("_NAN", "_OVERFLOW")) or status in (Status.LOG_OF_ZERO, Status.LOG_OF_NEGATIVE)
]


def _by_window(unroll: Unroll, memory: int) -> tuple[Scaled, Tree] | None:
    if unroll.options.per_task or unroll.options.record or unroll.joint:
        return None
    kernel = lstm_window(unroll.rule, unroll.phi, unroll.w0)
    return None if kernel is None else WindowSweep(unroll, *kernel, memory).run()


def _by_steps(unroll: Unroll, memory: int, *, fused: bool) -> tuple[Scaled, Tree]:
    task, rule, phi, options = unroll.task, unroll.rule, unroll.phi, unroll.options
    may_fuse = fused and not unroll.joint
    if may_fuse and not options.record and not unroll.offset and parts.looks_at_the_last_only(unroll.objective):
        scales = {"scale_state": unroll.scale_state, "scale_adjoint": options.scaling != "none"}
        kernel = block_kernel(task, rule, phi, options.gradient, **scales)
        if kernel is not None:
            value, eta_bar = BlockSweep(unroll, kernel).run(memory)
            return value, type(phi)(eta_bar)
    step = fused_step(task, rule, options.gradient) if may_fuse else None
    if step is not None:
        return TapeSweep(unroll, step, fused=True).run(memory)
    return TapeSweep(unroll, TapeStep(unroll.system, unroll.offset)).run(memory)
