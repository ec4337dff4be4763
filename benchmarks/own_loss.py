"""A user's own loss and rule, in plain NumPy code: the tape and the replay against JAX, PyTorch and HIPS autograd.

Ours and every peer give the value and the derivatives in all meta-parameters of the rule: those of Adam are eta, beta1,
beta2 and eps, those of the LSTM its weights. One more JAX differentiates Adam's eta alone, for information. JAX is
written twice: as a step is written down (the gradient, then the loss of the new w), and with loss and gradient of the
old w at once, which saves one of three products a step forwards, and is the faster of the two. What ours replays is
bit by bit the tape's (docs/replay.md).

One of ours has a new task at every call, as in meta-training: other data, in another closure by the same lines.
Times are those of the CPU, at w = 0 as in the README. There this loss has its kinks, and peers' rules at ties may give
another gradient of it (a table shows whose do), so that numbers are compared at a start beside it. In float32 peers
take 1 - beta2^t as it is written, and get three digits of beta2's derivative where ours has four. What comes before the
first replayed step, recording, passes and compilation, is measured in processes of its own: the slowest of the first
three calls, as a program may be recorded by the second. So is the peak of memory: that of a later call, and what the
calls before it left behind. How far all are from the floors is in a table, by `own_floor`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import own_floor, peers
from benchmarks.harness import Contender, Timing, interleave
from benchmarks.memory import child
from benchmarks.own_tasks import ADAM, LSTM, Case, given, parts
from benchmarks.results import Result, Row, Table, relative_difference
from benchmarks.settings import Settings

SUMMARY = "a user's own loss and rule in NumPy code: logistic regression, a network, an LSTM; time, first call, memory"
PEERS = {name: f"benchmarks.peers.{name}_own" for name in ("jax", "torch", "autograd")}
TAPE, NUMPY, COMPILED = "tape", "replay, NumPy alone", "replay, compiled"
ANEW = "replay, compiled, a new task at every call"
JAX, JAX_AT_ONCE, JAX_ETA = "JAX, jit, scan", "JAX, jit, scan, loss and gradient at once", "JAX, jit, scan, eta alone"
TORCH, AUTOGRAD = "PyTorch, eager", "HIPS autograd"
LONGEST_FIRST_CALL = 2.0  # seconds
BESIDE = 0.01  # a start without ties
_TASKS = 16  # of a call that has a new one each time
_BOUNDS = {"network": 1.2, "lstm_rule": 1.5}
_TOLERANCE = {"float64": 1e-9, "float32": 5e-3}

Call = Callable[[], list[Any]]

_REGRESSIONS = [
    Case("logistic", (2, 50, 3), 40),
    Case("logistic", (64, 50, 20), 40),
    Case("logistic", (64, 50, 20), 40, ADAM),
    Case("logistic", (1, 2000, 100), 40),
    Case("logistic", (16, 200, 50), 100, ADAM),
]
_OWN = [
    Case("decayed", (64, 50, 20), 40),
    Case("classes", (16, 50, 20, 5), 40),
    Case("network", (784, 20, 10, 128), 20),
    Case("lstm_rule", (16, 50, 10, 20), 20, LSTM),
]
CASES = [replace(case, dtype=dtype) for dtype in _TOLERANCE for case in (*_REGRESSIONS, *_OWN)]


def ways() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Return what puts a call on the tape, and what has it replayed: the one place that knows how that is asked for."""
    from metagrad.replay import replayed

    found: dict[str, Callable[[], AbstractContextManager[Any]]] = {TAPE: partial(replayed, False), NUMPY: replayed}
    if "compiled" in inspect.signature(replayed).parameters:
        found[NUMPY] = partial(replayed, compiled="never")
        if find_spec("numba"):
            found[COMPILED] = partial(replayed, compiled="at once")
    return found


def run(settings: Settings) -> Result:
    """Compare every case with every peer that is there, and on one thread the first calls and the memory."""
    found, missing = peers.load_all(list(PEERS), PEERS)
    result = Result(missing=missing, tables=[ties(found, settings.seed)])
    cases = [replace(case, seed=settings.seed) for case in CASES]
    measured = {case: compare(case, found, settings.repetitions) for case in cases}
    result.rows += [row for rows in measured.values() for row in rows]
    result.tables.append(own_floor.table(measured, list(ways())))
    if settings.threads == 1:
        for case in cases:
            result.rows += children(case, found)
    return result


def compare(case: Case, found: dict[str, ModuleType], repetitions: int) -> list[Row]:
    """Return a row for each way of ours and each peer that it is held against."""
    every, said = calls(case, found), _what_replay_said(case)
    costs = dict(zip(every, interleave(_contenders(every), repetitions, cpu=True), strict=True))
    values = {name: call() for name, call in calls(case, found, BESIDE).items()}
    return [_row(case, ours, peer, costs, values, said) for ours, peer in pairs(list(every))]


def pairs(names: list[str]) -> list[tuple[str, str]]:
    """Return who is held against whom: replays against every peer, the tape against JAX as it is written down."""
    ours = [name for name in names if name in (TAPE, NUMPY, COMPILED)]
    theirs = [name for name in names if name not in (*ours, ANEW)]
    best = ours[-1]
    found = [
        (mine, peer)
        for peer in theirs
        for mine in ours
        if (mine != TAPE or peer == JAX) and (mine == best or peer in (JAX, JAX_AT_ONCE))
    ]
    return found + [(ANEW, JAX_AT_ONCE)] * (ANEW in names and JAX_AT_ONCE in names)


def target(case: Case, ours: str, peer: str) -> float | None:
    """Return the bound of ours/peer, None where there is none."""
    if peer == TORCH and case.kind == "logistic":
        return 0.1 if ours == COMPILED else None
    if peer not in (JAX, JAX_AT_ONCE) or ours in (TAPE, ANEW):
        return None
    if case.kind != "logistic":
        return _BOUNDS.get(case.kind) if ours == COMPILED else None
    tiny = case.sizes[0] * case.sizes[1] <= 100
    return {NUMPY: 6.0 if tiny else 1.8, COMPILED: 3.0 if tiny else 1.0}[ours]


def _row(
    case: Case, ours: str, peer: str, costs: dict[str, Timing], values: dict[str, list[Any]], said: dict[str, str]
) -> Row:
    pairs = zip(values[ours], values[peer], strict=False)  # the peer of eta alone has fewer
    far = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
    bound, note = target(case, ours, peer), said.get(ours, "")
    return Row(case.what, ours, costs[ours], peer, costs[peer], far, _TOLERANCE[case.dtype], bound, note=note)


def calls(case: Case, found: dict[str, ModuleType], start: float = 0.0) -> dict[str, Call]:
    """Return the calls by name: each gives the mean value and the gradients, in the order of phi."""
    numbers = given(case, start)
    every = {name: _ours(case, [numbers], way) for name, way in ways().items()}
    if case.kind in ("logistic", "decayed", "classes") and COMPILED in every:
        others = [given(replace(case, seed=case.seed + k), start) for k in range(1, _TASKS)]
        every[ANEW] = _ours(case, [numbers, *others], ways()[COMPILED])
    return every | peer_calls(case, found, numbers)


def peer_calls(case: Case, found: dict[str, ModuleType], numbers: Any) -> dict[str, Call]:
    """Return the peers' calls by name; PyTorch and HIPS autograd where they have the problem."""
    every, problem = {}, (numbers, case.rule, case.steps)
    if "jax" in found:
        make, count = getattr(found["jax"], case.kind), len(numbers.phi)
        every[JAX] = make(*problem, count, at_once=False)
        every[JAX_AT_ONCE] = make(*problem, count, at_once=True)
        if case.rule == ADAM:
            every[JAX_ETA] = make(*problem, 1, at_once=False)
    if "torch" in found:
        every[TORCH] = getattr(found["torch"], case.kind)(*problem)
    if "autograd" in found and case.kind == "logistic" and case.dtype == "float64":
        every[AUTOGRAD] = found["autograd"].logistic(*problem)
    return every


def _ours(case: Case, numbers: list[Any], way: Callable[[], AbstractContextManager[Any]]) -> Call:
    """Return the call on tasks of these numbers, in turn."""
    estimates = cycle([_estimate(case, one, way) for one in numbers])

    def call() -> list[Any]:
        import metagrad as mg

        found = next(estimates)()
        value, *grad = (x.to_float() for x in (found.value, *mg.ad.leaves(found.grad)))
        return [value.mean(), *grad]

    return call


def _estimate(case: Case, numbers: Any, way: Callable[[], AbstractContextManager[Any]]) -> Callable[[], Any]:
    """Return the call with a task object of its own: programs belong to one."""
    import metagrad as mg

    task, rule, phi = parts(case, numbers)

    def call() -> Any:
        with way():
            return mg.meta_gradient(task, rule, mg.WeightedSum(), phi, steps=case.steps, seed=case.seed)

    return call


def _what_replay_said(case: Case) -> dict[str, str]:
    """Return how many steps were replayed, or why none, in the second call of each way."""
    said = {}
    for name, way in ways().items():
        estimate = _estimate(case, given(case), way)
        estimate()
        said[name] = estimate().replay or ""
    return said


def _contenders(every: dict[str, Call]) -> list[Contender]:
    return [Contender(name, call) for name, call in every.items()]


def children(case: Case, found: dict[str, ModuleType]) -> list[Row]:
    """Return rows of first calls and of peak memory, ours and JAX's, each in a process of its own."""
    ours = [name for name in ways() if name != TAPE]
    measured = {name: _measured(case, name) for name in (*ours, *([JAX_AT_ONCE] if "jax" in found else []))}
    rows = []
    for name in ours:
        first, what = measured[name]["first"], f"first call: trace, passes, compilation: {case.what}"
        rows.append(Row(what, name, first, "allowed", LONGEST_FIRST_CALL, target=1.0))
        if JAX_AT_ONCE in measured:
            theirs, what = measured[JAX_AT_ONCE], f"peak memory above the data, resident set: {case.what}"
            note = f"{measured[name]['held'] / 2**20:.2f} MiB of it are kept between calls"
            peak = measured[name]["resident"] + measured[name]["held"]
            rows.append(Row(what, name, peak, JAX_AT_ONCE, theirs["resident"], target=1.0, unit="bytes", note=note))
            rows.append(Row(rows[-2].what, name, first, JAX_AT_ONCE, theirs["first"]))
    return rows


def _measured(case: Case, name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for how in ("first", "held"):
        found |= child("benchmarks.own_loss_child", str(CASES.index(replace(case, seed=0))), name, str(case.seed), how)
    return found


def ties(found: dict[str, ModuleType], seed: int) -> Table:
    """Return what everyone gives for the derivative in eta at w = 0, beside differences of the values."""
    case = replace(CASES[0], seed=seed)
    every = {name: call() for name, call in calls(case, found).items()}
    expected = _by_differences(case)
    rows = [
        [name, f"{float(value):.10f}", f"{float(slope):.10f}", f"{relative_difference(slope, expected):.1e}"]
        for name, (value, slope) in every.items()
    ]
    note = (
        "The loss has |z| and max(z, 0), whose kinks cancel: it is smooth. A library gets its gradient at z = 0 only "
        f"if its rules at ties fit together. Differences of the value give {expected:.10f}."
    )
    return Table(f"At w = 0 exactly: {case.what}", ["who", "value", "d/d eta", "relative error"], rows, note)


def _by_differences(case: Case) -> float:
    """Return d value/d eta by central differences of two widths, Richardson's rule."""
    numbers = given(case)
    eta = float(numbers.phi[0])

    def value(at: float) -> float:
        there = replace(numbers, phi=(np.asarray(at, case.dtype),))
        return float(_ours(case, [there], nullcontext)()[0])

    coarse, fine = ((value(eta + h) - value(eta - h)) / (2 * h) for h in (2e-3, 1e-3))
    return (4 * fine - coarse) / 3
