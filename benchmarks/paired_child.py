"""One side of a pair: python -P benchmarks/paired_child.py BENCHMARK SEED, with the checkout to time on PYTHONPATH.

The benchmark is the checkout's own, with its timing taken out: it hands over its contenders and makes rows of them.
What the rows call ours is then timed on demand: a line "INDEX SECONDS" on stdin is answered by the CPU time of a call.
This file runs in commits that do not have it. It therefore imports only what they have, and nothing when it is loaded.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

TASKS = 20  # of the experiment, which has 300
_LONG = 2.0  # seconds: nothing compiles for longer
_OURS = ("engine", "theory.")  # a peer that is ours as well


def main(benchmark: str, seed: int) -> None:
    """Print where metagrad comes from and the rows, then answer until stdin ends."""
    import metagrad

    calls = collect(benchmark, seed)
    counts: dict[int, int] = {}
    print(json.dumps({"metagrad": metagrad.__file__, "rows": list(calls)}), flush=True)
    for line in sys.stdin:
        index, seconds = line.split()
        call = list(calls.values())[int(index)]
        if int(index) not in counts:
            counts[int(index)] = calls_for(call, float(seconds))
        print(json.dumps(cpu_seconds(call, counts[int(index)]) / counts[int(index)]), flush=True)


def cpu_seconds(call: Any, count: int) -> float:
    """Return the CPU time of `count` calls: what other processes do to the clock of the wall does not count."""
    start = time.process_time()
    for _ in range(count):
        call()
    return time.process_time() - start


def calls_for(call: Any, seconds: float) -> int:
    """Return how many calls take about `seconds`; the first call is not counted, as it may compile."""
    if cpu_seconds(call, 1) > _LONG:
        return 1
    count = 1
    while (spent := cpu_seconds(call, count)) < seconds / 4:
        count *= 4
    return max(1, round(count * seconds / max(spent, 1e-9)))


def collect(benchmark: str, seed: int) -> dict[str, Any]:
    """Return our calls of a benchmark by row: what it compares, and which way of ours."""
    if benchmark == "experiment":
        return _experiment()
    if benchmark == "meta_parameters":
        return _bare_phi(seed)
    kept: list[tuple[Any, Any]] = []
    _without_timing(kept)
    from benchmarks import registry
    from benchmarks.settings import Settings

    rows = registry.benchmark(benchmark).run(Settings(repetitions=1, seed=seed, threads=2)).rows  # threads: no memory
    calls = {}
    for row in rows:
        for name, cost in ((row.ours, row.ours_cost), (row.peer, row.peer_cost)):
            ours = name == row.ours or name.startswith(_OURS)
            calls |= {f"{row.what} | {name}": c.call for token, c in kept if token is cost and ours}
    return calls


def _without_timing(kept: list[tuple[Any, Any]]) -> None:
    # before the benchmark is imported, as it takes these names from their modules then
    from benchmarks import harness, memory, peers

    def interleave(contenders: list[Any], *_: Any, **__: Any) -> list[Any]:
        tokens = [harness.Timing(1.0, 1.0, 1.0, 1, 1.0, 1.0) for _ in contenders]
        kept.extend(zip(tokens, contenders, strict=True))
        return tokens

    harness.interleave = interleave
    harness.once = lambda contender: interleave([contender])[0]
    memory.rows = lambda *_: []
    peers.load_all = lambda *_: ({"autograd": _StandIn}, [])


class _StandIn:
    """In the place of a peer, without which some benchmarks have no row; it computes nothing, and is not timed."""

    @staticmethod
    def reverse(*_: Any) -> Any:
        return lambda: (1.0, 1.0)

    @staticmethod
    def quadratics(_given: Any, phi: Any, _steps: int, **_: Any) -> Any:
        import numpy as np

        import metagrad as mg

        return lambda: [np.ones(()), *(np.ones_like(leaf) for leaf in mg.ad.leaves(phi))]

    networks = quadratics


def _experiment() -> dict[str, Any]:
    from benchmarks import experiment_child

    what = f"paper's experiment, n = 500, {TASKS} tasks, data included, one process"
    return {f"{what} | analysis, train_by_validation": lambda: experiment_child.main(1, TASKS, (500,))}


def _bare_phi(seed: int) -> dict[str, Any]:
    path = Path(__file__).with_name("meta_parameters.py")  # an older commit has no such benchmark
    spec = importlib.util.spec_from_file_location("meta_parameters_of_this_commit", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"logistic regression, B = 2, n = 50, d = 3, T = 40 | engine, bare phi": module.bare_call(seed)}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
