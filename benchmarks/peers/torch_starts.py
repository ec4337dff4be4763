"""PyTorch in eager mode: MAML's meta-gradient by `create_graph=True`, all tasks in one batch of products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from benchmarks.peers import torch_peer

VERSION = torch_peer.VERSION  # the module sets the number of threads


def maml(kind: str, given: Any, steps: int) -> Callable[[], list[Any]]:
    """Return a function that returns the mean query loss after `steps` inner steps, and its gradient in the start."""
    loss = _sine_loss if kind == "sine waves" else _character_loss
    support, query = ([torch.from_numpy(a) for a in pair] for pair in (given.support, given.query))
    start = [torch.from_numpy(a) for a in given.start]
    tasks = len(support[0])

    def call() -> list[Any]:
        first = [a.clone().requires_grad_() for a in start]
        w = [a.expand(tasks, *a.shape) for a in first]
        for _ in range(steps):
            g = torch.autograd.grad(loss(w, *support).sum(), w, create_graph=True)
            w = [a - given.eta * b for a, b in zip(w, g, strict=True)]
        value = loss(w, *query).mean()
        grads = torch.autograd.grad(value, first)
        return [value.detach().numpy(), *(g.numpy() for g in grads)]

    return call


def _sine_loss(w: Any, x: Any, y: Any) -> Any:
    for k in (0, 2):
        x = torch.relu(torch.baddbmm(w[k + 1][:, None, :], x, w[k]))
    z = torch.baddbmm(w[5][:, None, :], x, w[4])
    return ((z - y) ** 2).mean(dim=(1, 2))


def _character_loss(w: Any, x: Any, labels: Any) -> Any:
    """Return the cross-entropy of two strided convolutions and a layer, a task (B,); x: the first layer's windows."""
    tasks, samples, side = x.shape[:3]
    rows = torch.baddbmm(w[1][:, None, :], x.reshape(tasks, -1, x.shape[-1]), w[0])
    image = torch.relu(rows).reshape(tasks * samples, side, side, -1).permute(0, 3, 1, 2)
    windows = functional.unfold(image, 3, padding=1, stride=2)  # (images, channels * 9, places)
    channels, places = image.shape[1], windows.shape[-1]
    rows = windows.reshape(tasks, samples, channels, 9, places).permute(0, 1, 4, 3, 2).reshape(tasks, -1, 9 * channels)
    hidden = torch.relu(torch.baddbmm(w[3][:, None, :], rows, w[2])).reshape(tasks, samples, -1)
    z = torch.baddbmm(w[5][:, None, :], hidden, w[4])
    return -(labels * functional.log_softmax(z, dim=-1)).sum(dim=-1).mean(dim=-1)
