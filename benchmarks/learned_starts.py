"""One meta-gradient of MAML in float32: sine waves and few-shot characters, against JAX and PyTorch.

The value is the mean over tasks of the query loss after the inner steps, the gradient that in the learned start, whole
(second order). Sine waves: the network 1-40-40-1 of Finn, Abbeel and Levine 2017, relu, 25 tasks, 10 points to learn
from and 10 to be judged by, step size 0.01. Ours has other tasks at every call there, as in meta-training, and is timed
when its programs are recorded (`metagrad.unroll.quiet_starts`), compiled and with NumPy alone. Characters: 5 classes,
one drawing each, and 25 queries; the convolutional network of the experiment `few_shot`, 8 tasks of 14 x 14 pixels,
which are noise here: what is in them costs nothing.
JAX is one jit-compiled `value_and_grad` over a `vmap` of the tasks; PyTorch is eager, `create_graph=True`, all tasks in
one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import cycle
from types import ModuleType
from typing import Any, Literal

import numpy as np

from analysis import _few_shot_net as characters
from benchmarks import peers
from benchmarks.harness import Contender, Timing, interleave
from benchmarks.memory import child
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "one meta-gradient of MAML, second order: sine waves and few-shot characters; time and memory"
PEERS = {"jax": "benchmarks.peers.jax_starts", "torch": "benchmarks.peers.torch_starts"}
OURS, NUMPY, JAX, TORCH = "engine", "engine, NumPy alone", "JAX, jit", "PyTorch, eager"
_TARGETS = {JAX: 1.0, TORCH: 0.5}
_TOLERANCE = 1e-3  # float32, through relu and five steps
_ETAS = {"sine waves": 0.01, "characters": 0.2}

_TASKS, _CALLS_BEFORE = 16, 12
Call = Callable[[], list[Any]]
When = Literal["never", "at once"]


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


class Ours:
    """The call of the engine, as the experiments make it: on the data of the case, and `anew`, on other tasks."""

    def __init__(self, case: Case, when: When) -> None:
        """Make the tasks; programs are compiled `when` they are said to be."""
        import metagrad as mg

        self._case, self._when, start, eta = case, when, given(case).start, _ETAS[case.kind]
        cases = [replace(case, seed=case.seed + k) for k in range(_TASKS)]
        sine = case.kind == "sine waves"
        self._task = mg.LearnedStart(_sine_waves(case)) if sine else characters.learned_start(_episodes(case), start)
        others = [mg.LearnedStart(_sine_waves(one)) for one in cases[1:]] if sine else []
        self._tasks = cycle([self._task, *others])
        self._ask = mg.GradientDescent(), mg.Final("validation"), mg.Joint(rule=eta, task=start)

    def __call__(self) -> list[Any]:
        """Return the mean value and the gradients."""
        return self._on(self._task)

    def anew(self) -> list[Any]:
        """Return those of the next tasks."""
        return self._on(next(self._tasks))

    def warm(self) -> Ours:
        """Return itself, when it has been called a few times."""
        for _ in range(_CALLS_BEFORE):
            self.anew()
        return self

    def _on(self, task: Any) -> list[Any]:
        import metagrad as mg
        from metagrad.replay import replayed

        with replayed(compiled=self._when):
            found = mg.meta_gradient(task, *self._ask, steps=self._case.steps)
        return [found.value.to_float().mean(), *(leaf.to_float() for leaf in found.grad.task)]


def ours(case: Case) -> dict[str, Ours]:
    """Return the ways of ours by name: compiled where Numba is, and with NumPy alone."""
    fast: When = "at once" if find_spec("numba") else "never"
    ways: dict[str, When] = {OURS: fast} | ({NUMPY: "never"} if case.kind == "sine waves" else {})
    return {name: Ours(case, when) for name, when in ways.items()}


def calls(case: Case, found: dict[str, ModuleType]) -> dict[str, Call]:
    """Return the calls by name: each gives the mean value and the gradients in the leaves of the start."""
    every: dict[str, Call] = {**ours(case)}
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
    timed = {name: call.warm().anew if isinstance(call, Ours) else call for name, call in every.items()}
    costs = interleave([Contender(name, call) for name, call in timed.items()], repetitions, cpu=True)
    values = {name: call() for name, call in every.items()}
    by_name = dict(zip(every, costs, strict=True))
    pairs = [(OURS, JAX), (OURS, TORCH), (NUMPY, JAX)]
    return [_row(case, pair, by_name, values) for pair in pairs if set(pair) <= set(every)]


def _row(case: Case, pair: tuple[str, str], costs: dict[str, Timing], values: dict[str, list[Any]]) -> Row:
    mine, peer = pair
    target = _TARGETS[peer] if mine == OURS else None
    return Row(case.what, mine, costs[mine], peer, costs[peer], _apart(values[mine], values[peer]), _TOLERANCE, target)


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
