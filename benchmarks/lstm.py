"""Meta-gradients of the coordinate-wise LSTM: the engine against JAX, PyTorch and HIPS autograd, float32.

The floor of 128 quadratics: a step has 38 million operations in its products, three of 2 * 80 * (22 + 41) * 1280,
so that 20 steps take 6.5 ms where a core does 32 a cycle at 3.7 GHz (BLAS: 9 ms); 154,000 exp and as many tanh, 2 to
3 ms; and 27 MB are kept, written and read twice. Beside it stand the calls of a step, about 0.25 ms, and 2 ms a call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import peers, problems
from benchmarks.harness import Contender, Timing, interleave
from benchmarks.memory import child
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "one meta-gradient of a 2 x 20 LSTM over 20 steps: 128 quadratics, a 784-20-10 network; time and memory"
PEERS = {name: f"benchmarks.peers.{name}_lstm" for name in ("jax", "torch", "autograd")}
_NAMES = {"jax": "JAX, jit, scan", "torch": "PyTorch, eager", "autograd": "HIPS autograd"}
_TARGETS = {
    "quadratics": {"JAX, jit, scan": 0.35, "PyTorch, eager": 0.5, "HIPS autograd": 0.25},
    "networks": {"JAX, jit, scan": 0.35},
}
FUSED, TAPE = "engine, by hand", "engine, tape"
_TOLERANCE = 2e-5

Call = Callable[[], list[Any]]


@dataclass(frozen=True)
class Case:
    """One problem: `sizes` (B, d) of quadratics or (inputs, hidden, classes) of a network; what is differentiated."""

    problem: str
    sizes: tuple[int, ...]
    full: bool
    hidden: tuple[int, ...] = (20, 20)
    steps: int = 20
    seed: int = 0

    @property
    def what(self) -> str:
        """The case in words."""
        kind = "full" if self.full else "stop-gradient"
        if self.problem == "quadratics":
            return f"{self.sizes[0]} quadratics, d = {self.sizes[1]}, T = {self.steps}, float32, {kind}"
        return f"network {'-'.join(map(str, self.sizes))}, batch 128, T = {self.steps}, float32, {kind}"


SIZES = {"quadratics": (128, 10), "networks": (784, 20, 10)}
CASES = [Case(problem, sizes, full) for problem, sizes in SIZES.items() for full in (False, True)]


def run(settings: Settings) -> Result:
    """Compare the times of every case with those of every peer that has it, and on one thread the memory."""
    found, missing = peers.load_all(list(PEERS), PEERS)
    result = Result(missing=missing)
    cases = [replace(case, seed=settings.seed) for case in CASES]
    for case in cases:
        result.rows += compare(case, found, settings.repetitions)
    if settings.threads == 1:
        result.rows += [row for case in cases if not case.full for row in memory(case, found)]
    return result


def compare(case: Case, found: dict[str, ModuleType], repetitions: int, xp: Any = np) -> list[Row]:
    """Return a row for each engine, on arrays of xp, and each peer; the one by hand carries the targets."""
    every = calls(case, found, xp)
    contenders = [Contender(name, call) for name, call in every.items()]
    costs = dict(zip(every, interleave(contenders, repetitions), strict=True))
    values = {name: call() for name, call in every.items()}
    theirs = [name for name in every if name not in (FUSED, TAPE)]
    return [_row(case, engine, peer, costs, values) for peer in theirs for engine in (FUSED, TAPE)]


def _row(case: Case, engine: str, peer: str, costs: dict[str, Timing], values: dict[str, Any]) -> Row:
    far = max(_relative(a, b) for a, b in zip(values[engine], values[peer], strict=True))
    target = _TARGETS[case.problem].get(peer) if engine == FUSED else None
    return Row(case.what, engine, costs[engine], peer, costs[peer], far, _TOLERANCE, target)


def _relative(a: Any, b: Any) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def memory(case: Case, found: dict[str, ModuleType]) -> list[Row]:
    """Return the peaks of the resident set in one call, each in a process of its own, data excluded."""

    def peak(name: str) -> float:
        return child("benchmarks.lstm_memory_child", case.problem, name, str(case.seed))["resident"]

    what, peaks = (
        f"peak memory above the data, resident set: {case.what}",
        {name: peak(name) for name in calls(case, found)},
    )
    theirs = [name for name in peaks if name not in (FUSED, TAPE)]
    return [Row(what, ours, peaks[ours], peer, peaks[peer], unit="bytes") for peer in theirs for ours in (FUSED, TAPE)]


def calls(case: Case, found: dict[str, ModuleType], xp: Any = np) -> dict[str, Call]:
    """Return the calls by name: each gives the value and the gradients, arrays of NumPy in the order of phi."""
    import metagrad as mg
    from metagrad.xp import move, to_host

    task, rule, given = (_quadratics if case.problem == "quadratics" else _network)(case)
    phi = rule.init_meta(np.random.default_rng(case.seed), np.float32)
    here = move(task, xp), rule, mg.WeightedSum(), move(phi, xp)

    def engine(*, fused: bool) -> Call:
        reverse = mg.Reverse("full" if case.full else "stop_gradient", fused=fused)

        def call() -> list[Any]:
            found = reverse(*here, steps=case.steps, seed=case.seed)
            value, *grad = (to_host(x.to_float()) for x in (found.value, *mg.ad.leaves(found.grad)))
            return [value.mean(), *grad]

        return call

    every = {FUSED: engine(fused=True), TAPE: engine(fused=False)}
    for name, module in found.items():
        make = getattr(module, case.problem, None)
        if make is not None:
            every[_NAMES[name]] = make(given, phi, case.steps, full=case.full)
    return every


def _quadratics(case: Case) -> tuple[Any, Any, Any]:
    import metagrad as mg

    given = problems.quadratics(*case.sizes, case.seed, np.float32)
    return mg.Quadratic(*given), mg.CoordinatewiseLSTM.quadratic(case.hidden), given


def _network(case: Case) -> tuple[Any, Any, Any]:
    """Return a network that learns noise: what is in the images costs nothing."""
    import metagrad as mg
    from metagrad.xp import rng

    stream, n = np.random.default_rng(case.seed), 2000
    x, y = stream.random((n, case.sizes[0]), np.float32), stream.integers(0, case.sizes[-1], n)
    task = mg.MLPClassifier(mg.MLP(case.sizes), x, y)
    seen = np.concatenate([task.sample(rng(case.seed, "sample", t), t) for t in range(case.steps + 1)])
    given = x[seen], y[seen], tuple(leaf[0] for leaf in task.init(rng(case.seed, "init")))
    return task, mg.CoordinatewiseLSTM.dm(case.hidden), given
