"""First calls and memory of one of `own_loss`: python -m benchmarks.own_loss_child CASE CALL SEED first|held."""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import own_loss, peers
from benchmarks.memory import resident

_FIRST_CALLS = 3  # the second may record what the first has not


def main(case: str, name: str, seed: int, how: str) -> dict[str, float]:
    """Return the seconds of the slowest first call and the resident peak of a later one, or what calls leave behind."""
    found = peers.load_all(["jax"], own_loss.PEERS)[0] if name.startswith("JAX") else {}

    def new_call() -> Callable[[], Any]:
        return own_loss.calls(replace(own_loss.CASES[int(case)], seed=seed), found)[name]

    call = new_call()
    if how == "held" and found:
        return {"held": 0.0}
    first = max(_seconds(call) for _ in range(_FIRST_CALLS))
    if how == "first":
        return {"first": first, "resident": resident(call)}
    return {"held": _held(new_call())}  # another task: what is compiled is there, and its arrays are not


def _seconds(call: Callable[[], Any]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def _held(call: Callable[[], Any]) -> float:
    """Return the bytes of NumPy's arrays that are there after the first calls and were not before.

    Code and what compiles it are left out, as they are with JAX.
    """
    tracemalloc.start()
    try:
        for _ in range(_FIRST_CALLS):
            call()
        gc.collect()
        arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
        found = tracemalloc.take_snapshot().filter_traces([arrays])
        return float(sum(trace.size for trace in found.traces))
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    case, name, seed, how = sys.argv[1:]
    print(json.dumps(main(case, name, int(seed), how)))
