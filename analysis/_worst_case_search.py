"""A minimax by exchange: an adversary moves functions against a schedule, the schedule descends on all that it has met.

    adversary   theta_b <- argmax f_b(x_n)                    many functions are tried, the worst ascend by meta-gradient
    schedule    (h, t) <- argmin t  such that f_b(x_n) <= t   linear programs in a box, slopes by the engine

until the adversary has found nothing worse than what is known, twice. No certificate and no formula is asked.

The ascent takes sign steps (Rprop; Riedmiller and Braun 1993) in all functions at once: f_b depends on theta_b alone, so
that one meta-gradient of the mean has the slopes of every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

import metagrad as mg
from analysis import _convex_functions as convex
from metagrad.xp import Array

_RULE = mg.Scheduled(mg.GradientDescent())
_END = mg.Final("validation")
_KEPT = 6  # functions that a round adds
_DONE = 2e-4  # relative: what the adversary may find beyond the level before the search goes on
_BOX = 0.2  # how far a round moves a step, in the log
_FLAT = 1e-6
_PROGRAMS = 40


@dataclass(frozen=True)
class Search:
    """How much is tried: functions that are looked at, those that ascend, steps of the ascent, rounds at most."""

    tried: int = 20000
    ascending: int = 24
    ascent: int = 40
    rounds: int = 20


@dataclass(frozen=True)
class Found:
    """The schedule (n,), the value of the worst function that was found for it, the rounds, and whether all was quiet.

    `schedules` (rounds, n) and `values` (rounds,): what each round began from, and the worst that was found for it.
    """

    schedule: Array
    value: float
    quiet: bool
    schedules: Array
    values: Array


def minimax(start: Array, stream: np.random.Generator, search: Search) -> Found:
    """Return the schedule of least worst value among convex functions of one variable, near `start` (n,)."""
    best, box, ended = np.array(start, np.float64), _BOX, False
    known = np.zeros((0, 2, convex.INTERVALS, 2))
    thetas, worst = adversary(best, known, stream, search)
    least, schedules, values = float(worst[0]), [best], [float(worst[0])]
    for _ in range(search.rounds):
        known = np.concatenate([known, thetas[:_KEPT]])
        least = max(least, float(left(best, known).max()))
        moved, level = descended(best, known, box)
        if ended := level > least * (1 - _DONE):
            break
        thetas, worst = adversary(moved, known, stream, search)
        schedules.append(moved)
        values.append(float(worst[0]))
        if values[-1] < least:
            box = min(2 * box, _BOX) if values[-1] < (least + level) / 2 else box
            best, least = moved, values[-1]
        else:
            box /= 2
    return Found(best, least, ended, np.array(schedules), np.array(values))


def adversary(schedule: Array, known: Array, stream: np.random.Generator, search: Search) -> tuple[Array, Array]:
    """Return functions that the schedule leaves much of, the worst first, and f(x_n) of each."""
    thetas = np.concatenate([tried(search.tried, stream), known])
    values = left(schedule, thetas)
    worst = np.argsort(values)[::-1][: search.ascending]
    thetas, values = ascended(schedule, thetas[worst], search.ascent)
    order = np.argsort(values)[::-1]
    return thetas[order], values[order]


def tried(count: int, stream: np.random.Generator) -> Array:
    """Return `count` functions: Huber's of all widths on either side, every second with a second interval.

    A run that crosses the minimum sees both sides, and where it lands is not a convex question: they have to be many.
    """
    logs = stream.uniform(np.log(0.02), np.log(2.0), (count, 2, convex.INTERVALS, 2))
    logs[::2, :, 0, 1] = np.log(convex.LONG)  # no second interval is reached
    far = stream.random((count, 2)) < 1 / 4  # as a quadratic on this side
    logs[:, :, 0, 0][far] = np.log(convex.LONG)
    return np.asarray(logs)


def left(schedule: Array, thetas: Array) -> Array:
    """Return f_b(x_n), (B,)."""
    phi = mg.Joint(rule=schedule, task=thetas)
    return np.asarray(mg.value(convex.task(thetas), _RULE, _END, phi, steps=len(schedule)).value.to_float())


def ascended(schedule: Array, thetas: Array, steps: int) -> tuple[Array, Array]:
    """Return the functions, moved uphill, and f(x_n) of each: the best that each has met."""
    task, x = convex.task(thetas), np.array(thetas)
    best, values = x.copy(), np.zeros(len(x))
    size, last = np.full(x.shape, 0.1), np.zeros(x.shape)
    for _ in range(steps):
        found = mg.meta_gradient(task, _RULE, _END, mg.Joint(rule=schedule, task=x), steps=len(schedule))
        now = found.value.to_float()
        better = now > values
        best[better], values[better] = x[better], now[better]
        slope = np.sign(found.grad.task.to_float())
        turned = slope * last
        size = np.clip(np.where(turned < 0, size / 2, np.where(turned > 0, size * 1.3, size)), 1e-6, 0.5)
        last = np.where(turned < 0, 0.0, slope)
        x = np.minimum(x + size * last, np.log(convex.LONG))
    return best, values


def descended(schedule: Array, thetas: Array, far: float) -> tuple[Array, float]:
    """Return the schedule of least max_b f_b(x_n), and that value: a linear program in a box, time and again.

    A step is taken where the largest f_b is less after it; else the box is made smaller.
    """
    n, count = len(schedule), len(thetas)
    x = first = np.log(schedule)
    box = far
    f, slopes = _sloped(x, thetas)
    cost, ends = np.append(np.zeros(n), 1.0), np.full((count, 1), -1.0)
    for _ in range(_PROGRAMS):
        top = f.max()
        low, high = np.maximum(first - far - x, -box), np.minimum(first + far - x, box)
        bounds = [*zip(low, high, strict=True), (None, None)]
        program = linprog(cost, np.concatenate([slopes / top, ends], axis=1), -f / top, bounds=bounds)
        if program.status != 0 or (expected := 1 - program.x[-1]) < _FLAT:
            break
        new = _sloped(x + program.x[:-1], thetas)
        gain = 1 - new[0].max() / top
        if gain > 0:
            x, (f, slopes) = x + program.x[:-1], new
        box = box / 3 if gain < expected / 4 else min(2 * box, far) if gain > expected / 2 else box
        if box < _FLAT:
            break
    return np.exp(x), float(f.max())


def _sloped(x: Array, thetas: Array) -> tuple[Array, Array]:
    """Return f_b(x_n) and its derivatives (B, n) in x, the logs of the steps."""
    etas = np.repeat(np.exp(x)[:, None], len(thetas), axis=1)
    phi = mg.Joint(rule=mg.GradientDescent.Phi(etas), task=thetas)
    found = mg.meta_gradient(convex.task(thetas), _RULE, _END, phi, steps=len(x), per_task=True)
    return found.value.to_float(), (found.grad.rule.eta.to_float() * etas).T
