"""Peak memory of one meta-gradient: python -m benchmarks.lstm_memory_child PROBLEM CALL SEED."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from benchmarks import lstm, peers
from benchmarks.memory import resident


def main(problem: str, name: str, seed: int) -> dict[str, float]:
    """Measure the second call: the first one compiles and fills caches."""
    from metagrad.kernels import _arena

    found = {} if name in (lstm.FUSED, lstm.TAPE) else peers.load_all(list(lstm.PEERS), lstm.PEERS)[0]
    case = next(case for case in lstm.CASES if case.problem == problem)
    call = lstm.calls(replace(case, seed=seed), found)[name]
    call()
    _arena._kept.clear()  # the memory that was kept counts as that of the call
    return {"resident": resident(call)}


if __name__ == "__main__":
    problem, name, seed = sys.argv[1:]
    print(json.dumps(main(problem, name, int(seed))))
