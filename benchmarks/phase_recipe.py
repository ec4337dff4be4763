"""The risks of both ways to tune in the limit d/n -> gamma, point by point: quadrature, a grid of eta, Brent's method.

For the Marchenko-Pastur law mu and s = 1 + gamma + 2 sqrt(gamma) cos(u), s dmu = (2/pi) sin(u)^2 du on (0, pi); the
midpoint rule in u is exact for polynomials in s. With a = 1 - eta s and signal 1,

    train loss = const + (1/2) int (s + sigma^2 gamma) a^{2t} dmu      (without the atom at 0)
    risk       = 1 - int (1 - a^{2t})/s s dmu + sigma^2 gamma int ((1 - a^t)/s)^2 s dmu
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[Any]
Curve = Callable[[Floats], Floats]
_NODES, _GRID = 400, 200


def risks(steps: int, ratios: Floats, sigmas: Floats) -> Floats:
    """Return the risks of train by train and of train by validation (half split), (2, len(ratios), len(sigmas))."""
    return np.array([[_point(steps, 1 / ratio, sigma) for sigma in sigmas] for ratio in ratios]).transpose(2, 0, 1)


def _point(steps: int, gamma: float, sigma: float) -> tuple[float, float]:
    _, train_loss, risk = _curves(steps, gamma, sigma)
    top, _, half_risk = _curves(steps, 2 * gamma, sigma)
    eta = _minimiser(train_loss, 4 / top)
    return risk(np.array([eta]))[0], half_risk(np.array([_minimiser(half_risk, 4 / top)]))[0]


def _curves(steps: int, gamma: float, sigma: float) -> tuple[float, Curve, Curve]:
    u = (np.arange(_NODES) + 0.5) * np.pi / _NODES
    s = 1 + gamma + 2 * np.sqrt(gamma) * np.cos(u)
    weights = 2 * np.sin(u) ** 2 / _NODES

    def train_loss(eta: Floats) -> Floats:
        return (1 - eta[:, None] * s) ** (2 * steps) @ (weights * (1 + sigma**2 * gamma / s)) / 2

    def risk(eta: Floats) -> Floats:
        power = (1 - eta[:, None] * s) ** steps
        return 1 - (1 - power**2) @ (weights / s) + sigma**2 * gamma * ((1 - power) ** 2 @ (weights / s**2))

    return s[0], train_loss, risk


def _minimiser(curve: Curve, most: float) -> float:
    grid = np.geomspace(1e-6 * most, most, _GRID)
    best = int(np.clip(np.argmin(curve(grid)), 1, _GRID - 2))
    bounds = (np.log(grid[best - 1]), np.log(grid[best + 1]))
    found = minimize_scalar(lambda x: curve(np.exp([x]))[0], bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return float(np.exp(found.x))
