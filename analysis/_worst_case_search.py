"""A minimax by an adversary: functions ascend against a schedule, the schedule descends on the worst of them.

    adversary   theta_b <- argmax f_b(x_n)      of many functions that are tried the worst ascend, by meta-gradient
    schedule    d <- argmin max_b v_b + g_b'd   a linear program in a box, d the change of the logs of the steps;
                                                taken where the adversary finds less against it, else the box shrinks

until no change is left that would gain anything. No certificate and no formula is asked.

The worst function often has a step of the run land where f'' switches. There f(x_n) has a kink in theta, one side
rising and one falling, and the slope in h is neither of the two: as theta follows the kink, it is the combination
sum_i a_i dh_i, a >= 0, sum a = 1, of gradients from either side for which sum_i a_i dtheta_i = 0 (the optimality
condition of Clarke). The gradients are sampled around theta (gradient sampling; Burke, Lewis and Overton 2005), the
a_i found by least squares. At a kink ascent creeps, so random kicks help it, the best of which stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, nnls

import metagrad as mg
from analysis import _convex_functions as convex
from metagrad.xp import Array

_RULE = mg.Scheduled(mg.GradientDescent())
_END = mg.Final()
_BOX = 0.2  # how far a round moves a step, in the log
_DONE = 1e-4  # relative gain in sight that ends the search
_SHORT = 5e-4  # box that ends it
_AGAIN = 0.02  # the box of a second look
_LOOKS = 2  # in a row without a gain, before it ends
_CLOUD = 48  # gradients around a function
_RADIUS = 1e-3  # how far around, in the logs of lengths
_SAME, _ALIKE = 1e-3, 1e-2  # in value and in slopes, relative: two functions of which one is kept
_NEAR = 0.2  # relative: functions whose value is farther below the worst are left out of the linear program


@dataclass(frozen=True)
class Search:
    """Functions that are looked at, that ascend, the steps of the ascent, rounds of kicks, copies of each, rounds."""

    tried: int = 20000
    ascending: int = 48
    ascent: int = 20
    kicks: int = 6
    copies: int = 100
    rounds: int = 30


@dataclass(frozen=True)
class Found:
    """The schedule (n,), the value of the worst function that was found for it, and whether no gain was in sight.

    `schedules` (rounds, n) and `values` (rounds,): what was tried, and the worst that was found for it.
    """

    schedule: Array
    value: float
    ended: bool
    schedules: Array
    values: Array


def minimax(start: Array, stream: np.random.Generator, search: Search) -> Found:
    """Return the schedule of least worst value among convex functions of one variable, near `start` (n,)."""
    best, box = np.array(start, np.float64), _BOX
    thetas, worst = adversary(best, np.zeros((0, 2, convex.INTERVALS, 2)), stream, search)
    least, schedules, values = float(worst[0]), [best], [float(worst[0])]
    looks, before = 0, least
    for _ in range(search.rounds):
        near = worst > least * (1 - max(_NEAR, 2 * box))
        moved, gain = descended(best, worst[near], slopes(best, thetas[near], stream), box)
        if gain < _DONE or box < _SHORT:  # a look with new functions and a larger box: is it so?
            looks = looks + 1 if least > before * (1 - _DONE) else 0
            if looks == _LOOKS:
                break
            thetas, worst = adversary(best, thetas, stream, search)
            box, least = _AGAIN, float(worst[0])
            before = least
            continue
        others, found = adversary(moved, thetas, stream, search)
        schedules.append(moved)
        values.append(float(found[0]))
        if found[0] < least:
            far = float(np.abs(np.log(moved / best)).max())  # less than the box where the models cross inside it
            box = min(2 * far, _BOX) if found[0] < least * (1 - gain / 2) else box
            best, least, thetas, worst = moved, float(found[0]), others, found
        else:  # what was worse there may be bad here too
            box /= 3
            thetas, worst = ascended(best, np.concatenate([thetas, others]), stream, search)
            least = float(worst[0])
    return Found(best, least, looks == _LOOKS, np.array(schedules), np.array(values))


def adversary(schedule: Array, known: Array, stream: np.random.Generator, search: Search) -> tuple[Array, Array]:
    """Return functions that the schedule leaves much of, the worst first, and f(x_n) of each."""
    thetas = tried(search.tried // search.ascending * search.ascending, stream)
    groups = left(schedule, thetas).reshape(search.ascending, -1)
    worst = np.argmax(groups, axis=1) + np.arange(search.ascending) * groups.shape[1]  # of each group: not all alike
    return ascended(schedule, np.concatenate([thetas[worst], known]), stream, search)


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


def gradients(schedule: Array, thetas: Array) -> tuple[Array, Array, Array]:
    """Return f_b(x_n) (B,), its slopes in theta_b, and in the logs of the steps (B, n)."""
    etas = np.repeat(schedule[:, None], len(thetas), axis=1)
    phi = mg.Joint(rule=mg.GradientDescent.Phi(etas), task=thetas)
    found = mg.meta_gradient(convex.task(thetas), _RULE, _END, phi, steps=len(schedule), per_task=True)
    return found.value.to_float(), found.grad.task.to_float(), (found.grad.rule.eta.to_float() * etas).T


def ascended(schedule: Array, thetas: Array, stream: np.random.Generator, search: Search) -> tuple[Array, Array]:
    """Return functions after sign steps uphill and kicks, the worst first, no two alike, and f(x_n) of each.

    The sign steps are Rprop's (Riedmiller and Braun 1993).
    """
    x = np.array(thetas)
    best, values = x.copy(), np.zeros(len(x))
    size, last = np.full(x.shape, 0.1), np.zeros(x.shape)
    for _ in range(search.ascent):
        now, slope, _ = gradients(schedule, x)
        better = now > values
        best[better], values[better] = x[better], now[better]
        slope = np.sign(slope)
        size = np.clip(size * np.where(slope * last < 0, 0.5, 1.2), 1e-6, 0.5)
        last = np.where(slope * last < 0, 0.0, slope)
        x = np.minimum(x + size * last, np.log(convex.LONG))
    best, values = _unlike(schedule, best, search.ascending)
    for _ in range(search.kicks):
        many = (search.copies, *best.shape)
        sizes = 10.0 ** stream.uniform(-4, -0.5, many[:2])[:, :, None, None, None]
        moved = best + sizes * stream.standard_normal(many) * (stream.random(many) < 1 / 2)
        found = left(schedule, moved.reshape(-1, *best.shape[1:])).reshape(many[:2])
        top = np.argmax(found, axis=0)
        at = np.arange(len(best))
        better = found[top, at] > values
        best[better], values[better] = moved[top, at][better], found[top, at][better]
    return _unlike(schedule, best, search.ascending)


def _unlike(schedule: Array, thetas: Array, most: int) -> tuple[Array, Array]:
    """Return at most so many functions, the worst first, and f(x_n) of each: no two of one value and slope.

    At a minimax functions that have nothing in common have one value; alike are those with one slope in the steps too.
    """
    values, _, slope = gradients(schedule, thetas)
    marks = np.column_stack([values, slope]) / values.max()
    kept: list[int] = []
    for k in np.argsort(values)[::-1]:
        apart = np.abs(marks[kept] - marks[k])
        if len(kept) < most and not np.any((apart[:, 0] < _SAME) & (apart[:, 1:] < _ALIKE).all(axis=1)):
            kept.append(int(k))
    return thetas[kept], values[kept]


def slopes(schedule: Array, thetas: Array, stream: np.random.Generator) -> Array:
    """Return the slopes (B, n), in the logs of the steps, of the values that functions have which move with them."""
    cloud = thetas[:, None] + _RADIUS * stream.standard_normal((len(thetas), _CLOUD, *thetas.shape[1:]))
    _, inner, outer = gradients(schedule, cloud.reshape(-1, *thetas.shape[1:]))
    inner, outer = inner.reshape(len(thetas), _CLOUD, -1), outer.reshape(len(thetas), _CLOUD, -1)
    found = []
    for of_theta, of_steps in zip(inner, outer, strict=True):
        scale = np.abs(of_theta).max() + np.abs(of_steps).max()
        rows = np.concatenate([of_theta.T / scale, np.full((1, _CLOUD), 10.0)])  # the sum of weights is 1
        weights, _ = nnls(rows, np.append(np.zeros(len(rows) - 1), 10.0))
        found.append(weights @ of_steps / weights.sum())
    return np.array(found)


def descended(schedule: Array, values: Array, slopes: Array, box: float) -> tuple[Array, float]:
    """Return the schedule in the box at which the largest of the linear models is least, and the relative gain."""
    n, top = len(schedule), values.max()
    cost, rows = np.append(np.zeros(n), 1.0), np.concatenate([slopes / top, np.full((len(slopes), 1), -1.0)], axis=1)
    program = linprog(cost, rows, -values / top, bounds=[(-box, box)] * n + [(None, None)])
    return schedule * np.exp(program.x[:n]), float(1 - program.x[n])
