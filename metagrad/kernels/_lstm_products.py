"""The product z r' of two wide matrices, added to what is there, as machine code (needs the extra `fast`).

    total[a, b] += sum over columns m of z[a, m] r[b, m],    z (4H, N), r (K, N), total (4H, K),

what the adjoints of the gates give to the weights of a layer. N is long and the other sides are short: BLAS packs both
operands, of which each number is used 80 times at most. Here some rows of z meet some rows of r, and their sums stay in
registers while the columns pass by: 24 sums of eight and three rows where there are 32 registers of 64 bytes
(AVX-512), else 12 of four and three. Columns come in blocks, of which the rows stay in the first-level cache.

Written in LLVM's instructions: its vectoriser takes half of such a register.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils as _cgutils

from metagrad.llvm import machine_code, new_name
from metagrad.xp import Array

cgutils: Any = _cgutils  # which does not say what types its functions take
_NUMBER = ir.IntType(64)
_FLOATS: dict[str, Any] = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
_BLOCK = 2560  # bytes of a row
_ACROSS = 3  # rows of r that meet some of z at once
_FLAGS = ("contract", "reassoc", "nsz")  # sums in any order


@cache
def adder(name: str) -> Callable[[Array, Array, Array], None]:
    """Return what adds z r' to total, for arrays of the dtype of that name, float32 or float64."""
    wide = bool(binding.get_host_cpu_features().get("avx512f", False))
    written = _Written(name, 64 if wide else 32, 8 if wide else 4)
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_longlong] * 3, *[ctypes.c_void_p] * 3)
    code = prototype(machine_code(written.module, written.name))

    def add_products(z: Array, r: Array, total: Array) -> None:
        """Add z r' to total: C-contiguous arrays (4H, N), (K, N) and (4H, K)."""
        code(z.shape[1], len(z), len(r), z.ctypes.data, r.ctypes.data, total.ctypes.data)

    return add_products


class _Written:
    """The module of the loops, for floats of a dtype, vectors of some bytes, and tiles of up to so many rows of z."""

    def __init__(self, name: str, vector_bytes: int, rows: int) -> None:
        self.name, self.module = new_name(), ir.Module("metagrad")
        self._float, self._item = _FLOATS[name], np.dtype(name).itemsize
        self._lanes = vector_bytes // self._item
        self._vector = ir.VectorType(self._float, self._lanes)
        self._kind = f"v{self._lanes}f{8 * self._item}"
        self._width = ir.Constant(_NUMBER, self._lanes)
        self._attribute = f'"prefer-vector-width"="{8 * vector_bytes}"'
        self._write(rows)

    def _write(self, rows: int) -> None:
        """Write the loops over blocks of columns, rows of z and rows of r."""
        pointer = self._float.as_pointer()
        tiles = {(a, b): self._tile(a, b) for a in {rows, 4} for b in range(1, _ACROSS + 1)}
        function = self._function(self.name, [_NUMBER] * 3 + [pointer] * 3)
        count, of_z, of_r, z, r, total = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        block = _NUMBER(_BLOCK // self._item)
        blocks = b.sdiv(b.add(count, b.sub(block, _NUMBER(1))), block)
        with cgutils.for_range(b, blocks) as columns:
            lo = b.mul(columns.index, block)
            left = b.sub(count, lo)
            here = b.select(b.icmp_signed("<", left, block), left, block)
            given = here, count, of_r, b.gep(z, [lo]), b.gep(r, [lo]), total
            done = b.sdiv(of_z, _NUMBER(rows))
            with cgutils.for_range(b, done) as some:
                self._across(b, tiles, rows, b.mul(some.index, _NUMBER(rows)), given)
            first = b.mul(done, _NUMBER(rows))  # of the rest, a multiple of four
            with cgutils.for_range(b, b.sdiv(b.sub(of_z, first), _NUMBER(4))) as some:
                self._across(b, tiles, 4, b.add(first, b.mul(some.index, _NUMBER(4))), given)
        b.ret_void()

    def _across(self, b: Any, tiles: dict[tuple[int, int], Any], rows: int, first: Any, given: tuple[Any, ...]) -> None:
        """Let some rows of z meet all rows of r: three at once, and the rest."""
        here, count, of_r, z, r, total = given
        mine, sums = b.gep(z, [b.mul(first, count)]), b.gep(total, [b.mul(first, of_r)])

        def meet(across: int, at: Any) -> None:
            where = b.gep(r, [b.mul(at, count)]), b.gep(sums, [at])
            b.call(tiles[rows, across], [here, count, of_r, mine, *where])

        whole = b.sdiv(of_r, _NUMBER(_ACROSS))
        with cgutils.for_range(b, whole) as step:
            meet(_ACROSS, b.mul(step.index, _NUMBER(_ACROSS)))
        done = b.mul(whole, _NUMBER(_ACROSS))
        left = b.sub(of_r, done)
        for rest in range(1, _ACROSS):
            with b.if_then(b.icmp_signed("==", left, _NUMBER(rest))):
                meet(rest, done)

    def _tile(self, rows: int, across: int) -> Any:
        """Return tile(columns, N, K, z, r, total): the sums of `rows` rows of z with `across` rows of r."""
        pointer = self._float.as_pointer()
        function = self._function(f"{self.name}_{rows}_{across}", [_NUMBER] * 3 + [pointer] * 3)
        function.linkage = "internal"
        columns, stride, of_r, z, r, total = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        of_z = [b.gep(z, [b.mul(stride, _NUMBER(i))]) for i in range(rows)]
        with_r = [b.gep(r, [b.mul(stride, _NUMBER(j))]) for j in range(across)]
        sums = [[cgutils.alloca_once(b, self._vector) for _ in with_r] for _ in of_z]
        for each in sums:
            for place in each:
                b.store(ir.Constant(self._vector, None), place)
        whole = b.sdiv(columns, self._width)
        with cgutils.for_range(b, whole) as loop:
            at = b.mul(loop.index, self._width)
            self._add(b, sums, [self._load(b, x, at) for x in of_z], [self._load(b, x, at) for x in with_r])
        done = b.mul(whole, self._width)
        with cgutils.for_range(b, b.sub(columns, done)) as loop:
            at = b.add(done, loop.index)
            self._add(b, sums, [self._one(b, x, at) for x in of_z], [self._one(b, x, at) for x in with_r])
        for i, each in enumerate(sums):
            for j, place in enumerate(each):
                where = b.gep(total, [b.add(b.mul(of_r, _NUMBER(i)), _NUMBER(j))])
                b.store(b.fadd(b.load(where), self._sum(b, b.load(place)), flags=_FLAGS), where)
        b.ret_void()
        return function

    def _function(self, name: str, arguments: list[Any]) -> Any:
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), arguments), name)
        # LLVM halves registers of 64 bytes on some processors unless it is told not to; llvmlite does not know of that.
        set.add(function.attributes, self._attribute)
        return function

    def _add(self, b: Any, sums: list[list[Any]], of_z: list[Any], of_r: list[Any]) -> None:
        kind = ir.FunctionType(self._vector, [self._vector] * 3)
        fma = cgutils.get_or_insert_function(self.module, kind, f"llvm.fma.{self._kind}")
        for each, x in zip(sums, of_z, strict=True):
            for place, y in zip(each, of_r, strict=True):
                b.store(b.call(fma, [x, y, b.load(place)]), place)

    def _load(self, b: Any, row: Any, at: Any) -> Any:
        return b.load(b.bitcast(b.gep(row, [at]), self._vector.as_pointer()), align=self._item)

    def _one(self, b: Any, row: Any, at: Any) -> Any:
        """Return one entry of a row, beside zeros."""
        return b.insert_element(ir.Constant(self._vector, None), b.load(b.gep(row, [at])), ir.IntType(32)(0))

    def _sum(self, b: Any, x: Any) -> Any:
        kind = ir.FunctionType(self._float, [self._float, self._vector])
        found = cgutils.get_or_insert_function(self.module, kind, f"llvm.vector.reduce.fadd.{self._kind}")
        return b.call(found, [ir.Constant(self._float, -0.0), x], fastmath=_FLAGS)
