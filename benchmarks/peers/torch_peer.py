"""PyTorch in eager mode."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

VERSION = torch.__version__
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def reverse(H: NDArray[Any], w0: NDArray[Any], eta: float, steps: int) -> Callable[[], tuple[float, float]]:
    """Return a function that returns the mean over tasks of G and of G'; H (B, d, d), w0 (B, d)."""
    matrix, start = torch.from_numpy(H), torch.from_numpy(w0)

    def call() -> tuple[float, float]:
        rate = torch.tensor(eta, dtype=start.dtype, requires_grad=True)
        value = _log_objective(matrix, start, rate, steps).mean()
        (slope,) = torch.autograd.grad(value, rate)
        return float(value.detach()), float(slope)

    return call


def slopes(H: NDArray[Any], w0: NDArray[Any], etas: NDArray[Any], steps: int) -> NDArray[Any]:
    """Return G'(eta) for every eta; H (d, d), w0 (d,)."""
    rates = torch.from_numpy(etas).requires_grad_(True)
    matrix = torch.from_numpy(H)[None]
    start = torch.from_numpy(w0).expand(len(etas), -1)
    values = _log_objective(matrix, start, rates[:, None], steps)
    (slope,) = torch.autograd.grad(values.sum(), rates)
    return np.asarray(slope.numpy())


def _log_objective(H: torch.Tensor, w: torch.Tensor, eta: torch.Tensor, steps: int) -> torch.Tensor:
    for _ in range(steps):
        w = w - eta * torch.matmul(H, w[..., None])[..., 0]
    loss = 0.5 * (w * torch.matmul(H, w[..., None])[..., 0]).sum(-1)
    return torch.log(loss) / steps
