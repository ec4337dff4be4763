"""How a rounding of w grows on its way through a run, from what a sweep holds anyway.

With lambda_t the adjoint of w_t and J_t the derivative of step t, a relative change of the coordinates of w_t by u
changes the objective by about u p_t, p_t = sum_i |lambda_{t,i} w_{t,i}|. Over one step it grows by
    gamma_t = q_t / p_{t+1},   q_t = sum_i |(J_t' lambda_{t+1})_i w_{t,i}|,
which is 1 where the steps are linear, and on average above it where the run is chaotic. A w that passes by zero is
taken for as large as it was a step before. Where a term of a sum is added to lambda, its first step seems to grow, for
its entries had no time to cancel: that is taken off again. The rounding that a step makes
is that of w_t, which is more than that of w_{t+1} where the two terms of a step cancel:
    rho_t = r_t / p_{t+1},     r_t = sum_i |lambda_{t+1,i} w_{t,i}|.
Of w alone: the state of a rule is another thing. Derived; checked by tests against runs from neighbouring floats.
On the host alone: on a device these few small products a step would take longer than the step.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay import Sums, products, sums_of
from metagrad.scaled import Scaled
from metagrad.unroll.rescale import is_float_array, log2_of
from metagrad.xp import Array, Namespace, filled

_CHUNK, _BYTES = 256, 1 << 18
_SHARE = 2.0  # by how much more a fresh term lessens growth than it adds to p: its own first step only seems to grow


class Grown(NamedTuple):
    """What has grown, in log2, (B,).

    `chaos`: the most that a change grew; `rounding`: that, with the roundings that steps make; `value`: what all
    roundings do to the objective, in units of u, None if that is not known; `size`: the largest p_t.
    """

    chaos: Array
    rounding: Array
    value: Array | None
    size: Array


def growth_of(unroll: Any) -> Growth | None:
    """Return what collects the growth of an unroll; None where the adjoint does not tell, and on a device."""
    held = unroll.options.gradient == "stop_gradient"
    return None if held or unroll.xp is not np else Growth(unroll.xp, unroll.batch, unroll.w0)


class _Step(NamedTuple):
    """Step t: lambda_{t+1}, w_{t+1}, J'lambda_{t+1}, w_t, exponents of lambda, w_{t+1}, w_t; is lambda_{t+1} fresh?"""

    after: Tree
    later: Tree
    before: Tree
    w: Tree
    powers: tuple[Array, Array, Array]
    begins: bool


class _Logs(NamedTuple):
    """Some steps: log2 of q, of r, and of p where a term was added, (3, n, B); and where that is, (n,)."""

    rows: Array
    begins: Array

    def part(self, first: int, end: int) -> _Logs:
        """Return those from `first` to before `end`."""
        return _Logs(self.rows[:, first:end], self.begins[first:end])


class Growth:
    """Collects the steps from the last to the first, and looks at them in chunks; arrays are held up to 256 kB."""

    def __init__(self, xp: Namespace, batch: int, w: Tree) -> None:
        """Start with nothing grown; `w` is any state."""
        self._xp = xp
        size = sum(int(leaf.nbytes) for leaf in ad.leaves(w) if is_float_array(leaf))
        self._most_steps = max(1, _BYTES // max(1, size))
        self._steps: list[_Step] = []  # the latest ones
        self._logs: list[_Logs] = []  # those before them
        self._count = 0
        self._begins = True  # whether the adjoint is not what the last step was pulled back to
        self._end: Array | None = None  # log2 q of the step before
        self._most = _Most(xp, batch)
        zero = xp.zeros(batch)
        self._rounding, self._size = zero, zero - np.inf
        self._value: Array | None = None

    def term_added(self) -> None:
        """Note that the adjoint is no longer what the last step was pulled back to."""
        self._begins = True

    def step(self, after: tuple[Tree, Tree], before: tuple[Tree, Tree], powers: tuple[Array, Array, Array]) -> None:
        """Note step t: (lambda, w) at t + 1, (J'lambda, w) at t, and the exponents of lambda, w_{t+1} and w_t."""
        self._steps.append(_Step(*after, *before, powers, self._begins))
        self._begins = False
        self._count += 1
        if len(self._steps) >= self._most_steps:
            self._take_logs()
        if self._count >= _CHUNK:
            self._flush()

    def steps(self, sums: Sums, start: tuple[Tree, Tree], power: Array) -> None:
        """Note steps of which the sums are known, the last first; `start`: (lambda, w) after the last.

        `power`: the exponent of all adjoints, (B,); those of the states are 0.
        """
        count = len(sums.pulled)
        fresh = filled(np, count, sums.after is not None, bool)
        fresh[0] = self._begins
        p = sums.pulled if sums.after is None else sums.after
        rows = np.empty((3, *p.shape), p.dtype)
        rows[0], rows[1], rows[2, 0], rows[2, 1:] = sums.pulled, sums.given, sums_of(*start), p[:-1]
        logs = _Logs(_log2(rows, power), fresh)
        self._begins = sums.after is not None
        self._take_logs()
        done = 0
        while done < count:
            here = min(count - done, _CHUNK - self._count)
            self._logs.append(logs.part(done, done + here))
            self._count += here
            done += here
            if self._count >= _CHUNK:
                self._flush()

    def result(self, power: Array | int = 0) -> Grown:
        """Return what has grown; `power` is one more exponent of all adjoints."""
        self._flush()
        rounding = self._xp.maximum(self._rounding, self._most.found)
        value = self._size if self._value is None else self._value  # without a step both are log2 of 0
        return Grown(self._most.found, rounding, value + power, self._size + power)

    def _take_logs(self) -> None:
        """Sum up the latest steps."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        of_adjoint, of_later, of_w = (np.array(rows) for rows in zip(*(step.powers for step in steps), strict=True))
        after, before = ([getattr(step, name) for step in steps] for name in ("after", "before"))
        later, states = [step.later for step in steps], [step.w for step in steps]
        if any(type(leaf) is Scaled for leaf in ad.leaves(later[0])):
            log2_products: Any = _scaled_products
        else:
            log2_products = _log2_products
        q, r = (log2_products(adjoints, states, of_adjoint + of_w) for adjoints in (before, after))
        added = log2_products(after, later, of_adjoint + of_later)
        self._logs.append(_Logs(np.array([q, r, added]), np.array([step.begins for step in steps])))

    def _flush(self) -> None:
        self._take_logs()
        if not self._logs:
            return
        xp, logs, self._logs, self._count = self._xp, self._logs, [], 0
        if len(logs) == 1:
            rows, begins = logs[0]
        else:
            rows = np.concatenate([log.rows for log in logs], axis=1)
            begins = np.concatenate([log.begins for log in logs])
        q, r, known = rows
        before = 0.0 if self._end is None else self._end.sum()
        are_finite = math.isfinite(before + rows.sum())  # in the usual case
        p, fresh = self._log2_p(begins, q, known, are_finite=are_finite)
        self._end = q[-1]
        steps, grows = r - p, q - p - _SHARE * fresh
        if not (are_finite and steps.max() <= 0 and self._most.passes(grows)):
            made = xp.maximum(steps, 0.0)
            if not are_finite:
                made = xp.where(xp.isfinite(steps), made, 0.0)
            so_far = self._most.add(grows, made, are_finite=are_finite)
            self._rounding = xp.maximum(self._rounding, (so_far + made).max(axis=0))
        self._size = xp.maximum(self._size, xp.maximum(p, q).max(axis=0))
        roundings = xp.maximum(p, r)
        if self._value is not None:
            roundings = xp.concatenate([roundings, self._value[None]])
        self._value = _root_of_squares(xp, roundings, are_finite=are_finite)

    def _log2_p(self, begins: Array, q: Array, known: Array, *, are_finite: bool) -> tuple[Array, Array | float]:
        """Return log2 p of the steps, which is the q before it, but where a term was added; and what a term added.

        `known`: what it is where one was.
        """
        first = q[:1] if self._end is None else self._end[None]
        inherited = self._xp.concatenate([first, q[:-1]])
        if not begins.any():
            return inherited, 0.0
        p = known if begins.all() else self._xp.where(begins[:, None], known, inherited)
        if self._end is None:  # before the last time there is nothing to inherit
            inherited[0] = p[0]
        more = p - inherited
        fresh = self._xp.maximum(more, 0.0)
        return p, fresh if are_finite else self._xp.where(self._xp.isfinite(more), fresh, 0.0)


class TangentGrowth:
    """The same in forward mode, from how the largest entries of a tangent and of w change over a step."""

    def __init__(self, xp: Namespace, batch: int) -> None:
        """Start with nothing grown."""
        self._xp, self._batch = xp, batch
        self._pending: list[tuple[Array, ...]] = []  # each (n, B)
        self._count = 0  # of steps in them
        self._most = _Most(xp, batch)

    def step(self, sizes: tuple[Array, Array], w: tuple[Array, Array], powers: tuple[Array, Array]) -> None:
        """Note the sizes of (P, J P), and those of w before and after the step, with their exponents."""
        self.steps(*(x[None] for x in (*sizes, *w, *powers)))

    def steps(self, *rows: Array) -> None:
        """Note the same of several steps, each of the six (n, B)."""
        done, count = 0, len(rows[0])
        while done < count:
            here = min(count - done, _CHUNK - self._count)
            self._pending.append(tuple([x[done : done + here] for x in rows]))
            self._count += here
            done += here
            if self._count >= _CHUNK:
                self._flush()

    def result(self) -> Array:
        """Return log2 of the most that the tangent grew beside w."""
        self._flush()
        return self._most.found

    def _flush(self) -> None:
        if not self._pending:
            return
        was, now, w, after, w_power, power = (self._xp.concatenate(rows) for rows in zip(*self._pending, strict=True))
        self._pending, self._count = [], 0
        logs = [log2_of(x) for x in (now, w, was, after)]
        self._most.add(logs[0] + logs[1] - logs[2] - logs[3] + w_power - power)


class _Most:
    """The largest sum of consecutive numbers, (B,), of which more and more come, less what is above each beginning."""

    def __init__(self, xp: Namespace, batch: int) -> None:
        self._xp = xp
        self._total = self.found = xp.zeros(batch)
        self._least = self._total + np.inf
        self._has_begun = False

    def passes(self, numbers: Array) -> bool:
        """Add rows (n, B) of numbers to begin with where none is above 0, so that no sum is; tell whether."""
        if self._has_begun or not numbers.max() <= 0:
            return False
        total = self._xp.cumsum(numbers, axis=0)
        self._has_begun = True
        self._total, self._least = total[-1], total[-2] if len(total) > 1 else self._total
        return True

    def add(self, numbers: Array, above: Array | float = 0.0, *, are_finite: bool = False) -> Array:
        """Add rows (n, B), those that are no numbers as zero; return the largest sum that ends before each.

        A sum that begins with a row is less by what is `above` it, (n, B). `are_finite`: whether all are numbers.
        """
        xp = self._xp
        self._has_begun = True
        known = numbers if are_finite else xp.where(xp.isfinite(numbers), numbers, 0.0)
        total = self._total + xp.cumsum(known, axis=0)
        before = xp.concatenate([self._total[None], total[:-1]])
        least = xp.minimum(xp.minimum.accumulate(before + above, axis=0), self._least)
        self.found = xp.maximum(self.found, (total - least).max(axis=0))
        self._total, self._least = total[-1], least[-1]
        found: Array = xp.maximum(before - least, 0.0)
        return found


def _root_of_squares(xp: Namespace, logs: Array, *, are_finite: bool) -> Array:
    """Return log2 sqrt(sum of 4**logs) over the first axis; what is no number does not count."""
    logs = logs if are_finite else xp.where(xp.isfinite(logs), logs, -np.inf)
    top = logs.max(axis=0)
    if not are_finite:
        top = xp.where(xp.isfinite(top), top, 0.0)
    return top + 0.5 * xp.log2(xp.exp2(2 * (logs - top)).sum(axis=0))


def _log2(x: Array, power: Array) -> Array:
    """Return log2 of x 2**power: the same bits however the two share the exponent."""
    digits, exponent = np.frexp(x)
    found: Array = np.log2(digits, dtype=np.float64)
    found += exponent + power
    return found


def _log2_products(adjoints: list[Tree], states: list[Tree], power: Array) -> Array:
    """Return log2 of sum_i |a_i w_i| 2**power, (n, B)."""
    if type(adjoints[0]) is np.ndarray:  # the usual case, without a look at trees
        found = products(np.array(adjoints), np.array(states), 2)
    else:
        pairs = zip(
            zip(*map(ad.leaves, adjoints), strict=True), zip(*map(_beside, adjoints, states), strict=True), strict=True
        )
        sums = [products(np.array(a), np.array(w), 2) for a, w in pairs]
        found = sum(sums[1:], sums[0])
    return _log2(found, power)


def _scaled_products(adjoints: list[Tree], states: list[Tree], power: Array) -> Array:
    """Return the same of scaled numbers."""
    return np.stack([_log2_product(*pair) for pair in zip(adjoints, states, strict=True)]) + power


def _log2_product(adjoint: Tree, state: Tree) -> Array:
    """Return log2 sum_i |a_i b_i|, (B,), of scaled numbers."""
    pairs = zip(ad.leaves(adjoint), _beside(adjoint, state), strict=True)
    products = [abs(a * b).reshape((len(b), -1)).sum(axis=1) for a, b in pairs]
    return log2_of(sum(products[1:], start=products[0]))


def _beside(adjoint: Tree, state: Tree) -> list[Any]:
    return ad.leaves(ad.tree_map(lambda _, x: x, adjoint, state))
