"""A user's own loss and rule on a GPU: by the tape, by programs call by call, as CUDA graphs, and by JAX there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks import own_loss, peers
from benchmarks.harness import Contender, interleave
from benchmarks.own_tasks import LSTM, Case, given, parts
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "on a GPU, where there is one: a user's own loss and rule by CUDA graphs, against the tape and JAX there"
TAPE, CALLS, GRAPHS = "the tape", "programs, call by call", "programs, CUDA graphs"
CASES = [case for case in own_loss.CASES if case.rule != LSTM]  # whose state is made of NumPy's zeros
_BEFORE = 10  # calls that record, capture and compare
_TOLERANCE = {"float64": 1e-9, "float32": 5e-3}


def run(settings: Settings) -> Result:
    """Compare on the card, or say why there is nothing to compare."""
    from metagrad.xp import GpuState, gpu_state, namespace_for

    state, why = gpu_state()
    if state is not GpuState.USABLE:
        return Result(missing=[f"own_gpu: {why}"])
    found, missing = peers.load_all(["jax"], own_loss.PEERS)
    if "jax" in found and found["jax"].jax.default_backend() != "gpu":
        found, missing = {}, ["jax computes on the CPU here; install jax[cuda12] or jax[cuda13], as the driver asks"]
    result = Result(missing=missing)
    for case in CASES:
        result.rows += compare(replace(case, seed=settings.seed), found, settings.repetitions, namespace_for("gpu"))
    return result


def ways() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Return what puts a call on the tape, and what has it replayed."""
    from metagrad.replay import replayed

    return {
        TAPE: partial(replayed, False),
        CALLS: partial(replayed, compiled="never"),
        GRAPHS: partial(replayed, compiled="at once"),
    }


def compare(case: Case, found: dict[str, ModuleType], repetitions: int, xp: Any) -> list[Row]:
    """Return rows of graphs against all others; `xp`: the array module."""
    said: dict[str, str] = {}
    calls = {name: _call(case, way, xp, said, name) for name, way in ways().items()}
    if "jax" in found:
        theirs = own_loss.peer_calls(case, found, given(case))
        calls |= {name: theirs[name] for name in (own_loss.JAX_AT_ONCE,)}
    for call in list(calls.values()) * _BEFORE:
        call()
    values = {name: call() for name, call in calls.items()}
    costs = dict(zip(calls, interleave([Contender(n, c) for n, c in calls.items()], repetitions), strict=True))
    rows = []
    for peer in calls:
        if peer == GRAPHS:
            continue
        far = max(relative_difference(a, b) for a, b in zip(values[GRAPHS], values[peer], strict=True))
        what, bound = f"GPU: {case.what}", 1.0 if peer == own_loss.JAX_AT_ONCE else None
        tolerance = 0.0 if peer == CALLS else _TOLERANCE[case.dtype]
        rows.append(Row(what, GRAPHS, costs[GRAPHS], peer, costs[peer], far, tolerance, bound, note=said[GRAPHS]))
    return rows


def _call(
    case: Case, way: Callable[[], AbstractContextManager[Any]], xp: Any, said: dict[str, str], name: str
) -> Callable[[], list[Any]]:
    """Return a call that gives the mean value and the gradients, on the host: it has waited for them."""
    import metagrad as mg
    from metagrad.xp import move, to_host

    task, rule, phi = parts(case, move(given(case), xp))

    def call() -> list[Any]:
        with way():
            found = mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=case.steps, seed=case.seed)
        said[name] = found.replay or ""
        value, *grad = (to_host(x.to_float()) for x in (found.value, *mg.ad.leaves(found.grad)))
        return [value.mean(), *grad]

    return call
