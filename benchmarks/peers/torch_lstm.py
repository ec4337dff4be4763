"""PyTorch in eager mode: the unrolled coordinate-wise LSTM."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def quadratics(problem: Any, phi: Any, steps: int, *, full: bool) -> Callable[[], list[Any]]:
    """Return a function that returns the mean over tasks of sum_t f(w_t) and its gradient; problem (H, w0)."""
    H, start = map(torch.from_numpy, problem)

    def objective(phi: Any) -> torch.Tensor:
        w, state, total = start, _start(phi, start.numel()), 0.0
        product = torch.matmul(H, w[..., None])[..., 0]
        for _ in range(steps):
            update, state = _update(phi, product.reshape(-1), state, full)
            w = w + update.reshape(w.shape)
            product = torch.matmul(H, w[..., None])[..., 0]
            total = total + 0.5 * (w * product).sum() / len(w)
        return total

    return _call(objective, phi)


def networks(problem: Any, phi: Any, steps: int, *, full: bool) -> Callable[[], list[Any]]:
    """Return the same for one network; problem (x (T+1, n, p), y (T+1, n), (W_1, b_1, ...)), preset p = 5, 0.01."""
    x, y, start = torch.from_numpy(problem[0]), torch.from_numpy(problem[1]), [*map(torch.from_numpy, problem[2])]

    def loss(w: Any, t: int) -> torch.Tensor:
        W1, b1, W2, b2 = w
        return functional.cross_entropy(torch.sigmoid(x[t] @ W1 + b1) @ W2 + b2, y[t])

    def objective(phi: Any) -> torch.Tensor:
        w, total = [leaf.clone().requires_grad_() for leaf in start], 0.0
        state = _start(phi, sum(leaf.numel() for leaf in w))
        now = loss(w, 0)
        for t in range(steps):
            g = torch.autograd.grad(now, w, create_graph=full, retain_graph=True)
            update, state = _update(phi, torch.cat([leaf.reshape(-1) for leaf in g]), state, full, preprocessing=5.0)
            parts = torch.split(0.01 * update, [leaf.numel() for leaf in w])
            w = [leaf + part.reshape(leaf.shape) for leaf, part in zip(w, parts, strict=True)]
            now = loss(w, t + 1)
            total = total + now
        return total

    return _call(objective, phi)


def _update(phi: Any, g: Any, state: Any, full: bool, preprocessing: float | None = None) -> Any:
    """Return the update (N,) before its scale, and the new state."""
    layers, (w_out, b_out) = phi
    g, after = g if full else g.detach(), []
    x = g[:, None] if preprocessing is None else _log_and_sign(g, preprocessing)
    for (weight, bias), memory in zip(layers, state, strict=True):
        after.append(_cell(weight, bias, x, memory))
        x = after[-1][0]
    return (x @ w_out + b_out)[:, 0], after


def _cell(weight: Any, bias: Any, x: Any, memory: Any) -> Any:
    h, c = memory
    i, j, f, o = torch.addmm(bias, torch.cat((x, h), dim=-1), weight).chunk(4, dim=-1)
    c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(j)
    return torch.sigmoid(o) * torch.tanh(c), c


def _log_and_sign(g: Any, p: float) -> Any:
    size = g.abs()
    is_large = size >= math.exp(-p)
    log = torch.where(is_large, torch.log(torch.where(is_large, size, 1.0)) / p, -1.0)
    return torch.stack((log, torch.where(is_large, torch.sign(g), math.exp(p) * g)), dim=-1)


def _start(phi: Any, count: int) -> Any:
    zeros = [torch.zeros((count, bias.numel() // 4), dtype=bias.dtype) for _, bias in phi[0]]
    return [(zero, zero) for zero in zeros]


def _call(objective: Callable[[Any], torch.Tensor], phi: Any) -> Callable[[], list[Any]]:
    def call() -> list[Any]:
        layers = [tuple(torch.from_numpy(x).requires_grad_() for x in layer) for layer in phi.layers]
        output = tuple(torch.from_numpy(x).requires_grad_() for x in phi.output)
        value = objective((layers, output))
        grads = torch.autograd.grad(value, [x for layer in (*layers, output) for x in layer])
        return [value.detach().numpy(), *(g.numpy() for g in grads)]

    return call
