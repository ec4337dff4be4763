"""The losses of the reference, their gradients and what else is measured, in dual numbers w (copies, B, d)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.digits import Dual, as_dual

Moved = Callable[[Dual], Dual]


class _Loss:
    def __init__(self, data: dict[str, Any], moved: Moved) -> None:
        self.data, self.moved = data, moved
        self.prepare()

    def prepare(self) -> None:
        """Make of the data what does not change."""

    def gradient(self, w: Dual) -> Dual:
        raise NotImplementedError

    def loss(self, w: Dual) -> Dual:
        raise NotImplementedError

    def measured(self, measure: str, w: Dual) -> Dual:
        """Return what the objective looks at, (copies, B)."""
        if measure == "squared_norm":
            return self.moved(w * w).sum()
        return self.loss(w) if measure == "loss" else self.other(measure, w)

    def other(self, measure: str, w: Dual) -> Dual:
        raise NotImplementedError(measure)


class _Diagonal(_Loss):
    def gradient(self, w: Dual) -> Dual:
        return w * self.data["eigenvalues"]

    def loss(self, w: Dual) -> Dual:
        return self.moved(self.gradient(w) * w).sum() / 2


class _Dense(_Loss):
    def gradient(self, w: Dual) -> Dual:
        return self.moved(w.expanded(-2) * self.data["H"]).sum()

    def loss(self, w: Dual) -> Dual:
        return self.moved(self.gradient(w) * w).sum() / 2


class _LeastSquares(_Loss):
    def prepare(self) -> None:
        X = self.data["X"]
        self.basis = None
        self.n = X.shape[-2]
        self.transposed = np.swapaxes(X, -1, -2)

    def gradient(self, w: Dual) -> Dual:
        residual = self._residual(self.data["X"], self.data["y"], w)
        return self.moved(residual.expanded(-2) * self.transposed).sum() / self.n

    def loss(self, w: Dual) -> Dual:
        return self._half_mean_square(self._residual(self.data["X"], self.data["y"], w))

    def other(self, measure: str, w: Dual) -> Dual:
        if measure == "train":
            return self.loss(w)
        if measure == "validation":
            return self._half_mean_square(self._residual(self.data["X_val"], self.data["y_val"], w))
        if measure == "risk":
            away = self.moved(w - self.data["w_star"])
            return self.moved(away * away).sum()
        return self._excess(w)

    def _residual(self, X: Any, y: Any, w: Dual) -> Dual:
        ahead = self.moved(w.expanded(-2) * X).sum()
        return self.moved(ahead - self.moved(Dual(np.broadcast_to(y, ahead.x.shape))))

    def _half_mean_square(self, residual: Dual) -> Dual:
        return self.moved(residual * residual).sum() / (2 * residual.x.shape[-1])

    def _excess(self, w: Dual) -> Dual:
        """Return ||Q'(Xw - y)||^2/(2n), the rows of Q' an orthonormal basis of the columns of X."""
        if self.basis is None:
            self.basis = _basis(self.data["X"])
        residual = self._residual(self.data["X"], self.data["y"], w)
        part = (residual.expanded(-2) * self.basis).sum()
        return self.moved(part * part).sum() / (2 * self.n)


class _Square(_Loss):
    def gradient(self, w: Dual) -> Dual:
        return w

    def loss(self, w: Dual) -> Dual:
        return self.moved(w * w).sum() / 2


class _Polynomial(_Loss):
    def gradient(self, w: Dual) -> Dual:
        return self.moved(w * self.data["c2"]) + self.moved(w.power(3) * self.data["c4"])

    def loss(self, w: Dual) -> Dual:
        square = self.moved(w * w)
        return self.moved(square * self.data["c2"] / 2 + square * square * self.data["c4"] / 4).sum()


class _Cubic(_Loss):
    def gradient(self, w: Dual) -> Dual:
        return self.moved(w * w) - w

    def loss(self, w: Dual) -> Dual:
        square = self.moved(w * w)
        return (self.moved(square * w) / 3 - square / 2).sum()


class _Logistic(_Loss):
    def gradient(self, w: Dual) -> Dual:
        weight = self.moved(-(-self._margins(w)).sigmoid())
        return self.moved(weight.expanded(-2) * np.swapaxes(self.data["x"], -1, -2)).sum() / self.data["x"].shape[1]

    def loss(self, w: Dual) -> Dual:
        return self.moved((-self._margins(w)).softplus()).sum() / self.data["x"].shape[1]

    def _margins(self, w: Dual) -> Dual:
        return self.moved(w.expanded(-2) * self.data["x"]).sum()


def _basis(X: Any) -> Any:
    """Return the orthonormal columns of X as rows, (..., n), by Gram and Schmidt, twice; zero rows for the others."""
    if X.ndim > 2:
        return np.stack([_basis(one) for one in X])
    rows: list[Any] = []
    for column in X.T:
        left = column
        for row in [*rows, *rows]:
            left = left - row * (row * left).sum()
        size = as_dual((left * left).sum()).sqrt().x
        is_new = float(size) > 1e-60 * float(as_dual((column * column).sum()).sqrt().x)
        rows.append(left / size if is_new else 0 * column)
    return np.stack(rows)


def rank(X: Any) -> int:
    """Return the rank of one matrix of exact numbers."""
    return int((abs(_basis(X)).sum(axis=-1) != 0).sum())


LOSSES: dict[str, type[_Loss]] = {
    "diagonal": _Diagonal,
    "dense": _Dense,
    "least_squares": _LeastSquares,
    "square": _Square,
    "polynomial": _Polynomial,
    "cubic": _Cubic,
    "logistic": _Logistic,
}
