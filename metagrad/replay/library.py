"""The power of single numbers: that of the C library, which NumPy asks for them, as an inner loop (`inner`).

Of arrays np.power may take vector code, with other last bits; so Python's x ** y of NumPy's numbers is none of its
ufuncs on some processors.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from metagrad.llvm import machine_code, new_name

_NAMES: dict[str, tuple[str, Any]] = {"f8": ("pow", ctypes.c_double), "f4": ("powf", ctypes.c_float)}


class LibraryPower:
    """pow(x, y), entry by entry: what is asked of a ufunc."""

    nin, nout, signature, __name__ = 2, 1, None, "pow"

    def __init__(self, kind: str) -> None:
        """Find the function for a kind of numbers; OSError or AttributeError where there is none."""
        name, number = _NAMES[kind]
        self._kind, self._function = kind, getattr(ctypes.CDLL(None), name)
        self._function.argtypes, self._function.restype = [number, number], number

    def __call__(self, x: Any, y: Any) -> Any:
        """Return x ** y, an array."""
        return np.array(
            [self._function(*pair) for pair in zip(x, np.broadcast_to(y, x.shape), strict=True)], self._kind
        )

    @property
    def address(self) -> int:
        """Where the function is."""
        found = ctypes.cast(self._function, ctypes.c_void_p).value
        assert found is not None
        return found


@cache
def library_power(kind: str) -> LibraryPower | None:
    """Return the power of a kind of numbers, None where the library cannot be asked."""
    try:
        return LibraryPower(kind)
    except (OSError, AttributeError, TypeError):  # a system that does not hand out what a process is linked with
        return None


@cache
def loop_of_calls(kind: str) -> int:
    """Return the address of the inner loop that calls what it is passed as data, double f(double, double), say."""
    from llvmlite import ir
    from numba.core import cgutils

    util: Any = cgutils
    number, module, name = ir.IntType(64), ir.Module("metagrad"), new_name()
    entry: Any = ir.DoubleType() if kind == "f8" else ir.FloatType()
    byte, words = ir.IntType(8).as_pointer(), number.as_pointer()
    loop = ir.Function(module, ir.FunctionType(ir.VoidType(), [byte.as_pointer(), words, words, byte]), name)
    arrays, sizes, steps, data = loop.args
    b = ir.IRBuilder(loop.append_basic_block("entry"))
    function = b.bitcast(data, ir.FunctionType(entry, [entry, entry]).as_pointer())
    starts = [b.load(b.gep(arrays, [number(i)])) for i in range(3)]
    apart = [b.load(b.gep(steps, [number(i)])) for i in range(3)]
    with util.for_range(b, b.load(sizes)) as each:
        x, y, out = (
            b.bitcast(b.gep(start, [b.mul(each.index, step)]), entry.as_pointer())
            for start, step in zip(starts, apart, strict=True)
        )
        b.store(b.call(function, [b.load(x), b.load(y)]), out)
    b.ret_void()
    return machine_code(module, name)
