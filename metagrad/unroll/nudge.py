"""Neighbouring floats: w moved by one unit in the last place, up or down, by a hash of its digits, its place and t.

A run whose w is moved after every step, and at its start, rounds as a run on another machine might. The direction is a
function of the digits alone: a step that is taken again, from a checkpoint, is moved alike, and so is a state whose
power of two lies in an exponent beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import float_info, namespace

# Odd constants with as many ones as zeros: a product with one, and a shift, mix the bits of 64.
PLACE, TIME, COPY, MIX = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93
_DIGITS = 2.0**53
_ALL = (1 << 64) - 1


def salt_of(copy: int, t: int) -> int:
    """Return what the hash of a copy's state at t begins with, a number of 64 bits."""
    return (copy * COPY ^ t * TIME) & _ALL


def nudged(w: Tree, copy: int, t: int) -> Tree:
    """Return every float array of w (B, ...) times 1 + eps or 1 - eps, alike for x and 2x; zeros stay."""
    salt = np.uint64(salt_of(copy, t))

    def move(leaf: Any) -> Any:
        if not is_float_array(leaf):
            return leaf
        xp = namespace(leaf)
        digits = (xp.frexp(leaf)[0].astype(np.float64) * _DIGITS).astype(np.int64).view(np.uint64)
        place = xp.arange(int(np.prod(leaf.shape[1:])), dtype=np.uint64).reshape(leaf.shape[1:])
        mixed = xp.bitwise_xor(xp.bitwise_xor(digits, place * np.uint64(PLACE)), salt) * np.uint64(MIX)
        mixed = xp.bitwise_xor(mixed, xp.right_shift(mixed, np.uint64(32))) * np.uint64(MIX)
        eps = float_info(leaf.dtype).eps
        return leaf * xp.where(xp.right_shift(mixed, np.uint64(63)) != 0, 1 + eps, 1 - eps).astype(leaf.dtype)

    return ad.tree_map(move, w)
