"""How a rounding of w grows on its way through a run, from what a sweep holds anyway.

With lambda_t the adjoint of w_t and J_t the derivative of step t, a relative change of the coordinates of w_t by u
changes the objective by about u p_t, p_t = sum_i |lambda_{t,i} w_{t,i}|. Over one step it grows by
    gamma_t = q_t / p_{t+1},   q_t = sum_i |(J_t' lambda_{t+1})_i w_{t,i}|,
which is 1 where the steps are linear, and on average above it where the run is chaotic. A w that passes by zero is
taken for as large as it was a step before. The rounding that a step makes
is that of w_t, which is more than that of w_{t+1} where the two terms of a step cancel:
    rho_t = r_t / p_{t+1},     r_t = sum_i |lambda_{t+1,i} w_{t,i}|.
Of w alone: the state of a rule is another thing. Derived; checked by tests against runs from neighbouring floats.
On the host alone: on a device these few small products a step would take longer than the step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import Array, Namespace

_CHUNK = 256


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
    return None if held or unroll.xp is not np else Growth(unroll.xp, unroll.batch)


class Growth:
    """Collects p, q and r step by step, from the last to the first; they are looked at in chunks."""

    def __init__(self, xp: Namespace, batch: int) -> None:
        """Start with nothing grown."""
        self._xp = xp
        self._pending: list[tuple[Array, ...]] = []  # p, q, r, the exponent of p, and that of q and r
        self._known: tuple[Array, Array] | None = None  # q and its exponent, where it is the next p
        zero = xp.zeros(batch)
        self._most = _Most(xp, batch)
        self._rounding, self._value, self._size = zero, zero - np.inf, zero - np.inf

    def term_added(self) -> None:
        """Note that the adjoint is no longer what the last step was pulled back to."""
        self._known = None

    def step(self, after: tuple[Tree, Tree], before: tuple[Tree, Tree], powers: tuple[Array, Array, Array]) -> None:
        """Note step t: (lambda, w) at t + 1, (J'lambda, w) at t, and the exponents of lambda, w_{t+1} and w_t."""
        of_adjoint, of_later, of_w = powers
        p, p_power = self._known or (_product(*after), of_adjoint + of_later)
        q, r, power = _product(*before), _product(after[0], before[1]), of_adjoint + of_w
        self._pending.append((p, q, r, p_power, power))
        self._known = q, power
        if len(self._pending) >= _CHUNK:
            self._flush()

    def result(self, power: Array | int = 0) -> Grown:
        """Return what has grown; `power` is one more exponent of all adjoints."""
        self._flush()
        rounding = self._xp.maximum(self._rounding, self._most.found)
        return Grown(self._most.found, rounding, self._value + power, self._size + power)

    def _flush(self) -> None:
        if not self._pending:
            return
        xp = self._xp
        p, q, r, p_power, power = (xp.stack(rows) for rows in zip(*self._pending, strict=True))
        self._pending = []
        p, q, r = (xp.log2(x.astype(np.float64)) + e for x, e in ((p, p_power), (q, power), (r, power)))
        made = xp.where(xp.isfinite(r - p), xp.maximum(r - p, 0.0), 0.0)
        so_far = self._most.add(q - p, made)
        self._rounding = xp.maximum(self._rounding, (so_far + made).max(axis=0))
        self._size = xp.maximum(self._size, xp.maximum(p, q).max(axis=0))
        self._value = _root_of_squares(xp, xp.concatenate([xp.maximum(p, r), self._value[None]]))


class TangentGrowth:
    """The same in forward mode, from how the largest entries of a tangent and of w change over a step."""

    def __init__(self, xp: Namespace, batch: int) -> None:
        """Start with nothing grown."""
        self._xp, self._batch = xp, batch
        self._pending: list[tuple[Array, ...]] = []
        self._most = _Most(xp, batch)

    def step(self, sizes: tuple[Array, Array], w: tuple[Array, Array], powers: tuple[Array, Array]) -> None:
        """Note the sizes of (P, J P), and those of w before and after the step, with their exponents."""
        self._pending.append((*sizes, *w, *powers))
        if len(self._pending) >= _CHUNK:
            self._flush()

    def result(self) -> Array:
        """Return log2 of the most that the tangent grew beside w."""
        self._flush()
        return self._most.found

    def _flush(self) -> None:
        if not self._pending:
            return
        was, now, w, after, w_power, power = (self._xp.stack(rows) for rows in zip(*self._pending, strict=True))
        self._pending = []
        logs = [self._xp.log2(x.astype(np.float64)) for x in (now, w, was, after)]
        self._most.add(logs[0] + logs[1] - logs[2] - logs[3] + w_power - power)


class _Most:
    """The largest sum of consecutive numbers, (B,), of which more and more come, less what is above each beginning."""

    def __init__(self, xp: Namespace, batch: int) -> None:
        self._xp = xp
        self._total = self.found = xp.zeros(batch)
        self._least = self._total + np.inf

    def add(self, numbers: Array, above: Array | float = 0.0) -> Array:
        """Add rows (n, B), those that are no numbers as zero; return the largest sum that ends before each.

        A sum that begins with a row is less by what is `above` it, (n, B).
        """
        xp = self._xp
        total = self._total + xp.cumsum(xp.where(xp.isfinite(numbers), numbers, 0.0), axis=0)
        before = xp.concatenate([self._total[None], total[:-1]])
        least = xp.minimum(xp.minimum.accumulate(before + above, axis=0), self._least)
        self.found = xp.maximum(self.found, (total - least).max(axis=0))
        self._total, self._least = total[-1], least[-1]
        found: Array = xp.maximum(before - least, 0.0)
        return found


def _root_of_squares(xp: Namespace, logs: Array) -> Array:
    """Return log2 sqrt(sum of 4**logs) over the first axis; what is no number does not count."""
    logs = xp.where(xp.isfinite(logs), logs, -np.inf)
    top = logs.max(axis=0)
    top = xp.where(xp.isfinite(top), top, 0.0)
    return top + 0.5 * xp.log2((4.0 ** (logs - top)).sum(axis=0))


def _product(a: Tree, b: Tree) -> Array:
    """Return sum_i |a_i b_i|, (B,), of an adjoint and what it is the adjoint of."""
    sums = ad.leaves(ad.tree_map(_row_sums, a, b))
    return sum(sums[1:], sums[0])


def _row_sums(x: Any, y: Any) -> Any:
    if not is_float_array(x):
        return None
    entries = abs(x * y)
    return entries if entries.ndim == 1 else entries.reshape(entries.shape[0], -1).sum(axis=1)
