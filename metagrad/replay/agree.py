"""Which cheap operations have NumPy's bits on this machine: tried once in a process, before they are used.

NumPy picks its vector code by the processor, and Numba its own; both are meant to round exactly, but of two zeros that
are equal, say, which one is the larger is up to them. So each operation is compared with NumPy's over special numbers,
in arrays of many lengths (the ends of vectors are code of their own), against numbers, and alone. What does not agree
is left to NumPy. The sign and the digits of a NaN do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from metagrad.replay.agree_sums import agrees
from metagrad.replay.cheap import Cheap
from metagrad.replay.loops import Argument, Kernel, Loop, Step
from metagrad.replay.sums import ALONG, ROWS
from metagrad.replay.whole_code import run_kernel

_LENGTHS = (*range(1, 18), 31)
_OPERANDS = 3  # with the condition
_KNOWN: dict[tuple[str, str], bool] = {}


def disagreeing(operations: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of some (name, kind) that do not have NumPy's bits, having tried the new ones."""
    asked = set(operations)
    for kind in ("f8", "f4", "b1"):
        new = sorted(name for name, k in asked if k == kind and (name, k) not in _KNOWN)
        for name in [name for name in new if name in (ALONG, ROWS)]:
            _KNOWN[name, kind] = agrees(name, kind)
            new.remove(name)
        if new:
            _KNOWN.update({(name, kind): agrees for name, agrees in zip(new, _tried(new, kind), strict=True)})
    return {operation for operation in asked if not _KNOWN[operation]}


def are_known(operations: Iterable[tuple[str, str]]) -> bool:
    """Whether some operations have been tried."""
    return all(operation in _KNOWN for operation in operations)


def operations_of(call: Cheap) -> set[tuple[str, str]]:
    """Return what has to agree with NumPy's."""
    return set() if call.name == "copy" else {(call.name, call.kinds[-1])}


def special(kind: str) -> Any:
    """Return numbers at which operations differ where they do: zeros, infinities, NaN, the smallest and the largest."""
    if kind == "b1":
        return np.array([False, True])
    dtype = np.dtype(kind)
    info = np.finfo(dtype)
    sizes = [0.0, 1.0, 1.5, 2.5, 1 / 3, 0.1, 3e7, info.tiny, info.smallest_subnormal, info.max, np.inf]
    sizes += [info.tiny * 0.75, 1 + info.eps, 1 - info.epsneg, 2.0**-30, float(np.sqrt(info.max)), 4.0]
    with np.errstate(all="ignore"):
        return np.array([s * x for x in sizes for s in (1.0, -1.0)] + [np.nan]).astype(dtype)


def _tried(names: list[str], kind: str) -> list[bool]:
    """Return for each operation whether it agrees."""
    run, outs = _kernel(names, kind), [_out(name, kind) for name in names]
    same = [True] * len(names)
    for turns, x, y, numbers in _cases(kind):
        found = [np.empty(x.size, out) for out in outs]
        run(x.size, [turns, x, y, *found])
        with np.errstate(all="ignore"):
            for i, name in enumerate(names):
                same[i] = same[i] and _bits_alike(found[i], _by_numpy(name, numbers, turns, x, y))
    return same


def _cases(kind: str) -> Iterator[tuple[Any, Any, Any, str]]:
    """Yield conditions and two operands, and which of these NumPy is given as numbers: "", "x", "y" or "xy"."""
    x = special(kind)
    first, second = (a.ravel() for a in np.meshgrid(x, x, indexing="ij"))
    turns = np.arange(first.size) % 3 == 0
    yield turns, first, second, ""
    yield turns, first, second, "xy"
    for i in range(x.size):
        row = slice(i * x.size, (i + 1) * x.size)
        yield turns[row], first[row], second[row], "x"
        yield turns[row], second[row], first[row], "y"
    hard = (
        np.flatnonzero(~np.isfinite(first) | (first == second) | (first == -second)) if kind != "b1" else np.arange(4)
    )
    for length in _LENGTHS:
        for start in range(0, hard.size, length + 1):
            at = np.roll(hard, -start)[:length]
            yield turns[at], first[at], second[at], ""


def _by_numpy(name: str, numbers: str, turns: Any, x: Any, y: Any) -> Any:
    if numbers == "xy":
        return np.array([_by_numpy(name, "", *each) for each in zip(turns, x, y, strict=True)])
    x, y = x[0] if numbers == "x" else x, y[0] if numbers == "y" else y
    found = np.where(turns, x, y) if name == "where" else getattr(np, name)(*(x, y)[: getattr(np, name).nin])
    return np.broadcast_to(found, turns.shape)


def _bits_alike(a: Any, b: Any) -> bool:
    """Whether two arrays have the same bits, or a NaN in the same places."""
    if a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool((a == b).all())
    both = np.isnan(a) & np.isnan(b)
    raw = a.dtype.str.replace("f", "u")
    return bool((both | (a.view(raw) == np.ascontiguousarray(b).view(raw))).all())


def _out(name: str, kind: str) -> str:
    tests = ("less", "greater", "equal", "is", "not_", "logical")
    return "b1" if name.startswith(tests) else kind


def _kernel(names: list[str], kind: str) -> Callable[[int, list[Any]], None]:
    """Return what does all operations on arrays of a size: a condition, two operands, and the results."""
    kinds = ["b1", kind, kind, *[_out(name, kind) for name in names]]
    arguments = [Argument(k, None, i >= _OPERANDS, place=3 + i) for i, k in enumerate(kinds)]
    steps: list[Step] = [("read", "c", 0, (1,)), ("read", "x", 1, (1,)), ("read", "y", 2, (1,))]
    for i, name in enumerate(names):
        operands = {"where": ("c", "x", "y")}.get(name) or ("x", "y")[: getattr(np, name).nin]
        steps += [(name, f"r{i}", kind, operands), ("write", _OPERANDS + i, (1,), f"r{i}")]
    kernel = Kernel(tuple(arguments), (Loop((2,), tuple(steps)),))

    def run(size: int, arrays: list[Any]) -> None:
        contiguous = [np.ascontiguousarray(x) for x in arrays]
        run_kernel(kernel, np.array([0, 1, size, *[x.ctypes.data for x in contiguous]], np.int64))

    return run
