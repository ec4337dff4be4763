"""NumPy's own inner loops, by address: what machine code calls where NumPy's bits are wanted and its calls are not.

A ufunc holds for each dtype a C function of pointers, sizes and steps in memory (NumPy's C API, `PyUFuncObject`),

    void loop(char **arrays, intp *sizes, intp *steps, void *data)

which np.exp and np.matmul call, too, once they have looked at what they were given. It is read through ctypes, and
tried before it is used: the layout of the object has to be the one that is known, and results the bits of the ufunc's.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.library import LibraryPower, library_power, loop_of_calls

_LETTERS = {"d": "f8", "f": "f4", "?": "b1"}
_TRIED = (1, 2, 3, 7, 8, 31, 64)  # entries


class InnerLoop(NamedTuple):
    """The addresses of an inner loop and of what is passed to it as it is."""

    function: int
    data: int


class _Ufunc(ctypes.Structure):
    _fields_ = (
        ("refcount", ctypes.c_ssize_t),
        ("type", ctypes.c_void_p),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
    )


_CALL = ctypes.PYFUNCTYPE(None, *[ctypes.c_void_p] * 4)
_KNOWN: dict[tuple[Any, tuple[str, ...]], InnerLoop | None] = {}


def inner_loop(ufunc: Any, kinds: tuple[str, ...]) -> InnerLoop | None:
    """Return the inner loop for operands and results of these kinds ("f8", "f4"); None where it is not to be had."""
    key = ufunc, kinds
    if key not in _KNOWN:
        found = _read(ufunc, kinds)
        _KNOWN[key] = found if found is not None and _agrees(found, ufunc, kinds) else None
    return _KNOWN[key]


def _read(ufunc: Any, kinds: tuple[str, ...]) -> InnerLoop | None:
    """Return what the object holds, None where it is not laid out as it is known to be."""
    if type(ufunc) is LibraryPower:
        return InnerLoop(loop_of_calls(kinds[0]), ufunc.address)
    if type(ufunc) is not np.ufunc:
        return None
    if object.__basicsize__ != _Ufunc.nin.offset or ctypes.sizeof(ctypes.c_void_p) != np.dtype(np.intp).itemsize:
        return None  # objects that begin with other words, as those of other builds of Python do
    raw = _Ufunc.from_address(id(ufunc))
    numbers = (raw.nin, raw.nout, raw.nargs, raw.ntypes)
    if numbers != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes) or raw.name != ufunc.__name__.encode():
        return None
    for i, types in enumerate(ufunc.types):
        if tuple([_LETTERS.get(letter) for letter in types.replace("->", "")]) == kinds:
            function, data = raw.functions[i], raw.data[i] if raw.data else None
            return None if not function else InnerLoop(function, data or 0)
    return None


def _agrees(loop: InnerLoop, ufunc: Any, kinds: tuple[str, ...]) -> bool:
    """Whether it gives the bits that the ufunc gives, over numbers of all sizes, and arrays of several lengths."""
    draw = np.random.Generator(np.random.PCG64(0))
    with np.errstate(all="ignore"):
        if ufunc.signature is not None:
            return ufunc is np.matmul and all(_same_product(loop, draw, kinds[0], *sizes) for sizes in _PRODUCTS)
        return all(_same_entries(loop, ufunc, draw, kinds, n) for n in _TRIED)


_PRODUCTS = ((3, 4, 5, 1), (2, 1, 9, 6), (1, 33, 17, 20), (2, 3, 1, 4), (5, 50, 3, 1))


def _same_product(loop: InnerLoop, draw: Any, kind: str, count: int, n: int, k: int, m: int) -> bool:
    for is_turned in (False, True):
        x, y = draw.standard_normal((count, n, k)).astype(kind), draw.standard_normal((count, k, m)).astype(kind)
        if is_turned:
            x = np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
        out = np.empty((count, n, m), kind)
        steps = [a.strides[0] for a in (x, y, out)] + [s for a in (x, y, out) for s in a.strides[1:]]
        call(loop, (x, y, out), (count, n, k, m), steps)
        if out.tobytes() != np.matmul(x, y).tobytes():
            return False
    return True


def _same_entries(loop: InnerLoop, ufunc: Any, draw: Any, kinds: tuple[str, ...], n: int) -> bool:
    given = []
    for kind in kinds[: ufunc.nin]:
        x = draw.standard_normal(n) * 10.0 ** draw.uniform(-8, 3, n)
        x[draw.random(n) < 0.1] = np.inf
        x[draw.random(n) < 0.1] = np.nan
        given.append(np.where(draw.random(n) < 0.1, -0.0, x).astype(kind))
    outs = [np.empty(n, kind) for kind in kinds[ufunc.nin :]]
    call(loop, (*given, *outs), (n,), [a.itemsize for a in (*given, *outs)])
    expected = ufunc(*given)
    return len(outs) == 1 and np.array_equal(outs[0], expected, equal_nan=True) and _same_zeros(outs[0], expected)


def _same_zeros(a: Any, b: Any) -> bool:
    return bool((np.signbit(a) == np.signbit(b))[~np.isnan(b)].all())


@cache
def power(exponent: float, kind: str, *, is_array: bool) -> Any:
    """Return the ufunc, or `LibraryPower`, that Python's x ** exponent is for a number, or an array without axes.

    None where none is.
    """
    draw = np.random.Generator(np.random.PCG64(1))
    x = (10.0 ** draw.uniform(-6, 6, _POWERS)).astype(kind)
    numbers = [np.array(number) for number in x] if is_array else list(x)
    expected = np.array([number**exponent for number in numbers], kind)
    # Of numbers the library's power is asked for, which is not always the nearest number, as a square is.
    short = ((np.sqrt, ()), (np.square, ()), (np.reciprocal, ())) if is_array else ()
    by_library = library_power(kind)
    long = (np.power,) if by_library is None else (np.power, by_library)
    for ufunc, more in (*short, *[(one, (x.dtype.type(exponent),)) for one in long]):
        if ufunc(x, *more).tobytes() == expected.tobytes():
            return ufunc
    return None


_POWERS = 20_000  # numbers: one in a thousand may tell


def call(loop: InnerLoop, arrays: Any, sizes: Any, steps: Any) -> None:
    """Call an inner loop on arrays, with its sizes and steps in memory (bytes)."""
    pointers = np.array([a.ctypes.data for a in arrays], np.intp)
    dims, strides = np.array(sizes, np.intp), np.array(steps, np.intp)
    _CALL(loop.function)(pointers.ctypes.data, dims.ctypes.data, strides.ctypes.data, loop.data)
