"""The whole least-squares experiment: python -m benchmarks.experiment_child JOBS TASKS SAMPLES [SAMPLES ...]."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace

from analysis import train_by_validation
from analysis.framework.contract import Context
from analysis.framework.processes import workers


def main(jobs: int, tasks: int, samples: tuple[int, ...]) -> dict[str, float]:
    """Draw the data, tune and test on `jobs` processes, and put the results together; seconds of wall time."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the parent is pinned to one core
    config = replace(train_by_validation.presets["paper"], samples=samples, tasks=tasks)
    shards, context = train_by_validation.shards(config), Context(seed=0, device="cpu")
    start = time.perf_counter()
    with workers(jobs) as executor:
        if executor is None:
            parts = [train_by_validation.compute(config, shard, context) for shard in shards]
        else:
            futures = [executor.submit(train_by_validation.compute, config, shard, context) for shard in shards]
            parts = [future.result() for future in futures]
    table = train_by_validation.assemble(config, parts)
    seconds = time.perf_counter() - start
    by_train, by_validation = table.arrays["chosen"][0]
    return {"seconds": seconds, "by_train": float(by_train), "by_validation": float(by_validation)}


if __name__ == "__main__":
    jobs, tasks, *samples = map(int, sys.argv[1:])
    print(json.dumps(main(jobs, tasks, tuple(samples))))
