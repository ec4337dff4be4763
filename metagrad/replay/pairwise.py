"""NumPy's sum of numbers side by side, as instructions: up to 7 one by one, up to 128 as eight sums, more by halves."""

from __future__ import annotations

from typing import Any

_BLOCK, _WIDE = 128, 8


def pairwise(module: Any, kind: str) -> Any:
    """Return the function of a module that adds n numbers from a pointer on; it is made where there is none yet."""
    from llvmlite import ir

    number = {"f8": ir.DoubleType(), "f4": ir.FloatType()}[kind]
    name, size = f"pairwise_{kind}", ir.IntType(64)
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(number, [number.as_pointer(), size]), name)
    function.linkage = "internal"
    few, some, block, halves = (function.append_basic_block(part) for part in ("few", "some", "block", "halves"))
    x, n = function.args
    b = ir.IRBuilder(few)
    with b.if_then(b.icmp_signed("<", n, size(_WIDE))):
        b.ret(_added(b, x, number(-0.0), size(0), n))
    b.branch(some)
    b.position_at_end(some)
    b.cbranch(b.icmp_signed("<=", n, size(_BLOCK)), block, halves)
    b.position_at_end(block)
    whole = b.and_(n, size(-_WIDE))
    b.ret(_added(b, x, _eight(b, x, whole, kind), whole, n))
    b.position_at_end(halves)
    half = b.and_(b.ashr(n, size(1)), size(-_WIDE))
    first, second = b.call(function, [x, half]), b.call(function, [b.gep(x, [half]), b.sub(n, half)])
    b.ret(b.fadd(first, second))
    return function


def _added(b: Any, x: Any, first: Any, start: Any, end: Any) -> Any:
    """Return a sum to which numbers are added one by one."""
    from numba.core import cgutils

    util: Any = cgutils
    total = util.alloca_once_value(b, first)
    with util.for_range(b, b.sub(end, start)) as loop:
        b.store(b.fadd(b.load(total), b.load(b.gep(x, [b.add(start, loop.index)]))), total)
    return b.load(total)


def _eight(b: Any, x: Any, whole: Any, kind: str) -> Any:
    """Return the sum of so many numbers, a multiple of eight, from eight sums that are kept at once."""
    from llvmlite import ir
    from numba.core import cgutils

    util: Any = cgutils
    size = whole.type
    pointer = ir.VectorType(x.type.pointee, _WIDE).as_pointer()

    def eight(start: Any) -> Any:
        return b.load(b.bitcast(b.gep(x, [start]), pointer), align=int(kind[1]))

    sums = util.alloca_once_value(b, eight(size(0)))
    with util.for_range(b, b.sub(b.ashr(whole, size(3)), size(1))) as loop:
        b.store(b.fadd(b.load(sums), eight(b.shl(b.add(loop.index, size(1)), size(3)))), sums)
    r = [b.extract_element(b.load(sums), ir.IntType(32)(i)) for i in range(_WIDE)]
    while len(r) > 1:
        r = [b.fadd(r[i], r[i + 1]) for i in range(0, len(r), 2)]
    return r[0]
