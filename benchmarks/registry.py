"""The benchmarks by name, in the order in which they run: a module with SUMMARY and run(settings) -> Result."""

from __future__ import annotations

import importlib
from types import ModuleType

NAMES = [
    "spectral",
    "meta_descent",
    "reverse_mode",
    "meta_parameters",
    "own_loss",
    "own_horizon",
    "own_doors",
    "own_gpu",
    "learned_starts",
    "least_squares",
    "experiment",
    "schedules",
    "second_moment",
    "phase_diagram",
    "lstm",
    "lstm_two_threads",
    "lstm_gpu",
    "lstm_horizon",
    "peak_memory",
    "correctness_map",
]


def benchmark(name: str) -> ModuleType:
    """Return the module of a benchmark; ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"benchmarks: --only is {name!r}; expected one of {', '.join(NAMES)}.")
    return importlib.import_module(f"benchmarks.{name}")
