"""Peak memory of one call: python -m benchmarks.call_memory_child BENCHMARK CALL SEED traced|resident."""

from __future__ import annotations

import json
import sys

from benchmarks import peers, registry
from benchmarks.memory import MEASURES


def main(benchmark: str, name: str, seed: int, how: str) -> dict[str, float]:
    """Measure the second call: the first one compiles and fills caches."""
    module = registry.benchmark(benchmark)
    found, _ = peers.load_all(list(module.PEERS) if name.startswith("JAX") else [], module.PEERS)
    call = module.calls(module.case(seed), found)[name]
    call()
    return {how: MEASURES[how](call)}


if __name__ == "__main__":
    benchmark, name, seed, how = sys.argv[1:]
    print(json.dumps(main(benchmark, name, int(seed), how)))
