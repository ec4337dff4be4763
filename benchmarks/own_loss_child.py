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

from benchmarks import own_loss, peers
from benchmarks.memory import resident

_FIRST_CALLS = 3  # the second may record what the first has not


def main(case: str, name: str, seed: int, how: str) -> dict[str, float]:
    """Return the seconds of the slowest first call and the resident peak of a later one, or what calls leave behind."""
    found = peers.load_all(["jax"], own_loss.PEERS)[0] if name.startswith("JAX") else {}
    call = own_loss.calls(replace(own_loss.CASES[int(case)], seed=seed), found)[name]
    if how == "first":
        return {"first": max(_seconds(call) for _ in range(_FIRST_CALLS)), "resident": resident(call)}
    return {"held": _held(call) if not found else 0.0}


def _seconds(call: Callable[[], Any]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def _held(call: Callable[[], Any]) -> float:
    """Return the bytes that Python and NumPy still hold after the first calls; imports of modules are among them."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(_FIRST_CALLS):
            call()
        gc.collect()
        return float(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    case, name, seed, how = sys.argv[1:]
    print(json.dumps(main(case, name, int(seed), how)))
