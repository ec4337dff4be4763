"""Which function made the first NaN or inf, in what was recorded or on the way back: found after the fact.

`in_value` follows the entries that are not finite from an output to where they came from, and `in_pullback` pulls back
once more and looks at each rule. A function that takes gradients itself is traced within `watching`, so that what its
gradients make can be told to belong to the derivative of a function. Outside of these nothing is watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad import strong
from metagrad.ad.api import WATCH, Pullback
from metagrad.ad.tape import Op, Var, leaf, value_of
from metagrad.ad.tree import Tree
from metagrad.xp import to_host


class Culprit(NamedTuple):
    """A function, what it made ("NaN" or "inf"), of which numbers; or its derivative made it, or it was given it."""

    function: str
    made: str
    numbers: tuple[float, ...]
    by_derivative: bool = False
    was_given: bool = False

    def __str__(self) -> str:
        """Say it in a sentence without its end."""
        numbers = ", ".join(f"{x:.6g}" for x in self.numbers)
        if self.was_given:
            return f"{self.function} was given {self.made}" + (f", in {numbers}" if numbers else "")
        of, at = (f", of {numbers}", f", at {numbers}") if numbers else ("", "")
        if self.by_derivative:
            return f"the derivative of {self.function} made the first {self.made}{at}"
        return f"{self.function} made the first {self.made}{of}"


class _Rule(NamedTuple):
    """What a rule recorded: the Vars numbered from `first` to `last`, for the derivative of `op`."""

    first: int
    last: int
    op: Op
    out: Any
    args: Sequence[Any]


@contextmanager
def watching() -> Iterator[list[_Rule]]:
    """Note, for as long as the block lasts, which Vars the rules of pullbacks record."""
    rules: list[_Rule] = []

    def watch(op: Op, position: int, g: Any, out: Any, args: Sequence[Any]) -> Any:
        first = leaf(0.0).id
        part = strong.pull(op, position, g, out, args)
        rules.append(_Rule(first, leaf(0.0).id, op, out, args))
        return part

    token = WATCH.set(watch)
    try:
        yield rules
    finally:
        WATCH.reset(token)


class _Rows(NamedTuple):
    """The entries of one task, in arrays that lead with so many; None for all entries."""

    task: int | None
    batch: int

    def first_bad(self, value: Any) -> tuple[int, ...] | None:
        """Return the index of the first NaN, or else of the first inf, of this task; None where all is finite."""
        x = np.asarray(to_host(value) if hasattr(value, "get") else value)
        if x.dtype.kind != "f":
            return None
        bad = ~np.isfinite(x)
        if self.task is not None and x.ndim and x.shape[0] == self.batch:
            bad &= (np.arange(self.batch) == self.task).reshape(-1, *[1] * (x.ndim - 1))
        if not bad.any():
            return None
        chosen = bad & np.isnan(x) if (bad & np.isnan(x)).any() else bad
        return tuple(int(i) for i in np.argwhere(chosen)[0])


def in_value(
    pullback: Pullback, task: int | None = None, batch: int = 0, rules: Sequence[_Rule] = ()
) -> Culprit | None:
    """Return what made the first NaN or inf of the recorded outputs, or None if none of them has any.

    `rules`: what `watching` noted. `task` of `batch`: look at the rows of that task alone, in arrays that lead with so
    many.
    """
    rows = _Rows(task, batch)
    nodes = {entry[0]: entry for entry in pullback.record.entries}
    for output in pullback.outputs:
        index = rows.first_bad(value_of(output))
        if index is not None and type(output) is Var and output.id in nodes:
            return _origin(nodes, output.id, index, rows, rules)
    return None


def _origin(
    nodes: dict[int, Any], node_id: int, index: tuple[int, ...], rows: _Rows, rules: Sequence[_Rule]
) -> Culprit:
    """Follow what is not finite from an entry of an output to the application that had finite arguments."""
    while True:
        _, op, out, args, edges = nodes[node_id]
        at = [_index_in(x, index) if op.entries is not None else rows.first_bad(value_of(x)) for x in args]
        older = [(i, at[position]) for _, i, position in edges if i in nodes and at[position] is not None]
        if not older:
            break
        node_id, index = older[0]
    made = _kind(out, index)
    within = [rule for rule in rules if rule.first < node_id < rule.last]
    if any(i is not None for i in at):
        return Culprit(_name(op), made, _numbers(op, args, index), was_given=True)
    if within:
        rule = min(within, key=lambda r: r.last - r.first)
        same = np.shape(value_of(rule.out)) == np.shape(value_of(out))
        return Culprit(_name(rule.op), made, _numbers(rule.op, rule.args, index) if same else (), by_derivative=True)
    return Culprit(_name(op), made, _numbers(op, args, index))


def _index_in(x: Any, index: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return where x, an operand that was broadcast, is not finite at an entry of the output; None if it is."""
    at = _beside(x, index)
    number = _number(x, at)
    return None if number is None or np.isfinite(number) else at


def _beside(x: Any, index: tuple[int, ...]) -> tuple[int, ...]:
    shape = np.shape(value_of(x))
    return tuple(0 if n == 1 else i for n, i in zip(shape, index[len(index) - len(shape) :], strict=True))


def _number(x: Any, index: tuple[int, ...]) -> float | None:
    value = value_of(x)
    if not isinstance(value, float | int | np.number) and not hasattr(value, "dtype"):
        return None
    return float(value[index]) if index else float(value)


def _numbers(op: Op, args: Sequence[Any], index: tuple[int, ...]) -> tuple[float, ...]:
    if op.entries is None:
        return ()
    found = [_number(x, _beside(x, index)) for x in args]
    return tuple(x for x in found if x is not None)


def _name(op: Op) -> str:
    return f"numpy.{op.name}" if hasattr(np, op.name) else op.name


def _kind(x: Any, index: tuple[int, ...]) -> str:
    return "NaN" if np.isnan(_number(x, index)) else "inf"  # type: ignore[arg-type]


def in_pullback(pullback: Pullback, cotangent: Tree, task: int | None = None, batch: int = 0) -> Culprit | None:
    """Return whose derivative made the first NaN or inf on the way back of a finite cotangent; None if none did."""
    rows = _Rows(task, batch)
    found: list[Culprit] = []

    def watch(op: Op, position: int, g: Any, out: Any, args: Sequence[Any]) -> Any:
        part = strong.pull(op, position, g, out, args)
        if not found and rows.first_bad(value_of(g)) is None:
            index = rows.first_bad(value_of(part))
            if index is not None:
                same = np.shape(value_of(part)) == np.shape(value_of(out))
                numbers = _numbers(op, args, index) if same else ()
                found.append(Culprit(_name(op), _kind(part, index), numbers, by_derivative=True))
        return part

    with np.errstate(all="ignore"):
        pullback.record.pull(pullback.seeds(cotangent), None, watch)
    return found[0] if found else None
