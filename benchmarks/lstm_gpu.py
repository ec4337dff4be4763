"""The LSTM on a GPU, float32: its gates alone, and whole meta-gradients, against JAX on the same card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import lstm, peers
from benchmarks.harness import Contender, interleave
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "on a GPU, where there is one: the gates of an LSTM layer and the meta-gradients of lstm, against JAX there"
SHAPE = (20, 15910)  # units; the weights of a 784-20-10 network
FUSED = "CUDA kernels"
_TOLERANCE = 2e-5


def run(settings: Settings) -> Result:
    """Compare on the card, or say why there is nothing to compare."""
    from metagrad.xp import GpuState, gpu_state, namespace_for

    state, why = gpu_state()
    if state is not GpuState.USABLE:
        return Result(missing=[f"lstm_gpu: {why}"])
    xp, (found, missing) = namespace_for("gpu"), _jax()
    result = Result(gates(xp, found, SHAPE, settings), missing=missing)
    for case in lstm.CASES:
        rows = lstm.compare(replace(case, seed=settings.seed), found, settings.repetitions, xp)
        result.rows += [replace(row, what=f"GPU: {row.what}", target=None) for row in rows]
    return result


def _jax() -> tuple[dict[str, ModuleType], list[str]]:
    found, missing = peers.load_all(["jax"], lstm.PEERS)
    if "jax" in found and not found["jax"].on_gpu():
        return {}, ["jax computes on the CPU here; install jax[cuda12] or jax[cuda13], as the driver asks"]
    return found, missing


def gates(xp: Any, found: dict[str, ModuleType], shape: tuple[int, int], settings: Settings) -> list[Row]:
    """Compare both directions through the gates of one layer: by CUDA kernels, operation by operation, by JAX."""
    from metagrad.kernels._lstm_cell import Gates
    from metagrad.kernels._lstm_cuda import CudaGates
    from metagrad.xp import to_host

    draw, (units, count) = np.random.default_rng(settings.seed), shape
    given = [draw.standard_normal((n, count), np.float32) for n in (4 * units, units, units, units)]
    calls = {FUSED: _both_ways(CudaGates, xp, given), "CuPy, operation by operation": _both_ways(Gates, xp, given)}
    if "jax" in found:
        calls["JAX, jit, both directions in one"] = found["jax"].gates(*given)
    contenders = [Contender(name, call) for name, call in calls.items()]
    ours, *theirs = interleave(contenders, settings.repetitions)
    mine, *others = [[to_host(x) for x in call()] for call in calls.values()]
    what = f"GPU: gates of a layer, forwards and backwards, {units} units, {count} coordinates, float32"
    note = "ours include copies of z, dh and dc, which are overwritten"
    rows = []
    for name, cost, values in zip(list(calls)[1:], theirs, others, strict=True):
        far = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(mine, values, strict=True))
        rows.append(Row(what, FUSED, ours, name, cost, far, _TOLERANCE, note=note))
    return rows


def _both_ways(kind: Any, xp: Any, given: list[Any]) -> Callable[[], list[Any]]:
    """Return a function that returns h and the adjoints of z and c, once they are there."""
    z0, c, dh0, dc0 = (xp.asarray(x) for x in given)
    z, c_next, h, dh, dc = (xp.empty_like(x) for x in (z0, c, c, c, c))
    nothing = xp.zeros_like(c)
    cell = kind(xp.empty_like(z0))

    def call() -> list[Any]:
        z[...], dh[...], dc[...] = z0, dh0, dc0
        cell.forward(z, c, c_next, h)
        cell.backward(z, c, c_next, dh, nothing, dc)
        float(dc[0, 0])  # waits
        return [h, z, dc]

    return call
