"""The times of `lstm` with two threads for every library, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.results import Result
from benchmarks.settings import Settings

SUMMARY = "the times of lstm with two threads"


def run(settings: Settings) -> Result:
    """Return what `lstm` finds on two threads."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.md"
        command = [sys.executable, "-m", "benchmarks", "run", "--only", "lstm", "--threads", "2", "--out", str(out)]
        command += ["--repetitions", str(settings.repetitions), "--seed", str(settings.seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_all_cores)
        if done.returncode:
            raise RuntimeError(f"benchmarks: lstm on two threads failed:\n{done.stderr[-2000:]}")
        result = report.read(out)["lstm"]
    result.rows = [replace(row, what=f"two threads: {row.what}") for row in result.rows]
    return result


def _all_cores() -> None:
    # one thread means one core for the process that asks; its child is to have two
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
