"""Adding up the meta-gradient: contributions of the steps, each with exponents of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.replay import Stack
from metagrad.scaled import Scaled, ldexp
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import Array, Namespace, float_info

_CHUNK = 128


class Accumulator:
    """Sums contributions to d(meta-objective)/d phi, in the order they come, whatever the checkpoint plan.

    `entries`: None, or a tree of bools like phi; where it is true a leaf leads with time, every step has its own entry,
    and nothing is summed. `plain`: floats are added in the dtype, as any automatic differentiation does; otherwise
    numbers are aligned at the largest exponent, chunk by chunk.
    """

    def __init__(self, xp: Namespace, *, entries: Tree | None, plain: bool) -> None:
        """Start with nothing."""
        self._entries = entries
        self._sum, self._rows = _Sum(xp, plain=plain), _Rows(xp)
        self._whole: Tree = None

    def add(self, phi_bar: Tree, exponent: Array | int) -> None:
        """Add what the step before the last added one gives, phi_bar * 2**exponent.

        `exponent`: one for all, or one a task, (B,), where the leaves lead with B.
        """
        if self._entries is None:
            self._sum.add(phi_bar, exponent)
            return
        summed = ad.tree_map(lambda leaf, is_entry: None if is_entry else leaf, phi_bar, self._entries)
        if ad.leaves(summed):
            self._sum.add(summed, exponent)
        self._rows.add(ad.tree_map(lambda leaf, is_entry: leaf if is_entry else None, phi_bar, self._entries), exponent)

    def add_many(self, phi_bars: Stack, exponent: Array | int) -> None:
        """Add what several steps give, one after the other, each times 2**exponent."""
        if self._entries is None:
            self._sum.add_many(phi_bars, exponent)
            return
        for phi_bar in phi_bars.trees:
            self.add(phi_bar, exponent)

    def add_in_turn(self, phi_bars: Stack, of_terms: Stack, exponent: Array | int, tops: Array) -> None:
        """Add what several steps give, times 2**exponent, and their terms, times 2**tops, (n, ...), in turn."""
        moved = [_moved(leaf, tops - exponent) for leaf in of_terms.leaves]
        if self._entries is None and not any(leaf is None for leaf in moved):
            self._sum.add_many(phi_bars.in_turn(Stack(leaves=moved)), exponent)
            return
        for phi_bar, term, top in zip(phi_bars.trees, of_terms.trees, tops, strict=True):
            self.add(phi_bar, exponent)
            self.add_term(term, top)

    def add_term(self, phi_bar: Tree, exponent: Array | int) -> None:
        """Add what the objective's term gives right away, phi_bar * 2**exponent; entries are those of the next step."""
        if self._entries is None:
            self._sum.add(phi_bar, exponent)
            return
        summed = ad.tree_map(lambda leaf, is_entry: None if is_entry else leaf, phi_bar, self._entries)
        if ad.leaves(summed):
            self._sum.add(summed, exponent)
        rows = ad.tree_map(lambda leaf, is_entry: leaf if is_entry else None, phi_bar, self._entries)
        self._rows.add_beside(ad.tree_map(lambda leaf: _scaled(leaf, exponent), rows))

    def add_whole(self, phi_bar: Tree, exponent: Array | int) -> None:
        """Add phi_bar * 2**exponent where leaves that lead with time come whole, with an entry for each step."""
        led = ad.tree_map(lambda leaf: False, phi_bar) if self._entries is None else self._entries
        scaled = ad.tree_map(lambda leaf, x: _scaled(leaf, exponent, int(x)) if is_float(leaf) else None, phi_bar, led)
        self._whole = scaled if self._whole is None else ad.tree_map(_plus, self._whole, scaled)

    def spread(self) -> Tree | None:
        """Return the sum over steps of the magnitudes of what they gave, like phi; None where there is more to it."""
        return None if self._entries is not None or self._whole is not None else self._sum.spread()

    def result(self, before: int = 0, after: int = 0) -> Tree:
        """Return the sum with Scaled leaves, entries in the order of time (they came reversed).

        `before`, `after`: how many entries of other steps stand on both sides; they are zero.
        """
        total = self._sum.result()
        if self._entries is not None:
            total = ad.add(total, ad.tree_map(lambda leaf: padded(leaf, before, after), self._rows.result()))
        return total if self._whole is None else ad.tree_map(_plus, total, self._whole)


class _Sum:
    """A sum over steps, in chunks of one size."""

    def __init__(self, xp: Namespace, *, plain: bool) -> None:
        self._xp, self._plain = xp, plain
        self._pending: list[tuple[Stack, Array]] = []
        self._count = 0  # of steps in them
        self._total: Tree = None
        self._spread: Tree = None

    def spread(self) -> Tree | None:
        self._flush()
        return self._spread

    def add(self, phi_bar: Tree, exponent: Array | int) -> None:
        self.add_many(Stack([phi_bar]), exponent)

    def add_many(self, phi_bars: Stack, exponent: Array | int) -> None:
        if self._plain:
            for phi_bar in phi_bars.trees:
                self._total = phi_bar if self._total is None else ad.tree_map(_plus, self._total, phi_bar)
            return
        power, done = self._xp.asarray(exponent, dtype=np.int64), 0
        while done < len(phi_bars):
            here = min(len(phi_bars) - done, _CHUNK - self._count)
            self._pending.append((phi_bars.part(done, done + here), power))
            self._count += here
            done += here
            if self._count >= _CHUNK:
                self._flush()

    def result(self) -> Tree:
        if not self._plain:
            self._flush()
            return self._total
        return ad.tree_map(lambda leaf: Scaled.of(leaf) if is_float(leaf) else None, self._total)

    def _flush(self) -> None:
        if not self._pending:
            return
        pending, self._pending, self._count = self._pending, [], 0
        if self._xp is np:
            tree = pending[0][0].part(0, 1).trees[0]
            columns = zip(*(stack.leaves for stack, _ in pending), strict=True)
            sums = [_sums(rows, pending) for rows in columns]
            chunk, spread = (_with_leaves(tree, [pair[i] for pair in sums]) for i in range(2))
            self._spread = spread if self._spread is None else ad.tree_map(_plus, self._spread, spread)
        else:
            rows = _stacked(self._xp, [(x, power) for stack, power in pending for x in stack.trees])
            chunk = ad.tree_map(_sum_over_time, rows)
        self._total = chunk if self._total is None else ad.tree_map(_plus, self._total, chunk)


class _Rows:
    """One entry a step."""

    def __init__(self, xp: Namespace) -> None:
        self._xp = xp
        self._pending: list[tuple[Tree, Array]] = []
        self._beside: list[tuple[int, Tree]] = []

    def add(self, phi_bar: Tree, exponent: Array | int) -> None:
        self._pending.append((phi_bar, self._xp.asarray(exponent, dtype=np.int64)))

    def add_beside(self, scaled: Tree) -> None:
        """Add to the entry that comes next, or to the first in time where none does."""
        self._beside.append((len(self._pending), scaled))

    def result(self) -> Tree:
        rows, last = _stacked(self._xp, self._pending[::-1]), len(self._pending) - 1
        for position, more in self._beside:
            t = max(0, last - position)
            rows = ad.tree_map(lambda leaf, added, t=t: _with_row(leaf, t, leaf[t] + added), rows, more)
        return rows


def _stacked(xp: Namespace, rows: list[tuple[Tree, Array]]) -> Tree:
    exponents = _stack(xp, [exponent for _, exponent in rows])

    def stack(*leaves: Any) -> Any:
        if not is_float(leaves[0]):
            return None
        mantissa = _stack(xp, leaves)
        return Scaled.of(mantissa, exponents.reshape(exponents.shape + (1,) * (mantissa.ndim - exponents.ndim)))

    return ad.tree_map(stack, *[phi_bar for phi_bar, _ in rows])


def _stack(xp: Namespace, arrays: Sequence[Any]) -> Any:
    """Return arrays of one shape stacked: `stack` in a fraction of its time for many small ones on the host."""
    if xp is np and all(type(x) is np.ndarray or isinstance(x, np.generic) for x in arrays):
        return np.array(arrays)
    return xp.stack(arrays)


def _with_leaves(tree: Tree, leaves: list[Any]) -> Tree:
    """Return a tree with other leaves, from left to right."""
    rest = iter(leaves)
    return ad.tree_map(lambda _: next(rest), tree)


def _with_row(numbers: Scaled, t: int, row: Scaled) -> Scaled:
    mantissa, exponent = numbers.mantissa.copy(), numbers.exponent.copy()
    mantissa[t], exponent[t] = row.mantissa, row.exponent
    return Scaled(mantissa, exponent)


def _sum_over_time(numbers: Scaled) -> Scaled:
    return numbers.sum(axis=0)


def _sums(rows: tuple[Any, ...], pending: list[tuple[Stack, Array]]) -> tuple[Any, Any]:
    """Return the sum over time and that of the magnitudes of one leaf, in pieces: aligned once for both."""
    if not is_float(rows[0][0]):
        return None, None
    powers = [power for _, power in pending]
    if all(type(row) is np.ndarray for row in rows):
        x = np.concatenate(rows) if len(rows) > 1 else rows[0]
        alike = all(power is powers[0] or np.array_equal(power, powers[0]) for power in powers)
        found = _sums_in_range(x, powers[0]) if alike else None
        if found is not None:
            return found
    else:
        x = _stack(np, [one for row in rows for one in row])
    exponents = np.array([power for power, row in zip(powers, rows, strict=True) for _ in range(len(row))])
    numbers = Scaled.of(x, exponents.reshape(exponents.shape + (1,) * (x.ndim - exponents.ndim)))
    lowest = np.iinfo(np.int64).min // 4
    exponent = np.where(numbers.mantissa == 0, lowest, numbers.exponent)
    top = exponent.max(axis=0, initial=lowest)
    aligned = ldexp(numbers.mantissa, exponent - top)
    totals = aligned.sum(axis=0), np.abs(aligned).sum(axis=0)
    both = [Scaled.of(total, np.where(total == 0, 0, top)) for total in totals]
    return both[0], both[1]


def _sums_in_range(x: Array, power: Array) -> tuple[Scaled, Scaled] | None:
    """Return the sums of numbers of one exponent, where aligning them would move no digit; else None."""
    size, info = np.abs(x), float_info(x.dtype)
    least = size.min(initial=1.0) or size.min(where=size > 0, initial=1.0)
    if least <= 2.0 ** (info.min_exponent // 2) or not size.max(initial=0.0) < 2.0 ** (info.max_exponent // 2):
        return None
    powers = power.reshape(power.shape + (1,) * (x.ndim - 1 - power.ndim)) if power.ndim else power
    if x.ndim == 1:
        return Scaled.of(x.sum(), powers), Scaled.of(size.sum(), powers)
    both = Scaled.of(np.array([x.sum(axis=0), size.sum(axis=0)]), powers)
    return both[0], both[1]


def _moved(rows: Any, by: Array) -> Any:
    """Return rows (n, ...) times 2**by, (n,) or (n, B); None where a digit would be lost. What is no float stays."""
    if type(rows) is not np.ndarray or rows.dtype.kind != "f" or not by.any():
        return rows
    moved, info = ldexp(rows, by.reshape(by.shape + (1,) * (rows.ndim - by.ndim))), float_info(rows.dtype)
    size = np.abs(moved)
    is_fine = (rows == 0) | ((size >= 2.0**info.min_exponent) & (size < np.inf))
    return moved if is_fine.all() else None


def _scaled(leaf: Array, exponent: Array | int, axis: int = 0) -> Scaled:
    """Return leaf * 2**exponent, where exponents (B,) are those of the tasks along an axis of the leaf."""
    shape = (1,) * axis + np.shape(exponent) if np.shape(exponent) else ()
    return Scaled.of(leaf, exponent.reshape(shape + (1,) * (leaf.ndim - len(shape))) if shape else exponent)


def padded(numbers: Scaled, before: int, after: int) -> Scaled:
    """Return the numbers with `before` and `after` rows of zeros along the first axis."""
    if not before and not after:
        return numbers
    widths = [(before, after)] + [(0, 0)] * (numbers.mantissa.ndim - 1)
    return Scaled(np.pad(numbers.mantissa, widths), np.pad(numbers.exponent, widths))


def is_float(leaf: Any) -> bool:
    """Whether a leaf of phi has a gradient (0-d arrays count)."""
    return is_float_array(leaf) or getattr(getattr(leaf, "dtype", None), "kind", "") == "f"


def _plus(a: Any, b: Any) -> Any:
    return a if a is None else a + b
