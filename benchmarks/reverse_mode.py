"""Backpropagation through the unrolled quadratic: the engine against JAX, PyTorch and HIPS autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.harness import Contender, Timing, interleave
from benchmarks.problems import quadratics
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "value and meta-gradient by backpropagation: B = 64, d = 20, T = 80; B = 1, d = 1000, T = 1000"
_TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
_ENGINES: dict[str, dict[str, Any]] = {
    "engine, plain": {"scaling": "none"},
    "engine, scaled": {"scaling": "auto"},
    "engine, plain, tape": {"scaling": "none", "fused": False},
}
_FLOORS = {  # by the number of tasks
    64: "floor: 120 loads of 32 bytes a product, 2 a cycle: 10,240 products in 0.17 ms at 3.6 GHz in float64",
    1: "floor: half of H, read for each of 2000 products",
}
_LONGEST_UNROLLED = 100  # XLA compiles an unrolled loop in time that grows with its length


@dataclass(frozen=True)
class Case:
    """One size of the problem."""

    batch: int
    d: int
    steps: int
    dtype: str
    eta: float = 0.4

    @property
    def what(self) -> str:
        """The case in words."""
        return f"G, G': B = {self.batch}, d = {self.d}, T = {self.steps}, {self.dtype}"


CASES = [
    Case(64, 20, 80, "float64"),
    Case(64, 20, 80, "float32"),
    Case(1, 1000, 1000, "float64"),
    Case(1, 1000, 1000, "float32"),
]


def run(settings: Settings) -> Result:
    """Compare every case with every peer that is there."""
    found, missing = peers.load_all(list(peers.PEERS))
    result = Result(missing=missing)
    for case in CASES:
        result.rows += compare(case, found, settings)
    return result


def compare(case: Case, found: dict[str, ModuleType], settings: Settings) -> list[Row]:
    """Return a row for each engine and peer; the plain engine against JAX's scan carries the target."""
    engines = engine_calls(case, settings.seed)
    theirs = peer_calls(case, found, settings.seed)
    contenders = [Contender(name, call) for name, call in (engines | theirs).items()]
    costs = dict(zip((c.name for c in contenders), interleave(contenders, settings.repetitions), strict=True))
    values = {c.name: c.call() for c in contenders}
    return [_row(case, engine, peer, costs, values) for peer in theirs for engine in engines]


def _row(case: Case, engine: str, peer: str, costs: dict[str, Timing], values: dict[str, Any]) -> Row:
    far = relative_difference(values[engine], values[peer])
    target = 1.0 if (engine, peer) == ("engine, plain", "JAX, jit, scan") else None
    note = _FLOORS[case.batch] if target is not None else ""
    return Row(case.what, engine, costs[engine], peer, costs[peer], far, _TOLERANCE[case.dtype], target, note=note)


def engine_calls(case: Case, seed: int = 0) -> dict[str, Callable[[], tuple[float, float]]]:
    """Return the engines' calls by name."""
    import metagrad as mg

    H, w0 = quadratics(case.batch, case.d, seed, np.dtype(case.dtype))
    task, rule, objective = mg.Quadratic(H, w0), mg.GradientDescent(), mg.LogFinal()
    phi = rule.check_phi(case.eta, "benchmarks")

    def call_of(options: dict[str, Any]) -> Callable[[], tuple[float, float]]:
        reverse = mg.Reverse(**options)

        def call() -> tuple[float, float]:
            found = reverse(task, rule, objective, phi, steps=case.steps)
            return float(found.value.to_float().mean()), float(found.grad.eta.to_float())

        return call

    calls = {name: call_of(options) for name, options in _ENGINES.items()}
    return calls | {"engine, plain, without Numba": _without_compiled_blocks(calls["engine, plain"])}


def _without_compiled_blocks(call: Callable[[], tuple[float, float]]) -> Callable[[], tuple[float, float]]:
    """Return the call as it runs where the extra `fast` is not installed."""
    from metagrad.unroll import backward

    def alone() -> tuple[float, float]:
        kept, backward.block_kernel = backward.block_kernel, lambda *_, **__: None
        try:
            return call()
        finally:
            backward.block_kernel = kept

    return alone


def peer_calls(case: Case, found: dict[str, ModuleType], seed: int = 0) -> dict[str, Callable[[], tuple[float, float]]]:
    """Return the peers' calls by name."""
    H, w0 = quadratics(case.batch, case.d, seed, np.dtype(case.dtype))
    problem = (H, w0, case.eta, case.steps)
    calls = {}
    if "jax" in found:
        calls["JAX, jit, scan"] = found["jax"].reverse(*problem)
        if case.steps <= _LONGEST_UNROLLED:
            calls["JAX, jit, unrolled loop"] = found["jax"].reverse(*problem, unrolled=True)
    if "torch" in found:
        calls["PyTorch, eager"] = found["torch"].reverse(*problem)
    if "autograd" in found:
        calls["HIPS autograd"] = found["autograd"].reverse(*problem)
    return calls
