"""Powers of decays, to their last digits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Decay(NamedTuple):
    """A decay beta and rest = 1 - beta, each to its own last digits: beta alone has lost those of 1 - beta near 1."""

    beta: Any
    rest: Any


def with_rest(beta: Any) -> Decay:
    """Return the decay beta and 1 - beta; one that comes with its rest stays."""
    return beta if isinstance(beta, Decay) else Decay(beta, 1.0 - beta)


def one_minus_power(beta: Any, t: int) -> Any:
    """Return 1 - beta^t for beta in [0, 1), or a `Decay`, and t = 1, 2, ..., to the last digits of any dtype.

    1 - beta^t cancels where beta is near 1: with beta = 0.999 and t = 2 float32 loses 9 of its 24 bits, float16 its
    first. -expm1(t log beta) does not cancel.
    """
    if isinstance(beta, Decay):
        return -np.expm1(t * _log(beta)) if t > 1 else beta.rest
    if isinstance(beta, float):  # Python's floats are float64, and stay Python's
        return 1.0 - beta**t
    # No branch on the time: the first step is then the same program as the others (`metagrad.replay`).
    is_zero, is_first = beta == 0, (beta < 1) & (t == 1)
    power = -np.expm1(t * np.log(np.where(is_zero | is_first, 0.5, beta)))
    return np.where(is_first, 1.0 - beta, np.where(is_zero, 1.0, power))


def _log(decay: Decay) -> Any:
    """Return log(beta) to its last digits: log(1 - rest) near 1, where beta has fewer."""
    near_one = decay.rest < 0.5
    return np.where(near_one, np.log1p(-np.where(near_one, decay.rest, 0.5)), np.log(decay.beta))
