"""The paper's least-squares experiment, train by train and train by validation: one task, all step sizes.

The peers are the paper's recipe (`grid_recipe`) in NumPy, and the same unrolled descent as one compiled JAX program.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import grid_recipe, grid_theory, memory, peers
from benchmarks.grid_recipe import Grid
from benchmarks.harness import Contender, Timing, interleave
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "both least-squares objectives at 25 step sizes, n = 500, d = 1000, t = 40, against recipe and JAX"
PEERS = {"jax": "benchmarks.peers.jax_least_squares"}
RECIPE, JAX = "paper's recipe", "JAX, jit, vmap"
_TOLERANCE = {RECIPE: 1e-10, f"{JAX}, float64": 1e-10, f"{JAX}, float32": 1e-4}
_TARGETS = {RECIPE: 1 / 25, f"{JAX}, float64": 1 / 2, f"{JAX}, float32": 1 / 2}


def run(settings: Settings) -> Result:
    """Compare one task of the paper's size with every peer that is there."""
    found, missing = peers.load_all(["jax"], PEERS)
    grid = case(settings.seed)
    ours, *others = calls(grid, found)
    theirs = [name for name in others if name not in grid_theory.WAYS]
    rows = [*compare(grid, found, settings), *memory.rows("least_squares", _what(grid), ours, theirs, settings.seed)]
    return Result(rows, missing=missing)


def case(seed: int) -> Grid:
    """Return the paper's task with n = 500 samples."""
    return grid_recipe.random_grid(n=500, d=1000, steps=40, count=25, seed=seed)


def calls(grid: Grid, found: dict[str, ModuleType]) -> dict[str, Callable[[], NDArray[Any]]]:
    """Return our ways, then the peers', by name."""
    ways = grid_theory.WAYS | {RECIPE: grid_recipe.losses}
    by_name: dict[str, Callable[[], Any]] = {name: partial(way, grid) for name, way in ways.items()}
    if "jax" in found:
        for dtype in (np.float64, np.float32):
            by_name[f"{JAX}, {np.dtype(dtype)}"] = found["jax"].losses(grid, dtype)
    return by_name


def compare(grid: Grid, found: dict[str, ModuleType], settings: Settings) -> list[Row]:
    """Return a row for each way of ours and each peer; the first way carries the targets."""
    contenders = [Contender(name, call) for name, call in calls(grid, found).items()]
    costs = dict(zip((c.name for c in contenders), interleave(contenders, settings.repetitions), strict=True))
    values = {c.name: c.call() for c in contenders}
    best, *_ = ours = list(grid_theory.WAYS)
    theirs = [name for name in values if name not in ours]
    return [_row(grid, name, peer, costs, values, name == best) for peer in theirs for name in ours]


def _row(
    grid: Grid, ours: str, peer: str, costs: dict[str, Timing], values: dict[str, NDArray[Any]], best: bool
) -> Row:
    far = relative_difference(values[ours], values[peer])
    target = _TARGETS[peer] if best else None
    return Row(_what(grid), ours, costs[ours], peer, costs[peer], far, _TOLERANCE[peer], target)


def _what(grid: Grid) -> str:
    n, d = grid.X.shape
    return f"both objectives, {len(grid.etas)} eta, n = {n}, d = {d}, t = {grid.steps}"
