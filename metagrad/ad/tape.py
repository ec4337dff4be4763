"""The tape: arrays that remember how they were made, and the walk back through what they remember.

Every `Var` has an id that grows with creation, so a parent is always older than its children. A gradient makes fresh
leaves and walks back only through nodes younger than its oldest leaf: an inner gradient, taken inside a long outer
history, costs what its own graph costs. Where that graph touches nothing older, the rules run on bare arrays; where it
does, they run on Vars, so that the result can be differentiated again. All rules are written in the tape's own ops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, NoReturn

import numpy as np

from metagrad.xp import Array

Rule = Callable[..., Any]  # (cotangent, output, *operands) -> cotangent of one operand
_ids = count(1)
visited = [0]  # nodes walked so far in this process: the tests watch what a gradient costs


class Var:
    """An array on the tape: its `value`, and the Vars it was made from with the rule of each."""

    __slots__ = ("__weakref__", "id", "operands", "rules", "value")
    __array_priority__ = 1000.0

    def __init__(self, value: Array, operands: tuple[Any, ...] = (), rules: tuple[Rule, ...] = ()) -> None:
        """Put `value` on the tape, made from `operands`; operand i has the rule rules[i]."""
        self.value, self.operands, self.rules = value, operands, rules
        self.id = next(_ids)

    shape = property(lambda self: self.value.shape, doc="The shape of the value.")
    ndim = property(lambda self: self.value.ndim, doc="The number of axes of the value.")
    dtype = property(lambda self: self.value.dtype, doc="The dtype of the value.")
    size = property(lambda self: self.value.size, doc="The number of entries of the value.")

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return len(self.value)

    def __repr__(self) -> str:
        """Show the value."""
        return f"Var({self.value!r})"

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"{what} of a traced array: its value would leave the tape and the derivative would be lost. "
            "Keep it in arrays (np.where for branches), or take metagrad.ad.stop_gradient(x) first."
        )

    def __float__(self) -> NoReturn:
        """Refuse: the derivative would be lost."""
        self._refuse("float()")

    def __int__(self) -> NoReturn:
        """Refuse: the derivative would be lost."""
        self._refuse("int()")

    def __bool__(self) -> bool:
        """Refuse: the derivative would be lost."""
        return bool(self._refuse("bool()"))

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the derivative would be lost."""
        self._refuse("np.asarray()")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        """Refuse: values on the tape do not change."""
        raise TypeError("assignment into a traced array: use np.where, np.concatenate or np.stack to build a new one.")


def value_of(x: Any) -> Any:
    """Return the bare array of a Var, and anything else as it is."""
    return x.value if type(x) is Var else x


def zeros_of(x: Any) -> Array:
    """Return zeros like the value of x, on its device."""
    return value_of(x) * 0 if np.isscalar(value_of(x)) else np.zeros_like(value_of(x))


def walk_back(
    outputs: Sequence[Any], cotangents: Sequence[Any], targets: Sequence[Var], oldest: int, *, bare: bool
) -> list[Any]:
    """Return the cotangents of `targets` (None where nothing flows) from those of `outputs`.

    Only nodes with an id of at least `oldest` are visited. `bare`: run the rules on bare arrays, not on Vars.
    """
    nodes: dict[int, Var] = {}
    sums: dict[int, Any] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if type(output) is Var and output.id >= oldest and cotangent is not None:
            sums[output.id] = sums[output.id] + cotangent if output.id in sums else cotangent
            nodes[output.id] = output
    wanted, found = {target.id for target in targets}, {}
    heap = [-key for key in nodes]
    heapify(heap)
    while heap:  # from the youngest to the oldest: a node is complete when it is reached
        key = -heappop(heap)
        node, cotangent = nodes.pop(key), sums.pop(key)
        visited[0] += 1
        if key in wanted:
            found[key] = cotangent
            continue
        operands = [value_of(x) for x in node.operands] if bare else node.operands
        output = node.value if bare else node
        for operand, rule in zip(node.operands, node.rules, strict=True):
            if type(operand) is not Var or operand.id < oldest:
                continue
            part = rule(cotangent, output, *operands)
            if part is None:
                continue
            if operand.id in sums:
                sums[operand.id] = sums[operand.id] + part
            else:
                sums[operand.id], nodes[operand.id] = part, operand
                heappush(heap, -operand.id)
    return [found.get(target.id) for target in targets]


def touches_older(roots: Sequence[Var], oldest: int) -> bool:
    """Whether the graph behind `roots` down to the id `oldest` was made from any Var older than that."""
    seen = {root.id for root in roots}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.id < oldest:
            return True
        for operand in node.operands:
            if type(operand) is Var and operand.id not in seen:
                seen.add(operand.id)
                stack.append(operand)
    return False
