"""One meta-gradient of MAML in float32: sine waves and few-shot characters, against JAX and PyTorch.

The value is the mean over tasks of the query loss after the inner steps, the gradient that in the learned start, whole
(second order). Sine waves: the network 1-40-40-1 of Finn, Abbeel and Levine 2017, relu, 25 tasks, 10 points to learn
from and 10 to be judged by, step size 0.01. Characters: 5 classes, one drawing each, and 25 queries; the convolutional
network of the experiment `few_shot`, 8 tasks of 14 x 14 pixels, which are noise here: what is in them costs nothing.
JAX is one jit-compiled `value_and_grad` over a `vmap` of the tasks; PyTorch is eager, `create_graph=True`, all tasks in
one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from analysis import _few_shot_net as characters
from benchmarks import peers
from benchmarks.harness import Contender, interleave
from benchmarks.memory import child
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "one meta-gradient of MAML, second order: sine waves and few-shot characters; time and memory"
PEERS = {"jax": "benchmarks.peers.jax_starts", "torch": "benchmarks.peers.torch_starts"}
OURS, JAX, TORCH = "engine", "JAX, jit", "PyTorch, eager"
_TARGETS = {JAX: 1.0, TORCH: 0.5}
_TOLERANCE = 1e-3  # float32, through relu and five steps
_ETAS = {"sine waves": 0.01, "characters": 0.2}

Call = Callable[[], list[Any]]


@dataclass(frozen=True)
class Case:
    """A problem by its kind ("sine waves" or "characters"), the inner steps and the number of tasks."""

    kind: str
    steps: int
    tasks: int
    seed: int = 0

    @property
    def what(self) -> str:
        """The case in words."""
        net = "1-40-40-1, 10 + 10 points" if self.kind == "sine waves" else "5-way 1-shot, convolutions"
        return f"MAML, {self.kind}: {net}, {self.tasks} tasks, {self.steps} inner step{'s' * (self.steps > 1)}, float32"


CASES = [Case(kind, steps, tasks) for kind, tasks in (("sine waves", 25), ("characters", 8)) for steps in (1, 5)]


@dataclass(frozen=True)
class Given:
    """What everyone is given: support (x, y), query (x, y), each (B, n, ...), the start, a flat tuple, and eta."""

    support: tuple[Any, Any]
    query: tuple[Any, Any]
    start: tuple[Any, ...]
    eta: float


def given(case: Case) -> Given:
    """Return the numbers of a case."""
    stream = np.random.default_rng(case.seed)
    if case.kind == "sine waves":
        task = _sine_waves(case)
        start = tuple(leaf[0] for leaf in task.init(stream))
        assert task.validation is not None
        return Given((task.x, task.y), task.validation, start, _ETAS[case.kind])
    episodes = _episodes(case)
    start = characters.init(stream, 14, 16, 5)
    seen = (characters.seen(x) for x in (episodes.support_x, episodes.query_x))
    pairs = zip(seen, (episodes.support_y, episodes.query_y), strict=True)
    support, query = ((x, np.eye(5, dtype=np.float32)[y]) for x, y in pairs)
    return Given(support, query, start, _ETAS[case.kind])


def _sine_waves(case: Case) -> Any:
    import metagrad as mg

    return mg.Sinusoids.maml(count=case.tasks, dtype=np.float32)(case.seed)


def _episodes(case: Case) -> Any:
    from metagrad.data import Episodes

    stream = np.random.default_rng([case.seed, 1])
    x, held = (stream.random((case.tasks, n, 196), dtype=np.float32) for n in (5, 25))
    labels = np.tile(np.arange(5), (case.tasks, 1))
    return Episodes(x, labels, held, np.repeat(labels, 5, axis=1), ways=5)


def ours(case: Case) -> Call:
    """Return the call of the engine, as the experiments make it."""
    import metagrad as mg

    start, eta = given(case).start, _ETAS[case.kind]
    sine = case.kind == "sine waves"
    task = mg.LearnedStart(_sine_waves(case)) if sine else characters.learned_start(_episodes(case), start)
    rule, objective, phi = mg.GradientDescent(), mg.Final("validation"), mg.Joint(rule=eta, task=start)

    def call() -> list[Any]:
        found = mg.meta_gradient(task, rule, objective, phi, steps=case.steps)
        return [found.value.to_float().mean(), *(leaf.to_float() for leaf in found.grad.task)]

    return call


def calls(case: Case, found: dict[str, ModuleType]) -> dict[str, Call]:
    """Return the calls by name: each gives the mean value and the gradients in the leaves of the start."""
    every: dict[str, Call] = {OURS: ours(case)}
    for name, library in ((JAX, "jax"), (TORCH, "torch")):
        if library in found:
            every[name] = found[library].maml(case.kind, given(case), case.steps)
    return every


def run(settings: Settings) -> Result:
    """Compare every case with every peer, and the memory of a call on one thread."""
    found, missing = peers.load_all(list(PEERS), PEERS)
    result = Result(missing=missing)
    for case in (replace(case, seed=settings.seed) for case in CASES):
        result.rows += compare(case, found, settings.repetitions)
        if settings.threads == 1:
            result.rows += _memory(case, found)
    return result


def compare(case: Case, found: dict[str, ModuleType], repetitions: int) -> list[Row]:
    """Return a row for each peer."""
    every = calls(case, found)
    costs = interleave([Contender(name, call) for name, call in every.items()], repetitions, cpu=True)
    values = {name: call() for name, call in every.items()}
    by_name = dict(zip(every, costs, strict=True))
    return [
        Row(case.what, OURS, by_name[OURS], peer, by_name[peer], _apart(values[OURS], values[peer]), _TOLERANCE, target)
        for peer, target in _TARGETS.items()
        if peer in every
    ]


def _apart(mine: list[Any], theirs: list[Any]) -> float:
    """Return the largest difference of value and gradients, over the largest entry of each."""
    pairs = zip(mine, theirs, strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) for a, b in pairs)


def _memory(case: Case, found: dict[str, ModuleType]) -> list[Row]:
    index = CASES.index(replace(case, seed=0))
    names = [OURS, *(name for name, library in ((JAX, "jax"), (TORCH, "torch")) if library in found)]
    peaks = {
        name: child("benchmarks.learned_starts_child", str(index), name, str(case.seed))["resident"] for name in names
    }
    what = f"peak memory above the data, resident set: {case.what}"
    return [Row(what, OURS, peaks[OURS], peer, peaks[peer], unit="bytes") for peer in names[1:]]
