"""The update rules of the reference: `start(w)` and `step(phi, state, w, g, t, moved)`, t = 1, 2, ..., in dual numbers.

`moved` moves what a step computes on its way by a rounding: a rule may cancel what it has just multiplied by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.fuzz.digits import Dual, as_dual

State = dict[str, Dual]
Moved = Callable[[Dual], Dual]


class Recursion(NamedTuple):
    """A rule: the names of what it remembers, which starts at 0, and its step."""

    names: tuple[str, ...]
    step: Callable[[dict[str, Dual], State, Dual, Dual, int, Moved], tuple[Dual, State]]

    def start(self, w: Dual) -> State:
        return {name: Dual(0 * w.x) for name in self.names}


def _descent(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    return w - p["eta"] * g, {}


def _momentum(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    m = moved(p["mu"] * s["m"]) - moved(p["eta"] * g)
    return w + m, {"m": m}


def _nesterov(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    m = moved(p["mu"] * s["m"]) - moved(p["eta"] * g)
    return w + p["mu"] * m - p["eta"] * g, {"m": m}


def _sgdw(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    m = moved(p["mu"] * s["m"]) - moved(p["eta"] * g)
    return w + m - p["eta"] * p["decay"] * w, {"m": m}


def _mean(beta: Dual, old: Dual, new: Dual, moved: Moved) -> Dual:
    return moved(moved(beta * old) + moved((1 - beta) * new))


def _corrected(mean: Dual, beta: Dual, t: int, moved: Moved) -> Dual:
    return moved(mean / (1 - beta.power(t)))


def _rmsprop(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    v = _mean(p["rho"], s["v"], g * g, moved)
    return w - moved(p["eta"] * g / (moved(v.sqrt()) + p["eps"])), {"v": v}


def _adagrad(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    v = s["v"] + g * g
    return w - moved(p["eta"] * g / (moved(v.sqrt()) + p["eps"])), {"v": v}


def _adam(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    m, v = _mean(p["beta1"], s["m"], g, moved), _mean(p["beta2"], s["v"], g * g, moved)
    root = _corrected(v, p["beta2"], t, moved).sqrt() + p["eps"]
    return w - moved(p["eta"] * _corrected(m, p["beta1"], t, moved) / root), {"m": m, "v": v}


def _adamw(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    ahead, state = _adam(p, s, w, g, t, moved)
    return ahead - p["eta"] * p["decay"] * w, state


def _nadam(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    b1, b2 = p["beta1"], p["beta2"]
    m, v = _mean(b1, s["m"], g, moved), _mean(b2, s["v"], g * g, moved)
    ahead = _corrected(b1 * m, b1, t + 1, moved) + _corrected((1 - b1) * g, b1, t, moved)
    return w - moved(p["eta"] * ahead / (_corrected(v, b2, t, moved).sqrt() + p["eps"])), {"m": m, "v": v}


def _adan(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    b1, b2, b3 = p["beta1"], p["beta2"], p["beta3"]
    d = g - (g if t == 1 else s["g"])
    u = g + moved(b2 * d)
    m, v, n = _mean(b1, s["m"], g, moved), _mean(b2, s["v"], d, moved), _mean(b3, s["n"], u * u, moved)
    ahead = _corrected(m, b1, t, moved) + b2 * _corrected(v, b2, t, moved)
    root = _corrected(n, b3, t, moved).sqrt() + p["eps"]
    return (w - moved(p["eta"] * ahead / root)) / (1 + p["eta"] * p["decay"]), {"m": m, "v": v, "n": n, "g": g}


def _lion(p: Any, s: State, w: Dual, g: Dual, t: int, moved: Moved) -> tuple[Dual, State]:
    mixed = p["beta1"].x * s["m"].x + (1 - p["beta1"].x) * g.x
    sign = as_dual(np.frompyfunc(lambda x: (x > 0) - (x < 0), 1, 1)(mixed))
    m = _mean(p["beta2"], s["m"], g, moved)
    return w - p["eta"] * sign - p["eta"] * p["decay"] * w, {"m": m.held()}


RULES = {
    "GradientDescent": Recursion((), _descent),
    "Momentum": Recursion(("m",), _momentum),
    "Nesterov": Recursion(("m",), _nesterov),
    "SGDW": Recursion(("m",), _sgdw),
    "RMSprop": Recursion(("v",), _rmsprop),
    "Adagrad": Recursion(("v",), _adagrad),
    "Adam": Recursion(("m", "v"), _adam),
    "AdamW": Recursion(("m", "v"), _adamw),
    "NAdam": Recursion(("m", "v"), _nadam),
    "Adan": Recursion(("m", "v", "n", "g"), _adan),
    "Lion": Recursion(("m",), _lion),
}
