"""A step with a small dense matrix in vector registers, compiled (needs the extra `fast`, which is Numba).

    y = x - rate H x,   sum |y_i|,   w . (H x)

Numba's own loops over a row of 20 entries spend most of their time at the row's ends. Here `out` is made in tiles of a
few vectors, each kept in registers while all rows of H, which is symmetric, pass by once: one load and one fused
multiply-add for each vector of H. Rows are padded with zeros to whole vectors, so that there are no ends; two sums a
vector, of even and odd rows, hide the latency of adding. Written in LLVM's instructions by Numba's `intrinsic`, because
its vectoriser keeps no such tile in registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit
from numba import types as _types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

cgutils: Any = _cgutils  # neither says what types its functions take
types: Any = _types

VECTOR_BYTES = 32
_FLAGS = ("contract", "reassoc", "nsz")
_ACROSS = 2  # rows that are under way at once
_MOST = 5  # vectors of a tile: with two sums each, and the row's, they fit into 16 registers
_I32 = ir.IntType(32)


class _Vectors:
    """Writes LLVM's instructions on vectors of one float type."""

    def __init__(self, builder: Any, scalar: Any, number: Any) -> None:
        self.builder, self.scalar, self._item = builder, scalar, number.bitwidth // 8
        self.lanes = VECTOR_BYTES // self._item
        self.kind = ir.VectorType(scalar, self.lanes)
        self.zero = ir.Constant(self.kind, None)
        self._name = f"v{self.lanes}f{number.bitwidth}"

    def _at(self, array: Any, index: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(array.data, [index]), self.kind.as_pointer())

    def load(self, array: Any, index: Any) -> Any:
        return self.builder.load(self._at(array, index), align=self._item)

    def store(self, x: Any, array: Any, index: Any) -> None:
        self.builder.store(x, self._at(array, index), align=self._item)

    def everywhere(self, x: Any) -> Any:
        unset = ir.Constant(self.kind, ir.Undefined)
        first = self.builder.insert_element(unset, x, _I32(0))
        return self.builder.shuffle_vector(first, unset, ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes))

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=_FLAGS)

    def add_product(self, total: Any, a: Any, b: Any) -> Any:
        return self.add(total, self.builder.fmul(a, b, flags=_FLAGS))

    def magnitudes(self, x: Any) -> Any:
        kind = ir.FunctionType(self.kind, [self.kind])
        found = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fabs.{self._name}")
        return self.builder.call(found, [x])

    def total(self, x: Any) -> Any:
        kind = ir.FunctionType(self.scalar, [self.scalar, self.kind])
        found = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.vector.reduce.fadd.{self._name}")
        return self.builder.call(found, [ir.Constant(self.scalar, -0.0), x], fastmath=_FLAGS)


def _tile(width: int) -> Any:
    """Return tile(H, x, rate, w, out, i): `width` vectors of `out` from entry i on, and (w . (H x), sum |out|) there.

    H (d, p) with rows padded to p; x, w and out (p,).
    """

    @intrinsic
    def tile(context: Any, H: Any, x: Any, rate: Any, w: Any, out: Any, i: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            vectors = _Vectors(builder, context.get_value_type(H.dtype), H.dtype)
            arrays = (context.make_array(k)(context, builder, given[n]) for n, k in ((0, H), (1, x), (3, w), (4, out)))
            matrix, known, beside, found = arrays
            rows, padded = cgutils.unpack_tuple(builder, matrix.shape)
            whole = given[5].type
            places = [builder.add(given[5], whole(k * vectors.lanes)) for k in range(width)]
            sums = [[cgutils.alloca_once_value(builder, vectors.zero) for _ in places] for _ in range(_ACROSS)]

            def pass_by(row: Any, into: list[Any]) -> None:
                factor = vectors.everywhere(builder.load(builder.gep(known.data, [row])))
                start = builder.mul(row, padded)
                for place, total in zip(places, into, strict=True):
                    entries = vectors.load(matrix, builder.add(start, place))
                    builder.store(vectors.add_product(builder.load(total), entries, factor), total)

            together = builder.udiv(rows, whole(_ACROSS))
            with cgutils.for_range(builder, together) as loop:
                first = builder.mul(loop.index, whole(_ACROSS))
                for n, into in enumerate(sums):
                    pass_by(builder.add(first, whole(n)), into)
            with cgutils.for_range(builder, rows, start=builder.mul(together, whole(_ACROSS))) as loop:
                pass_by(loop.index, sums[0])

            slower, inner, size = vectors.everywhere(builder.fneg(given[2])), vectors.zero, vectors.zero
            for place, *parts in zip(places, *sums, strict=True):
                product = vectors.add(*(builder.load(part) for part in parts))
                inner = vectors.add_product(inner, vectors.load(beside, place), product)
                after = vectors.add_product(vectors.load(known, place), slower, product)
                vectors.store(after, found, place)
                size = vectors.add(size, vectors.magnitudes(after))
            return context.make_tuple(builder, signature.return_type, (vectors.total(inner), vectors.total(size)))

        return types.UniTuple(H.dtype, 2)(H, x, rate, w, out, i), write

    return tile


_one, _two, _three, _four, _five = (_tile(width) for width in range(1, _MOST + 1))


@njit(inline="always")  # a call would take a quarter of the time of a small step
def tiled_step(H: Any, x: Any, rate: Any, w: Any, out: Any) -> Any:
    """Write x - rate H x to `out`; return w . (H x) and the sum of the magnitudes of `out`; all padded, H (d, p)."""
    lanes = VECTOR_BYTES // x.itemsize
    vectors, i = x.shape[0] // lanes, 0
    inner = total = x.dtype.type(0)
    while vectors > _MOST:
        more, size = _four(H, x, rate, w, out, i)
        inner, total, i, vectors = inner + more, total + size, i + 4 * lanes, vectors - 4
    if vectors == 5:
        more, size = _five(H, x, rate, w, out, i)
    elif vectors == 4:
        more, size = _four(H, x, rate, w, out, i)
    elif vectors == 3:
        more, size = _three(H, x, rate, w, out, i)
    elif vectors == 2:
        more, size = _two(H, x, rate, w, out, i)
    else:
        more, size = _one(H, x, rate, w, out, i)
    return inner + more, total + size
