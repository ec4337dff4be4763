"""Convex functions of one variable whose curvature is 0 or 1, as tasks: an adversary moves where it switches.

f has its minimum 0 at 0, and on either side f'' is 1 on intervals [s_i, e_i] and 0 between them. With
d_i(u) = min(max(u - s_i, 0), e_i - s_i), u = |x| on the side where x is:

    f(x) = sum_i d_i(u)^2/2 + (e_i - s_i) max(u - e_i, 0),        |f'(x)| = sum_i d_i(u),      f'' at most 1.

Huber's function is one interval, x^2/2 one that does not end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import metagrad as mg
from metagrad.xp import Array

INTERVALS = 2  # on a side
LONG = 10.0  # far beyond where any run gets


def value(x: Any, theta: Any) -> Any:
    """Return f_b(x_b), (B,), for x (B,) and theta (B, 2, INTERVALS, 2): logs of how long f'' is 1 and then 0."""
    lengths = np.exp(theta)
    ends = np.cumsum(np.reshape(lengths, (*theta.shape[:2], -1)), axis=-1)
    flat = np.reshape(ends, theta.shape)
    e, s = flat[..., 0], flat[..., 0] - lengths[..., 0]
    u = np.stack((np.maximum(x, 0.0), np.maximum(-x, 0.0)), axis=1)[..., None]
    d = np.minimum(np.maximum(u - s, 0.0), e - s)
    return np.sum(d * d / 2 + (e - s) * np.maximum(u - e, 0.0), axis=(1, 2))


def task(theta: Array) -> mg.FunctionTask:
    """Return the functions as tasks from x_0 = 1, theta their meta-parameters."""

    def loss(w: Any, theta: Any) -> Any:
        return value(w[:, 0], theta)

    return mg.FunctionTask(loss, np.ones((len(theta), 1)), theta=theta)
