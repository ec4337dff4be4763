"""Memory of one call of `learned_starts`: python -m benchmarks.learned_starts_child CASE CALL SEED."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from benchmarks import learned_starts, peers
from benchmarks.memory import resident


def main(case: str, name: str, seed: int) -> dict[str, float]:
    """Return the resident peak of a later call, in bytes."""
    libraries = {learned_starts.JAX: ["jax"], learned_starts.TORCH: ["torch"]}.get(name, [])
    found = peers.load_all(libraries, learned_starts.PEERS)[0]
    call = learned_starts.calls(replace(learned_starts.CASES[int(case)], seed=seed), found)[name]
    call = call.warm().anew if isinstance(call, learned_starts.Ours) else call
    for _ in range(2):
        call()
    return {"resident": resident(call)}


if __name__ == "__main__":
    case, name, seed = sys.argv[1:]
    print(json.dumps(main(case, name, int(seed))))
