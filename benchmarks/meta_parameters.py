"""What it costs to name where meta-parameters live, and to tune those of a task: one call with each phi.

The quadratics and the engine are those of `reverse_mode`; the logistic regression is the README's, and a second one has
a weight decay exp(theta) in its loss. A bare phi and `Joint(rule=phi)` ask for the same gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import reverse_mode
from benchmarks.harness import Contender, interleave
from benchmarks.problems import quadratics
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "a bare phi, Joint(rule=phi) and Joint(rule=phi, task=theta), in reverse mode and in windows"
BARE, JOINT, DECAYED, TUNED = (
    "engine, bare phi",
    "engine, Joint(rule=phi)",
    "engine, bare phi, decay fixed",
    "engine, Joint(rule=phi, task=theta)",
)
METHODS: dict[str, dict[str, Any]] = {
    "reverse": {"method": "reverse"},
    "windows of 10": {"method": "windows", "window": 10},
}
STEPS, ETA, THETA = 40, 0.5, np.array(-3.0)
_SAME = 1.05  # the same work: above it is more than the noise of a timing

Call = Callable[[], Any]


def run(settings: Settings) -> Result:
    """Compare the calls on quadratics, with a fused kernel, and on logistic regression, by the tape."""
    return Result([*_quadratics(settings), *(row for name in METHODS for row in _logistic(name, settings))])


def _quadratics(settings: Settings) -> list[Row]:
    import metagrad as mg

    case = reverse_mode.CASES[0]
    task = mg.Quadratic(*quadratics(case.batch, case.d, settings.seed, np.dtype(case.dtype)))
    phi = mg.GradientDescent().check_phi(case.eta, "benchmarks")
    rows = []
    for name, options in {"plain": {"scaling": "none"}, "scaled": {"scaling": "auto"}}.items():
        call = partial(mg.Reverse(**options), task, mg.GradientDescent(), mg.LogFinal(), steps=case.steps)
        calls = {BARE: partial(call, phi=phi), JOINT: partial(call, phi=mg.Joint(rule=phi))}
        rows += _compare(f"{case.what}, {name}", calls, [(JOINT, BARE, _SAME)], settings)
    return rows


def _logistic(name: str, settings: Settings) -> list[Row]:
    pairs = [(JOINT, BARE, _SAME), (DECAYED, BARE, None), (TUNED, DECAYED, None), (TUNED, BARE, None)]
    return _compare(_what(name), logistic_calls(name, settings.seed), pairs, settings)


def _compare(
    what: str, calls: dict[str, Call], pairs: list[tuple[str, str, float | None]], settings: Settings
) -> list[Row]:
    contenders = [Contender(name, call) for name, call in calls.items()]
    costs = dict(zip(calls, interleave(contenders, settings.repetitions, cpu=True), strict=True))
    same = relative_difference(_numbers(calls[JOINT]()), _numbers(calls[BARE]()))
    return [
        Row(what, ours, costs[ours], peer, costs[peer], same if ours == JOINT else None, 0.0, target, note="CPU time")
        for ours, peer, target in pairs
    ]


def _numbers(found: Any) -> list[Any]:
    grad = getattr(found.grad, "rule", found.grad)
    return [*found.value.to_float(), grad.eta.to_float()]


def _what(name: str) -> str:
    return f"G, G' of logistic regression: B = 2, n = 50, d = 3, T = {STEPS}, float64, {name}"


def bare_call(seed: int) -> Call:
    """Return the call in reverse mode with a bare phi and without decay: what every commit can do."""
    import metagrad as mg

    return _call(mg.FunctionTask(_logistic_loss(seed), np.zeros((2, 3))), mg.GradientDescent.Phi(ETA), {})


def logistic_calls(name: str, seed: int) -> dict[str, Call]:
    """Return the calls on logistic regression by the method `name`."""
    import metagrad as mg

    loss, w0, options = _logistic_loss(seed), np.zeros((2, 3)), METHODS[name]
    phi = mg.GradientDescent.Phi(ETA)

    def decayed_loss(w: Any, theta: Any) -> Any:
        return loss(w) + np.exp(theta) * np.sum(w * w, axis=-1)

    plain, decayed = mg.FunctionTask(loss, w0), mg.FunctionTask(decayed_loss, w0, theta=THETA)
    return {
        BARE: _call(plain, phi, options),
        JOINT: _call(plain, mg.Joint(rule=phi), options),
        DECAYED: _call(decayed, phi, options),
        TUNED: _call(decayed, mg.Joint(rule=phi, task=THETA), options),
    }


def _logistic_loss(seed: int) -> Callable[[Any], Any]:
    x = np.random.default_rng(seed).standard_normal((2, 50, 3))
    y = (x[..., 0] > 0.3).astype(float)

    def loss(w: Any) -> Any:
        z = np.einsum("bni,bi->bn", x, w)
        return np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0.0) - y * z, axis=-1)

    return loss


def _call(task: Any, phi: Any, options: dict[str, Any]) -> Call:
    import metagrad as mg

    return partial(mg.meta_gradient, task, mg.GradientDescent(), mg.WeightedSum(), phi, steps=STEPS, **options)
