"""PyTorch in eager mode: a user's loss and rule unrolled, the step's gradient by `create_graph`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from benchmarks.own_tasks import ADAM, FORGET_MORE, Given
from benchmarks.peers import torch_peer

VERSION = torch_peer.VERSION  # the module sets the number of threads

Call = Callable[[], list[Any]]


def logistic(given: Given, rule: str, steps: int) -> Call:
    """Return a function that returns the mean over tasks of sum_t f(w_t), and its gradient."""
    zero = torch.zeros((), dtype=torch.from_numpy(given.w0[0]).dtype)

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        z = torch.einsum("bni,bi->bn", x, w[0])
        return torch.mean(torch.log1p(torch.exp(-torch.abs(z))) + torch.maximum(z, zero) - y * z, dim=-1)

    return _call(given, loss, _rule(rule), steps)


def decayed(given: Given, rule: str, steps: int) -> Call:
    """Return the same with a weight decay, the exponential of the last of phi."""
    zero = torch.zeros((), dtype=torch.from_numpy(given.w0[0]).dtype)

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        z = torch.einsum("bni,bi->bn", x, w[0])
        losses = torch.mean(torch.log1p(torch.exp(-torch.abs(z))) + torch.maximum(z, zero) - y * z, dim=-1)
        return losses + torch.exp(phi[-1]) * torch.sum(w[0] * w[0], dim=-1)

    return _call(given, loss, _rule(rule), steps)


def classes(given: Given, rule: str, steps: int) -> Call:
    """Return the same of softmax regression on integer labels."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        log_p = torch.log_softmax(x @ w[0], dim=-1)
        return -torch.mean(torch.gather(log_p, -1, y[..., None])[..., 0], dim=-1)

    return _call(given, loss, _rule(rule), steps)


def network(given: Given, rule: str, steps: int) -> Call:
    """Return the same of two layers that see a minibatch a step."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        (W1, b1, W2, b2), (x, labels) = w, data
        z = torch.tanh(x @ W1[0] + b1[0]) @ W2[0] + b2[0]
        return functional.cross_entropy(z, labels)[None]

    return _call(given, loss, _rule(rule), steps)


def lstm_rule(given: Given, rule: str, steps: int) -> Call:
    """Return the same of least squares under a coordinate-wise LSTM."""

    def loss(w: Any, data: Any, phi: Any) -> Any:
        x, y = data
        return torch.mean((torch.einsum("bni,bi->bn", x, w[0]) - y) ** 2, dim=-1) / 2

    def init(phi: Any, w: Any) -> Any:
        zeros = torch.zeros((*w[0].shape, phi[2].numel()), dtype=w[0].dtype)
        return zeros, zeros

    def step(phi: Any, state: Any, w: Any, g: Any) -> Any:
        (weight, bias, out, shift), (h, c) = phi, state
        z = torch.cat((g[0][..., None], h), dim=-1) @ weight + bias
        i, j, forget, o = z.chunk(4, dim=-1)
        c = torch.sigmoid(forget + FORGET_MORE) * c + torch.sigmoid(i) * torch.tanh(j)
        h = torch.sigmoid(o) * torch.tanh(c)
        return [w[0] + h @ out + shift], (h, c)

    return _call(given, loss, (init, step), steps)


def _rule(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return init and step of a rule."""
    if name == ADAM:
        return lambda phi, w: ([torch.zeros_like(a) for a in w], [torch.zeros_like(a) for a in w], 0), _adam
    return lambda phi, w: (), lambda phi, state, w, g: ([a - phi[0] * b for a, b in zip(w, g, strict=True)], state)


def _adam(phi: Any, state: Any, w: Any, g: Any) -> Any:
    (eta, beta1, beta2, eps), (m, v, t) = phi, state
    t = t + 1
    m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
    v = [beta2 * a + (1 - beta2) * b * b for a, b in zip(v, g, strict=True)]
    scale1, scale2 = 1 / (1 - beta1**t), 1 / (1 - beta2**t)
    w = [a - eta * scale1 * b / (torch.sqrt(scale2 * c) + eps) for a, b, c in zip(w, m, v, strict=True)]
    return w, (m, v, t)


def _call(given: Given, loss: Any, rule: Any, steps: int) -> Call:
    init, update = rule
    data, start = ([torch.from_numpy(a) for a in arrays] for arrays in (given.data, given.w0))

    def sample(t: int) -> Any:
        return [a[t] for a in data] if given.samples else data

    def call() -> list[Any]:
        phi = [torch.tensor(a).requires_grad_() for a in given.phi]
        w = [a.detach().requires_grad_() for a in start]
        state, total, now = init(phi, w), 0.0, loss(w, sample(0), phi)
        for t in range(steps):
            g = torch.autograd.grad(now.sum(), w, create_graph=True)
            w, state = update(phi, state, w, g)
            now = loss(w, sample(t + 1), phi)
            total = total + now.mean()
        grads = torch.autograd.grad(total, phi)
        return [total.detach().numpy(), *(g.numpy() for g in grads)]

    return call
