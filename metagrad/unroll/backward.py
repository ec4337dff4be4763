"""The fastest backward sweep that a pair of task and rule allows: whole windows, whole blocks, or step by step."""

from __future__ import annotations

import numpy as np

from metagrad import parts
from metagrad.kernels import block_kernel, fused_step, lstm_window
from metagrad.protocols import Estimate, Tree
from metagrad.scaled import Scaled
from metagrad.unroll.block_sweep import BlockSweep
from metagrad.unroll.carry import Ask, Options
from metagrad.unroll.steps import TapeStep
from metagrad.unroll.tape_sweep import TapeSweep
from metagrad.unroll.unroll import Unroll
from metagrad.unroll.window_sweep import WindowSweep


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
        return unroll.estimate(*found)


def _by_window(unroll: Unroll, memory: int) -> tuple[Scaled, Tree] | None:
    if unroll.options.per_task or unroll.joint:
        return None
    kernel = lstm_window(unroll.rule, unroll.phi, unroll.w0)
    return None if kernel is None else WindowSweep(unroll, *kernel, memory).run()


def _by_steps(unroll: Unroll, memory: int, *, fused: bool) -> tuple[Scaled, Tree]:
    task, rule, phi, options = unroll.task, unroll.rule, unroll.phi, unroll.options
    may_fuse = fused and not unroll.joint
    if may_fuse and not unroll.offset and parts.looks_at_the_last_only(unroll.objective):
        scales = {"scale_state": unroll.scale_state, "scale_adjoint": options.scaling != "none"}
        kernel = block_kernel(task, rule, phi, options.gradient, **scales)
        if kernel is not None:
            value, eta_bar = BlockSweep(unroll, kernel).run(memory)
            return value, type(phi)(eta_bar)
    step = fused_step(task, rule, options.gradient) if may_fuse else None
    return TapeSweep(unroll, TapeStep(unroll.system, unroll.offset) if step is None else step).run(memory)
