"""A user's own loss by every door: each call by programs, compiled, beside the same call by the tape alone.

Logistic regression in NumPy code. `own_loss` measures backpropagation against other libraries; here it is said which
calls of ours have its speed, too: values, curves, tangents, windows, rules with state, learned optimizers, schedules,
learned starts, minibatches that are picked by an index, rules and tasks that are made anew at every call. Both ways
give the same bits, which is looked at first. Calls before those that are timed record; the tape has nothing to record.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.harness import Contender, interleave
from benchmarks.results import Result, Row
from benchmarks.settings import Settings

SUMMARY = "a user's own loss by every door: programs beside the tape, in one run"
SIZES, STEPS = (16, 50, 10), 40
_BEFORE, _TASKS = 40, 20
_TARGET = 1.0

Call = Callable[[Any], Any]


def run(settings: Settings) -> Result:
    """Compare every door with itself by the tape."""
    return Result([_row(name, call, settings) for name, call in doors().items()])


class _Descent:
    """Gradient descent in a user's code."""

    def init(self, phi: Any, w: Any) -> Any:
        return ()

    def step(self, phi: Any, state: Any, w: Any, f: Any) -> Any:
        return w - phi * f.gradient(w), ()


def doors() -> dict[str, Call]:
    """Return the calls by name, each a function of a `Given`."""
    import metagrad as mg

    gd, adam, lstm, mlp = mg.GradientDescent(), mg.Adam(), mg.CoordinatewiseLSTM(), mg.MLP31()
    following, windows = mg.Following(gd, eta=mg.Cosine()), {"method": "windows", "window": 10}
    draw, over, final = np.random.default_rng(0), mg.WeightedSum(), mg.Final()
    start = np.full(SIZES[2], 0.1)

    def reverse(task: Any, rule: Any = gd, phi: Any = 0.1, objective: Any = over, **options: Any) -> Any:
        return mg.meta_gradient(task, rule, objective, phi, steps=options.pop("steps", STEPS), **options)

    def from_start(task: Any, rule: Any, phi: Any, steps: int) -> Any:
        return reverse(mg.LearnedStart(task), rule, mg.Joint(rule=phi, task=start), final, steps=steps)

    of_lstm, of_mlp = lstm.init_meta(draw), mlp.init_meta(draw)
    decay = mg.Joint(rule=0.1, task=np.array(-3.0))
    return {
        "reverse": lambda on: reverse(on.plain),
        "value": lambda on: mg.value(on.plain, gd, over, 0.1, steps=STEPS),
        "rollout": lambda on: mg.rollout(on.plain, gd, 0.1, steps=STEPS),
        "forward": lambda on: reverse(on.plain, method="forward"),
        "windows of 10 steps": lambda on: reverse(on.plain, **windows),
        "windows of 10 steps, Adam": lambda on: reverse(on.plain, adam, adam.Phi(0.05), **windows),
        "minibatches picked by an index": lambda on: reverse(on.picked),
        "a weight decay beside the step size": lambda on: reverse(on.decayed, phi=decay),
        "the LSTM that ships": lambda on: reverse(on.plain, lstm, of_lstm),
        "the LSTM that ships, windows of 10 steps": lambda on: reverse(on.plain, lstm, of_lstm, **windows),
        "MLP31": lambda on: reverse(on.plain, mlp, of_mlp),
        "Adan": lambda on: reverse(on.plain, mg.Adan(), mg.Adan.Phi(0.01)),
        "a cosine schedule": lambda on: reverse(on.plain, following, following.Phi(0.1, 0.0)),
        "a rule of one's own, made anew": lambda on: reverse(on.plain, _Descent(), np.array(0.1)),
        "a learned start": lambda on: from_start(on.plain, gd, 0.1, STEPS),
        "a learned start, 5 steps": lambda on: from_start(on.plain, gd, 0.1, 5),
        "a learned start, 5 steps, a rule of one's own": lambda on: from_start(on.plain, _Descent(), np.array(0.1), 5),
        "a learned start, 5 steps, minibatches": lambda on: from_start(on.picked, gd, 0.1, 5),
    }


class Given:
    """A task, and the same one with a weight decay as its meta-parameter, and on minibatches."""

    def __init__(self, seed: int) -> None:
        """Draw the data."""
        import metagrad as mg

        count, n, d = SIZES
        draw = np.random.default_rng(seed)
        x, y = draw.standard_normal((count, n, d)), np.sign(draw.standard_normal((count, n)))
        w0 = np.full((count, d), 0.1)

        def loss(w: Any, x: Any = x, y: Any = y) -> Any:
            return np.mean(np.log1p(np.exp(-y * np.einsum("bni,bi->bn", x, w))), axis=-1)

        def decayed(w: Any, theta: Any) -> Any:
            return loss(w) + np.exp(theta) * np.sum(w * w, axis=-1)

        def picked(w: Any, sample: Any) -> Any:
            return loss(w, x[:, sample], y[:, sample])

        def sampler(draw: Any, t: int) -> Any:
            return draw.integers(0, n, 10)

        self.plain = mg.FunctionTask(loss, w0)
        self.decayed = mg.FunctionTask(decayed, w0, theta=np.array(-3.0))
        self.picked = mg.FunctionTask(picked, w0, sampler=sampler)


def _row(name: str, call: Call, settings: Settings) -> Row:
    """Return the time of a call on one task; in the note that of a task that is new at every call."""
    from metagrad.replay import replayed

    tasks = [Given(settings.seed + k) for k in range(_TASKS)]

    def timed(on: list[Given], way: Callable[[], AbstractContextManager[Any]]) -> Callable[[], Any]:
        turn = cycle(on)

        def once() -> Any:
            with way():
                return call(next(turn))

        return once

    by_programs, anew = (timed(on, lambda: replayed(compiled="at once")) for on in (tasks[:1], tasks))
    by_tape = timed(tasks[:1], lambda: replayed(False))
    found = [by_programs() for _ in range(_BEFORE)][-1]
    same = _bits(found) == _bits(by_tape())
    contenders = [Contender("replay, compiled", by_programs), Contender("tape", by_tape)]
    ours, tape = interleave(contenders, settings.repetitions, cpu=True)
    for _ in range(_BEFORE):
        anew()
    (new,) = interleave([Contender("new tasks", anew)], settings.repetitions, cpu=True)
    note = f"a new task at every call: {new.median * 1e3:.2f} ms; {'the same bits' if same else 'OTHER BITS'}"
    sizes = ", ".join(f"{key} = {size}" for key, size in zip("Bnd", SIZES, strict=True))
    what = f"{name}: logistic regression, {sizes}, T = {STEPS}, float64"
    return Row(what, "replay, compiled", ours, "tape", tape, 0.0 if same else 1.0, target=_TARGET, note=note)


def _bits(found: Any) -> list[bytes]:
    """Return the bits of a curve, or of an estimate's numbers."""
    import metagrad as mg

    if isinstance(found, np.ndarray):
        return [found.tobytes()]
    numbers = [found.value, *([] if found.grad is None else mg.ad.leaves(found.grad))]
    return [np.asarray(part).tobytes() for x in numbers for part in (x.mantissa, x.exponent)]
