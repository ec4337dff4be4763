"""What tells an array from what it was."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from metagrad.xp import Array, to_host

MOST_BYTES = 1 << 26  # that are looked at of one array
_PIECE = 1 << 17  # bytes at once
# Bits, by which a word is laid over itself: signs of floats and integers of any width do not meet other signs there.
_OVER = 33


def content(x: Array) -> Any:
    """Return what tells an array from what it was, within the process.

    Of a small one Python's own hash of its bytes; of a larger one, for each piece, the sum of its words times odd
    numbers drawn at random, modulo 2**64: it surely differs where one word does, and else but once in 2**32 or so, in a
    third of the time. The first bits of a word are laid over later ones before: a change of signs alone would else be
    lost where their number is even. Of a very large array some pieces stand for all: what changes in others is left to
    the comparisons with the tape. An array on a device is copied to the host for it.
    """
    x = x if isinstance(x, np.ndarray) else to_host(x)
    if x.nbytes <= _PIECE or not (x.flags.c_contiguous or x.flags.f_contiguous):
        return hash((x if x.nbytes <= MOST_BYTES else x[:: 1 + x.nbytes // MOST_BYTES]).tobytes())
    whole = x.ravel("K").view(np.uint8)
    words, rest = whole[: whole.size // 8 * 8].view(np.uint64), whole[whole.size // 8 * 8 :]
    size, step = _PIECE // 8, _PIECE // 8
    if x.nbytes > MOST_BYTES:
        size = size // 32
        step = max(size, x.nbytes * size // MOST_BYTES)
    count = (len(words) - size) // step + 1
    pieces = np.lib.stride_tricks.as_strided(words, (count, size), (8 * step, 8), writeable=False)
    return hash(_sums(pieces) + _sums(words[None, len(words) - size :]) + rest.tobytes())


def _sums(pieces: np.ndarray) -> bytes:
    """Return the sum of each piece, (count, words)."""
    count, size = pieces.shape
    weights, found = _weights(), np.empty(count, np.uint64)
    code = _machine_code() if "llvmlite" in sys.modules else None
    if code is not None:
        at = [x.ctypes.data for x in (pieces, weights, found)]
        code(count, size, pieces.strides[0] // 8, *at)
        return found.tobytes()
    at_once = max(1, _PIECE // 8 // size)
    room = np.empty((min(at_once, count), size), np.uint64)
    for first in range(0, count, at_once):
        part = pieces[first : first + at_once]
        mixed = np.right_shift(part, np.uint64(_OVER), out=room[: len(part)])
        mixed ^= part
        mixed *= weights[:size]
        mixed.sum(axis=1, out=found[first : first + at_once])
    return found.tobytes()


@cache
def _machine_code() -> Callable[..., None] | None:
    """Return the same loop as machine code, which reads the words once; None where none can be made."""
    try:
        return _compiled()
    except Exception:  # whatever a compiler has against it: the sums are the same without
        return None


def _compiled() -> Callable[..., None]:
    from llvmlite import ir
    from numba.core import cgutils

    from metagrad.llvm import machine_code, new_name

    util: Any = cgutils
    number, module, name = ir.IntType(64), ir.Module("metagrad"), new_name()
    words = number.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [number] * 3 + [words] * 3), name)
    count, size, step, pieces, weights, found = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    total = util.alloca_once(b, number)
    with util.for_range(b, count) as each:
        b.store(number(0), total)
        piece = b.gep(pieces, [b.mul(each.index, step)])
        with util.for_range(b, size) as loop:
            word, weight = (b.load(b.gep(start, [loop.index])) for start in (piece, weights))
            mixed = b.xor(word, b.lshr(word, number(_OVER)))
            b.store(b.add(b.load(total), b.mul(mixed, weight)), total)
        b.store(b.load(total), b.gep(found, [each.index]))
    b.ret_void()
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_longlong] * 3, *[ctypes.c_void_p] * 3)
    return prototype(machine_code(module, name))


@cache
def _weights() -> np.ndarray:
    """Return odd numbers of this process, one for each word of a piece."""
    drawn = np.random.default_rng().integers(0, 1 << 63, _PIECE // 8, dtype=np.uint64)
    return (drawn << np.uint64(1)) | np.uint64(1)
