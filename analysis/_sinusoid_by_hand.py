"""MAML for sine waves written out by hand, without the engine: an independent run to hold the others against.

w' = w - alpha g(w) on the support points, v = d(query error)/dw at w', and the meta-gradient is v - alpha H v, with the
Hessian-vector product H v as the derivative of backpropagation along v (Pearlmutter 1994). Adam, all in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Weights = list[Any]  # W_1, b_1, W_2, b_2, W_3, b_3, each (..., rows, columns) or (..., columns)
_RATE, _DECAYS, _EPS = 1e-3, (0.9, 0.999), 1e-8


def curves(alpha: float, iterations: int, tested: int, seed: int) -> np.ndarray:
    """Return the query error (11, tested) on new tasks along ten steps, from the start that MAML learns."""
    draw = np.random.default_rng([seed, 7])
    start = _begin(draw)
    moments: tuple[Weights, Weights] = ([0 * p for p in start], [0 * p for p in start])
    for k in range(1, iterations + 1):
        gradient = meta_gradient(start, *tasks(draw, 25), alpha)
        for i, g in enumerate(gradient):
            for moment, decay, power in zip(moments, _DECAYS, (1, 2), strict=True):
                moment[i] = decay * moment[i] + (1 - decay) * g**power
            first, second = (m[i] / (1 - decay**k) for m, decay in zip(moments, _DECAYS, strict=True))
            start[i] = (start[i] - _RATE * first / (np.sqrt(second) + _EPS)).astype(np.float32)
    support, query = tasks(np.random.default_rng([seed, 8]), tested)
    w, found = _for_each(start, tested), []
    with np.errstate(all="ignore"):  # a task may diverge on the way
        for _ in range(11):
            found.append(np.mean((_layers(w, query[0])[-1] - query[1]) ** 2, axis=(1, 2)))
            w = [a - np.float32(alpha) * b for a, b in zip(w, gradient_of(w, *support), strict=True)]
    return np.stack(found)


def tasks(draw: np.random.Generator, count: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return support and query points (x, y), each (count, 10, 1)."""
    amplitude, phase = draw.uniform(0.1, 5.0, (count, 1, 1)), draw.uniform(0.0, np.pi, (count, 1, 1))
    x = draw.uniform(-5.0, 5.0, (count, 20, 1))
    y = (amplitude * np.sin(x - phase)).astype(np.float32)
    x = x.astype(np.float32)
    return (x[:, :10], y[:, :10]), (x[:, 10:], y[:, 10:])


def meta_gradient(start: Weights, support: Any, query: Any, alpha: float) -> Weights:
    """Return the mean over tasks of v - alpha H v, in the dtype of the weights."""
    count, a = len(support[0]), start[0].dtype.type(alpha)
    w = _for_each(start, count)
    moved = [x - a * g for x, g in zip(w, gradient_of(w, *support), strict=True)]
    v = gradient_of(moved, *query)
    Hv = hessian_product(w, *support, v)
    return [(x - a * y).mean(axis=0) for x, y in zip(v, Hv, strict=True)]


def gradient_of(w: Weights, x: Any, y: Any) -> Weights:
    """Return the gradient of the mean squared error, task by task."""
    a1, a2, z = _layers(w, x)
    d = (z - y) * x.dtype.type(2 / x.shape[1])
    d2 = np.matmul(d, _t(w[4])) * (a2 > 0)
    d1 = np.matmul(d2, _t(w[2])) * (a1 > 0)
    return [np.matmul(_t(x), d1), d1.sum(1), np.matmul(_t(a1), d2), d2.sum(1), np.matmul(_t(a2), d), d.sum(1)]


def hessian_product(w: Weights, x: Any, y: Any, v: Weights) -> Weights:
    """Return H v: what `gradient_of` changes by along v; primes are derivatives along v."""
    a1, a2, z = _layers(w, x)
    on1, on2, scale = a1 > 0, a2 > 0, x.dtype.type(2 / x.shape[1])
    a1_ = (np.matmul(x, v[0]) + v[1][:, None]) * on1
    a2_ = (np.matmul(a1_, w[2]) + np.matmul(a1, v[2]) + v[3][:, None]) * on2
    z_ = np.matmul(a2_, w[4]) + np.matmul(a2, v[4]) + v[5][:, None]
    d, d_ = (z - y) * scale, z_ * scale
    d2, d2_ = np.matmul(d, _t(w[4])) * on2, (np.matmul(d_, _t(w[4])) + np.matmul(d, _t(v[4]))) * on2
    d1_ = (np.matmul(d2_, _t(w[2])) + np.matmul(d2, _t(v[2]))) * on1
    last = np.matmul(_t(a2_), d) + np.matmul(_t(a2), d_)
    middle = np.matmul(_t(a1_), d2) + np.matmul(_t(a1), d2_)
    return [np.matmul(_t(x), d1_), d1_.sum(1), middle, d2_.sum(1), last, d_.sum(1)]


def _layers(w: Weights, x: Any) -> tuple[Any, Any, Any]:
    a1 = np.maximum(np.matmul(x, w[0]) + w[1][..., None, :], 0)
    a2 = np.maximum(np.matmul(a1, w[2]) + w[3][..., None, :], 0)
    return a1, a2, np.matmul(a2, w[4]) + w[5][..., None, :]


def _begin(draw: np.random.Generator) -> Weights:
    """Return weights N(0, 0.01^2), drawn anew beyond two standard deviations, and biases 0."""
    found: Weights = []
    for rows, columns in ((1, 40), (40, 40), (40, 1)):
        W = draw.standard_normal((rows, columns))
        while (far := np.abs(W) > 2).any():
            W[far] = draw.standard_normal(int(far.sum()))
        found += [(0.01 * W).astype(np.float32), np.zeros(columns, np.float32)]
    return found


def _for_each(start: Weights, count: int) -> Weights:
    return [np.broadcast_to(p, (count, *p.shape)).copy() for p in start]


def _t(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)
