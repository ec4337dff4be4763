"""What one process of a checkout tells at its end: the cost of `import metagrad`, and peaks of memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import lstm, peak_memory

_IMPORT = """
import json, pathlib, sys, time
if {numpy_first}: import numpy
before, start = len(sys.modules), time.process_time()
import metagrad
seconds = time.process_time() - start
status = pathlib.Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: nan kB"]
peak = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
print(json.dumps({{"seconds": seconds, "modules": len(sys.modules) - before, "bytes": peak}}))
"""
_ONE_CALL = {
    "least_squares": "theory.krylov, both at once",
    "second_moment": "theory.sgd",
    "phase_diagram": "theory.tuned_limit",
}


def environment(checkout: Path, threads: int = 1) -> dict[str, str]:
    """Return the environment in which Python takes `metagrad` and `benchmarks` from a checkout."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {**os.environ, "PYTHONPATH": str(checkout), **dict.fromkeys(names, str(threads))}


def import_cost(checkout: Path, bytecode: str) -> dict[str, float]:
    """Return CPU seconds, modules and the peak of the resident set of `import metagrad`, and what comes after NumPy's.

    Compiled sources are kept in the folder `bytecode`, whatever the environment says: the first import fills it.
    """
    kept = {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    whole = _json(checkout, "-c", _IMPORT.format(numpy_first=False), extra=kept)
    after = _json(checkout, "-c", _IMPORT.format(numpy_first=True), extra=kept)
    return {**whole, "seconds after NumPy's": after["seconds"], "modules after NumPy's": after["modules"]}


def peaks() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return, by what is measured, the key of the number and the module with its arguments that prints it."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for kind, memory in peak_memory.CASES:
        given = (kind, str(memory), str(peak_memory.STEPS), str(peak_memory.D))
        what = f"peak memory, T = {peak_memory.STEPS}, d = {peak_memory.D}, {kind} H, {memory >> 20} MiB allowed"
        found |= {f"{what} | {how}": (how, ("benchmarks.memory_child", *given, how)) for how in ("traced", "resident")}
    for name, ours in _ONE_CALL.items():
        for how in ("traced", "resident"):
            found[f"peak memory, {name} | {ours}, {how}"] = how, ("benchmarks.call_memory_child", name, ours, "0", how)
    for problem in lstm.SIZES:
        for engine in (lstm.FUSED, lstm.TAPE):
            module = ("benchmarks.lstm_memory_child", problem, engine, "0")
            found[f"peak memory, LSTM, {problem} | {engine}, resident"] = "resident", module
    return found


def peak(checkout: Path, key: str, module: tuple[str, ...]) -> float:
    """Return a peak in bytes."""
    return _json(checkout, "-m", *module)[key]


def _json(checkout: Path, *arguments: str, extra: dict[str, str] | None = None) -> dict[str, float]:
    command, env = [sys.executable, "-P", *arguments], environment(checkout) | (extra or {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=checkout)
    if done.returncode:
        raise RuntimeError(f"benchmarks: {' '.join(arguments)} failed in {checkout}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
