"""The compiled loops over blocks of steps, by the kind of matrix."""

from __future__ import annotations

from metagrad.kernels import _compiled_loops as loops
from metagrad.kernels import _compiled_tiled as tiled
from metagrad.kernels._compiled_steps import extremes

__all__ = ["ASCEND", "DESCEND", "extremes"]

DESCEND = {
    "diagonal": loops.descend_diagonal,
    "dense": loops.descend_dense,
    "tiled": tiled.descend_tiled,
    "symmetric": loops.descend_symmetric,
}
ASCEND = {
    "diagonal": loops.ascend_diagonal,
    "dense": loops.ascend_dense,
    "tiled": tiled.ascend_tiled,
    "symmetric": loops.ascend_symmetric,
}
