"""The numbers of an estimate in a few lines for people: the value, the gradient by name, the digits."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from metagrad.scaled import Scaled
from metagrad.scaled.ranges import shown
from metagrad.xp import to_host

_WIDTH = 80
_MOST_NUMBERS = 4  # of one leaf; what is longer is told by its length
_MOST_LEAVES = 12


def wrapped(text: str) -> str:
    """Return a sentence in lines of a terminal, those after the first indented."""
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def summary(value: Scaled, grad: Any, stderr: Any, digits: Any) -> list[str]:
    """Return what was found, in lines: the value, the gradient by name, and how many digits can be trusted.

    `value`: (B,). `grad`, `stderr`: trees with `Scaled` leaves, or None. `digits`: a pair of arrays, or None.
    """
    lines = [f"{'gradient' if k == 0 else '':10}{line}" for k, line in enumerate(_gradient(grad, stderr))]
    return [f"value     {_value(value)}", *lines, f"digits    {_digits(digits)}"]


def _value(value: Scaled) -> str:
    count = int(value.size)
    if count == 1:
        return _numbers(value)
    is_number = ~np.isnan(to_host(value.mantissa))
    lacking = count - int(is_number.sum())
    told = f"mean over {count} tasks"
    if lacking == count:
        return f"{_numbers(value.mean())} ({told})"
    known = value if not lacking else value[is_number]
    ends = f"from {_numbers(known.min())} to {_numbers(known.max())}"
    return f"{_numbers(value.mean())} ({told}, {ends}{f', {lacking} of them nan' if lacking else ''})"


def _gradient(grad: Any, stderr: Any) -> list[str]:
    named = list(_named(grad))
    if not named:
        return ["none"]
    errors = [None] * len(named) if stderr is None else [leaf for _, leaf in _named(stderr)]
    width = max(len(name) for name, _ in named[:_MOST_LEAVES])
    lines = [
        f"{name:{width}}  {_leaf(leaf, error)}"
        for (name, leaf), error in zip(named[:_MOST_LEAVES], errors, strict=False)
    ]
    more = len(named) - _MOST_LEAVES
    return [*lines, f"and {more} more"] if more > 0 else lines


def _named(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree with their names, in the order of `metagrad.ad.leaves`, which lies further right."""
    if isinstance(tree, dict):
        below = [(f"[{key!r}]", tree[key]) for key in sorted(tree)]
    elif isinstance(tree, list | tuple):
        names = [f".{name}" for name in getattr(tree, "_fields", ())] or [f"[{k}]" for k in range(len(tree))]
        below = list(zip(names, tree, strict=True))
    else:
        if tree is not None:
            yield path.removeprefix(".") if path.startswith(".") else f"phi{path}", tree
        return
    for step, one in below:
        yield from _named(one, path + step)


def _leaf(leaf: Any, error: Any) -> str:
    if leaf.size > _MOST_NUMBERS:
        logs = np.ravel(to_host(leaf.log2abs()))
        with np.errstate(invalid="ignore"):  # NaN stays NaN
            length = 0.5 * np.logaddexp2.reduce(2.0 * logs) * np.log10(2.0)
        return f"{leaf.size} numbers of shape {tuple(leaf.shape)}, of length {shown([1.0], [float(length)])}"
    return _numbers(leaf) if error is None else f"{_numbers(leaf)} (standard error {_numbers(error)})"


def _numbers(x: Scaled) -> str:
    return shown(np.ravel(to_host(x.sign())), np.ravel(to_host(x.log10abs())))


def _digits(digits: Any) -> str:
    if digits is None:
        return "not told by this estimator"
    told = [("value", digits[0]), *([] if digits[1] is None else [("gradient", digits[1])])]
    fewest = ", ".join(f"{name} {float(np.min(to_host(one))):.1f}" for name, one in told)
    return f"{fewest}{', in the worst task' if np.size(to_host(digits[0])) > 1 else ''}"
