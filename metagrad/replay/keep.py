"""Pass: what the forward step keeps for its pullback. The pullback computes it again otherwise, with the same bits.

Kept are products and the functions that take long, where both need them and they do not depend on the adjoint; what is
cheap is computed again, which is faster than to write it and read it back.
"""

from __future__ import annotations

import numpy as np

from metagrad.replay.dead import needed
from metagrad.replay.functions import is_fresh
from metagrad.replay.program import Value

_LONG = frozenset(
    {
        *(np.matmul, np.einsum, np.exp, np.log, np.log1p, np.expm1, np.tanh, np.sin, np.cos, np.power),
        *(np.logaddexp, np.arctan, np.sinh, np.cosh, np.log2, np.log10, np.linalg.inv, np.linalg.solve),
        np.linalg.cholesky,
    }
)


def kept(values: list[Value], of_step: list[Value], of_pull: list[Value]) -> list[Value]:
    """Return the values to keep, of those that the outputs of the step and of its pullback need."""
    in_step = {v.number for v in needed(values, of_step)}
    both = [v for v in needed(values, of_pull) if v.number in in_step]
    worth = [v for v in both if v.function in _LONG and v.is_array and is_fresh(v.function, v.args) and _is_compact(v)]
    still = {v.number for v in needed(values, of_pull, worth)}  # some are needed for others that are kept, alone
    return [v for v in worth if v.number in still]


def _is_compact(v: Value) -> bool:
    return bool(np.empty_like(v.example).strides == v.example.strides)
