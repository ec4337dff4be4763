"""The tape: traced values, the primitives that make them, and the sweeps through what they recorded.

    Var                 a value, and the primitive and arguments that it came from
    primitive(...)      makes a function record itself where an argument is a Var
    Record(...)         lists what lies between leaves and outputs; `pull` sweeps it backwards, `push` forwards

There is one graph of Vars for all orders of differentiation. Every Var is numbered when it is made, so arguments are
older than results. A differentiation makes fresh leaves; whatever is older than they are cannot depend on them, and
is never walked: the cost of an inner gradient does not grow with the history around it.

VJP rules are written in the tape's own functions. Where an argument depends on something outside of the
differentiation (an older Var), the rule is given the Var, and what it computes is recorded in turn; elsewhere it is
given the plain value, and nothing is. That is all there is to higher orders, and why nested derivatives cannot be
confused with one another.

Tangents go forwards by the same rules. Where a primitive is linear in an argument, the tangent of the output is the
primitive of the tangent (`multilinear`); where it works entry by entry, its Jacobian is diagonal and its own transpose
(`elementwise.entrywise`); elsewhere the VJP of this one primitive is transposed, as it is linear in its cotangent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metagrad.ad.constants import IDLE, TRACE, kept_arguments
from metagrad.xp import Array, is_array, namespace

Function = Callable[..., Any]
Rule = Callable[..., Any]  # (cotangent, output, *arguments) -> cotangent of one argument
Push = Callable[[dict[int, Any], Any, Sequence[Any]], Any]  # ({position: tangent}, output, arguments) -> its tangent
Pull = Callable[["Op", int, Any, Any, Sequence[Any]], Any]  # (op, position, cotangent, output, arguments) -> cotangent
Pushed = Callable[["Op", dict[int, Any], Any, Sequence[Any]], Any]  # as Push, for the op that is named
_FLOAT = np.dtype(np.float64)
_ids = itertools.count()


class Op:
    """A primitive's name, its VJP rules, one for each argument that may be differentiated, and how tangents pass.

    Two kinds of primitive say more, for `strong`: `entries` are the rules of one that works entry by entry, before
    they are summed over what was broadcast; `linear` is one that is linear in each argument that has a rule.
    """

    __slots__ = ("entries", "linear", "name", "push", "rules")

    def __init__(
        self, name: str, rules: Sequence[Rule], push: Push | None = None, entries: Sequence[Rule | None] | None = None
    ) -> None:
        """Keep them; without `push`, tangents pass by the transposed rules."""
        self.name, self.rules, self.push, self.entries = name, rules, push, entries
        self.linear: Function | None = None


class Var:
    """A value that is being differentiated; code written for NumPy arrays works on it.

    What it does as an array is in `operators`, what it refuses to become in `refusals`.
    """

    __slots__ = ("__weakref__", "args", "id", "op", "value")
    __array_priority__ = 1000.0

    def __init__(self, value: Any, op: Op | None = None, args: tuple[Any, ...] = ()) -> None:
        """Record that `value` came from `op` applied to `args`."""
        self.value, self.op, self.args, self.id = value, op, args, next(_ids)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        value = self.value
        return () if type(value) is float else value.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the value (float64 for a Python float)."""
        value = self.value
        return _FLOAT if type(value) is float else value.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        """Return the length of the first axis."""
        if not self.shape:
            raise TypeError("len() of a traced value with no axes")
        return self.shape[0]

    def __repr__(self) -> str:
        """Show the value and where it came from."""
        return f"Var({self.value!r}, from {self.op.name if self.op else 'a leaf'})"


def primitive(
    name: str,
    forward: Callable[..., Any],
    rules: Sequence[Rule],
    push: Callable[[Function], Push] | None = None,
    entries: Sequence[Rule | None] | None = None,
) -> Function:
    """Return `forward` as a differentiable function of positional arguments.

    `forward(*values)` computes from plain values. `rules[i](g, out, *args)` returns the cotangent of args[i] from the
    cotangent g of the output, in differentiable code and linear in g, with the shape and dtype of args[i]; arguments
    beyond the rules are constants. A fused kernel is brought in this way. TypeError where NumPy and CuPy meet.

    `push(function)` makes the rule of tangents from the primitive itself: `multilinear` where it is linear in each
    argument that has a rule. It saves time alone: without it the rules are transposed. `entries`: see `Op`.
    """
    op = Op(name, rules, entries=entries)

    def call(*args: Any) -> Any:
        values = [a.value if type(a) is Var else a for a in args]
        try:
            out = forward(*values)
        except TypeError:
            namespace(*[value for value in values if is_array(value)], where=name)  # says so if two devices met
            raise
        for a in args:
            if type(a) is Var:
                return Var(out, op, args if TRACE.get().sweeping else kept_arguments(args))
        return out

    call.__name__ = call.__qualname__ = name
    op.push = push(call) if push else None
    op.linear = call if push is multilinear else None
    return call


def multilinear(call: Function) -> Push:
    """Return the rule of tangents of a primitive that is linear in each argument alone: the sum of f(.., t, ..)."""

    def push(tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
        parts = [call(*args[:i], t, *args[i + 1 :]) for i, t in tangents.items()]
        return sum(parts[1:], start=parts[0])

    return push


IDENTITY = Op("identity", (lambda g, out, x: g,), lambda tangents, out, args: tangents[0])


def leaf(value: Any) -> Var:
    """Return a fresh leaf: where `value` is a Var, one that the enclosing differentiation sees through."""
    return Var(value.value, IDENTITY, (value,)) if type(value) is Var else Var(value)


Edge = tuple[Rule, int, int]  # a rule, the id of the argument whose cotangent it returns, and its position


class Record:
    """What lies between leaves and outputs, oldest first: (id, op, output, arguments, edges) for each application."""

    __slots__ = ("entries", "first", "outer", "reached", "visited")

    def __init__(self, outputs: Sequence[Var], leaf_vars: Sequence[Var]) -> None:
        """Walk back from `outputs`, no further than what is as old as the oldest leaf."""
        self.reached = {v.id for v in leaf_vars}  # what depends on a leaf
        self.outer: set[int] = set()  # what depends on a Var from outside
        self.entries: list[tuple[int, Any, Any, list[Any], list[Edge]]] = []
        self.first = leaf_vars[0].id if leaf_vars else next(_ids)
        nodes = _newer(outputs, self.first)
        self.visited = len(nodes)
        for node_id in sorted(nodes):
            self._enter(nodes[node_id])

    def _enter(self, node: Var) -> None:
        outer, reached = self.outer, self.reached
        args: list[Any] = []
        edges: list[Edge] = []
        is_outer = False
        for position, arg in enumerate(node.args):
            if type(arg) is not Var:
                args.append(arg)
                continue
            arg_id = arg.id
            if arg_id in reached:
                edges.append((_rule(node, position), arg_id, position))
            if arg_id < self.first or arg_id in outer:
                is_outer = True
                args.append(arg)
            else:
                args.append(arg.value)
        if is_outer:
            outer.add(node.id)
        if edges:
            reached.add(node.id)
            self.entries.append((node.id, node.op, node if is_outer else node.value, args, edges))

    def plain(self, output: Any) -> Any:
        """Return `output` as a plain value, unless it depends on something outside."""
        is_ours = type(output) is Var and output.id >= self.first and output.id not in self.outer
        return output.value if is_ours else output

    def pull(self, seeds: dict[int, Any], wanted: set[int] | None, by: Pull | None = None) -> dict[int, Any]:
        """Sweep from the cotangents of outputs, by id, back to those of the leaves; only to the `wanted` ones.

        `by` is asked for the cotangent of an argument in the place of its rule.
        """
        cotangents = dict(seeds)
        entries = self.entries if wanted is None else _towards(self.entries, wanted)
        trace = TRACE.get() if self.outer else IDLE  # only where rules record
        before, trace.sweeping = trace.sweeping, True
        try:
            for node_id, op, out, args, edges in reversed(entries):
                g = cotangents.pop(node_id, None)
                if g is None:
                    continue
                for rule, arg_id, position in edges:
                    part = rule(g, out, *args) if by is None else by(op, position, g, out, args)
                    seen = cotangents.get(arg_id)
                    cotangents[arg_id] = part if seen is None else seen + part
        finally:
            trace.sweeping = before
        return cotangents

    def push(self, seeds: dict[int, Any], wanted: set[int], by: Pushed | None = None) -> dict[int, Any]:
        """Sweep from the tangents of leaves, by id, on to those of the `wanted`; others go when they were used last.

        `by` is asked for the tangent of an output in the place of the rule.
        """
        tangents = dict(seeds)
        last = {arg_id: node_id for node_id, *_, edges in self.entries for _, arg_id, _ in edges}
        trace = TRACE.get() if self.outer else IDLE  # only where rules record
        before, trace.sweeping = trace.sweeping, True
        try:
            for node_id, op, out, args, edges in self.entries:
                coming = {position: tangents[arg_id] for _, arg_id, position in edges if arg_id in tangents}
                if not coming:
                    continue
                tangents[node_id] = pushed(op, coming, out, args) if by is None else by(op, coming, out, args)
                for _, arg_id, _ in edges:
                    if last[arg_id] == node_id and arg_id not in wanted:
                        tangents.pop(arg_id, None)
        finally:
            trace.sweeping = before
        return tangents


def pushed(op: Op, tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
    """Return the tangent of the output of a primitive from those of its arguments, by position."""
    return op.push(tangents, out, args) if op.push else _transposed(op, tangents, out, args)


def _transposed(op: Op, tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
    """Return the tangent of an output by the VJP of its VJP g -> J'g, which is J whatever g is."""
    value = value_of(out)
    zero = np.float64(0.0) if type(value) is float else zeros_like(value)
    g = leaf(zero)
    seeds: dict[int, Any] = {}
    ends = []
    for position, t in tangents.items():
        cotangent = op.rules[position](g, out, *args)
        if type(cotangent) is Var:
            ends.append(cotangent)
            seen = seeds.get(cotangent.id)
            seeds[cotangent.id] = t if seen is None else seen + t
    found = Record(ends, [g]).pull(seeds, None).get(g.id)
    return zero if found is None else found


def _rule(node: Var, position: int) -> Rule:
    op = node.op
    if op is None or position >= len(op.rules):
        name = op.name if op else "a leaf"
        raise TypeError(f"{name}: argument {position} has no VJP rule but depends on what is being differentiated")
    return op.rules[position]


def _newer(outputs: Sequence[Var], first: int) -> dict[int, Var]:
    nodes: dict[int, Var] = {}
    stack = [output for output in outputs if output.id >= first]
    while stack:
        node = stack.pop()
        if node.id not in nodes:
            nodes[node.id] = node
            for arg in node.args:
                if type(arg) is Var and arg.id >= first:
                    stack.append(arg)
    return nodes


def _towards(entries: list[Any], wanted: set[int]) -> list[Any]:
    on_path, kept = set(wanted), []
    for node_id, op, out, args, edges in entries:
        inside = [edge for edge in edges if edge[1] in on_path]
        if inside:
            on_path.add(node_id)
            kept.append((node_id, op, out, args, inside))
    return kept


def zeros_like(x: Any) -> Any:
    """Return zeros of the shape and dtype of a plain value."""
    return 0.0 if type(x) is float else namespace(x).zeros_like(x)


def value_of(x: Any) -> Array:
    """Return the plain value of `x`."""
    return x.value if type(x) is Var else x
