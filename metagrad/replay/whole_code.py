"""A whole step as machine code, and the loop over a stretch of steps around it: LLVM's instructions, as in `machine`.

    long steps(long n, long *table, long *rows)

runs n steps, one row of addresses for each, and returns how many were taken: it ends at a step at which a guard fails
or a NaN is seen, whose results do not count. It is called through ctypes, and holds the lock of the interpreter: the
inner loops of NumPy's are written for that.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from metagrad.llvm import machine_code, new_name
from metagrad.replay.loops import Kernel
from metagrad.replay.machine import Code, flag
from metagrad.replay.whole_table import Inner, Whole

Steps = Callable[[int, int, int], int]
FUNCTIONS: dict[Whole, Steps] = {}


def steps_of(whole: Whole) -> Steps:
    """Return the function of a number of steps, the address of the table, and that of the rows."""
    found = FUNCTIONS.get(whole)
    if found is None:
        found = FUNCTIONS[whole] = _compiled(whole)
    return found


def run_kernel(kernel: Kernel, table: Any) -> None:
    """Run a kernel of which all arguments are in its table, by their addresses."""
    steps_of(Whole(((0, kernel),), 0))(1, table.ctypes.data, 0)


def _compiled(whole: Whole) -> Steps:
    from llvmlite import ir

    number, module, name = ir.IntType(64), ir.Module("metagrad"), new_name()
    pointer = number.as_pointer()
    step = ir.Function(module, ir.FunctionType(ir.IntType(8), [pointer, pointer]), "step")
    # A step reads what the one before it wrote; its parts tell the compiler that they do not.
    step.attributes.add("noinline")
    step.linkage = "internal"
    _Step(step, whole).write()
    steps = ir.Function(module, ir.FunctionType(number, [number, pointer, pointer]), name)
    _write_loop(steps, step, whole.width)
    prototype = ctypes.PYFUNCTYPE(ctypes.c_longlong, ctypes.c_longlong, ctypes.c_void_p, ctypes.c_void_p)
    return prototype(machine_code(module, name))


def _write_loop(function: Any, step: Any, width: int) -> None:
    """Write the loop over the rows."""
    from llvmlite import ir
    from numba.core import cgutils

    util: Any = cgutils
    b, (count, table, rows) = ir.IRBuilder(function.append_basic_block("entry")), function.args
    with util.for_range(b, count) as loop:
        saw = b.call(step, [table, b.gep(rows, [b.mul(loop.index, loop.index.type(width))])])
        with b.if_then(b.icmp_unsigned("!=", saw, saw.type(0)), likely=False):
            b.ret(loop.index)
    b.ret(count)


class _Step:
    """The instructions of a step."""

    def __init__(self, function: Any, whole: Whole) -> None:
        from llvmlite import ir
        from numba.core import cgutils

        self._function, self._whole, self._ir = function, whole, ir
        self._util: Any = cgutils
        self._b = ir.IRBuilder(function.append_basic_block("entry"))
        self._number, self._byte = ir.IntType(64), ir.IntType(8)

    def write(self) -> None:
        """Write them all; it returns whether something was seen."""
        b, (table, row) = self._b, self._function.args
        saw = flag(b)
        for i, (base, part) in enumerate(self._whole.parts):
            here = b.gep(table, [self._number(base)])
            if isinstance(part, Kernel):
                Code(part, b, here, saw, row=row, part=i).whole()
            else:
                self._inner(part, here, row)
        b.ret(b.load(saw))

    def _entry(self, table: Any, place: int) -> Any:
        return self._b.load(self._b.gep(table, [self._number(place)]))

    def _inner(self, part: Inner, table: Any, row: Any) -> None:
        """Write the call of an inner loop, for each entry of its outer axes."""
        b = self._b
        starts = []
        for argument in part.arguments:
            assert argument.place is not None
            address = self._entry(table, argument.place)
            starts.append(address if argument.row is None else b.add(address, self._entry(row, argument.row)))
        sizes = [self._entry(table, place) for place in part.outer]
        self._calls(part, table, starts, list(zip(sizes, zip(*part.outer_steps, strict=True), strict=True)))

    def _calls(self, part: Inner, table: Any, starts: list[Any], outer: list[Any]) -> None:
        b = self._b
        if outer:
            (size, places), *rest = outer
            with self._util.for_range(b, size) as loop:
                moved = [
                    b.add(start, b.mul(loop.index, self._entry(table, place)))
                    for start, place in zip(starts, places, strict=True)
                ]
                self._calls(part, table, moved, rest)
            return
        pointer, numbers = self._byte.as_pointer(), self._number.as_pointer()
        arguments = self._util.alloca_once(b, pointer, size=self._number(len(starts)))
        for i, start in enumerate(starts):
            b.store(b.inttoptr(start, pointer), b.gep(arguments, [self._number(i)]))
        kind = self._ir.FunctionType(self._ir.VoidType(), [pointer.as_pointer(), numbers, numbers, pointer])
        function = b.inttoptr(self._entry(table, part.place), kind.as_pointer())
        data = b.inttoptr(self._entry(table, part.place + 1), pointer)
        first = part.place + 2
        sizes, steps = (b.gep(table, [self._number(i)]) for i in (first, first + part.sizes))
        b.call(function, [arguments, sizes, steps, data])
