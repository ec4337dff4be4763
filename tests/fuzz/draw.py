"""Cases by chance: a case is a function of (seed, index)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.cases import OWN, Case, held

_RANGE = {"float16": 3.0, "float32": 30.0, "float64": 200.0}  # decades to either side that data may have
_ADAPTIVE = ("RMSprop", "Adagrad", "Adam", "AdamW", "NAdam", "Adan", "Lion")
_HOMOGENEOUS = ("GradientDescent", "Momentum", "Nesterov", "SGDW")
_EVERY_STEP = ("Mean", "MeanLog", "WeightedSum")


def case_of(seed: int, index: int, longest: int = 400) -> Case:
    """Return the case; horizons reach to `longest`."""
    return _Draw(np.random.default_rng((seed, index)), longest).case()


class _Draw:
    def __init__(self, rng: np.random.Generator, longest: int) -> None:
        self.rng = rng
        self.dtype = self.one("float16", "float32", "float32", "float64", "float64")
        self.task = self.one("diagonal", "diagonal", "dense", "least_squares", "least_squares", *OWN)
        self.rule = self.one(*_HOMOGENEOUS, "GradientDescent", "GradientDescent", *_ADAPTIVE)
        self.steps = max(1, round(float(longest ** (rng.random() ** 1.4))))
        most = 8 if self.steps < 100 else 3
        if self.task in ("dense", "least_squares", "logistic"):
            most = min(most, 4)
        self.d, self.B = int(rng.integers(1, most + 1)), int(rng.integers(1, 4 if self.steps < 100 else 2))
        self.method = self._method()
        self.per_task = self.B > 1 and self.method != "value" and rng.random() < 0.3

    def one(self, *kinds: Any) -> Any:
        """Return one of them."""
        return kinds[int(self.rng.integers(len(kinds)))]

    def near(self, x: Any) -> Any:
        """Return x in numbers of the dtype."""
        return held(x, self.dtype)

    def _method(self) -> str:
        known = ["reverse"] * 5 + ["forward"] * 3 + ["windows"] * 2 + ["value"]
        if self.rule == "GradientDescent" and self.task in ("diagonal", "dense", "least_squares"):
            known += ["closed_form"] * 3
        return str(self.one(*known))

    def case(self) -> Case:
        data, sharpest = getattr(self, f"_{self.task}")()
        phi, scheduled = self._phi(data, sharpest)
        objective, measure = self._objective(scheduled, phi)
        return Case(
            task=self.task,
            dtype=self.dtype,
            data={name: self.near(x) for name, x in data.items()},
            rule=self.rule,
            phi=phi,
            objective=objective,
            steps=self.steps,
            method=self.method,
            measure=measure,
            rho=float(self.one(1.0, 0.9, 1.1)),
            scheduled=scheduled,
            degree=self.one(2, None) if self.task == "square" else None,
            options=self._options(scheduled, phi),
        )

    # data, each with the largest curvature

    def _w0(self) -> Any:
        far = _RANGE[self.dtype]
        signs = self.rng.choice([-1.0, 1.0], (self.B, self.d))
        kind = self.rng.random()
        if kind < 0.6:
            return self.rng.standard_normal((self.B, self.d))
        if kind < 0.75:
            return signs * 10.0 ** self.rng.uniform(-far, far)
        if kind < 0.95:
            return signs * 10.0 ** self.rng.uniform(-far, far, (self.B, self.d))
        return signs * (self.rng.random((self.B, self.d)) < 0.7)

    def _eigenvalues(self) -> Any:
        shape, kind = (self.B, self.d), self.rng.random()
        if kind < 0.4:
            return self.rng.uniform(0.1, 2.0, shape)
        if kind < 0.55:
            return self.rng.choice([0.0, 0.5, 1.0, 1.0], shape)
        lam = 10.0 ** self.rng.uniform(-min(12.0, _RANGE[self.dtype]), 0.0, shape)
        if kind < 0.85:
            return lam
        far = _RANGE[self.dtype] / 2
        return self.rng.uniform(0.1, 2.0, shape) * 10.0 ** self.rng.uniform(-far, far)

    def _diagonal(self) -> tuple[dict[str, Any], float]:
        lam = self.near(self._eigenvalues())
        return {"eigenvalues": lam, "w0": self._w0()}, float(lam.max())

    def _dense(self) -> tuple[dict[str, Any], float]:
        shared = self.rng.random() < 0.5
        count = 1 if shared else self.B
        Q = np.linalg.qr(self.rng.standard_normal((count, self.d, self.d)))[0]
        lam = self._eigenvalues()[:count]
        H = np.einsum("bij,bj,bkj->bik", Q, lam, Q)
        if self.rng.random() < 0.2:  # singular in the very numbers of the dtype
            v = self.rng.integers(-3, 4, (count, self.d)).astype(float)
            H = v[:, :, None] * v[:, None, :]
        H = self.near((H + H.swapaxes(1, 2)) / 2)
        largest = float(np.linalg.eigvalsh(H.astype(float)).max())
        return {"H": H[0] if shared else H, "w0": self._w0()}, largest

    def _least_squares(self) -> tuple[dict[str, Any], float]:
        n = int(self.rng.integers(1, 9))
        X = self.rng.standard_normal((self.B, n, self.d))
        if self.rng.random() < 0.3:
            X = X * 10.0 ** self.rng.uniform(-3, 0, self.d)
        w_star = self.near(self.rng.standard_normal((self.B, self.d)))
        X = self.near(X)
        noise = self.one(0.0, 0.1, 1.0) * self.rng.standard_normal((self.B, n))
        y = np.einsum("bni,bi->bn", X.astype(float), w_star.astype(float)) + noise
        w0 = self.one(np.zeros((self.B, self.d)), self.rng.standard_normal((self.B, self.d)))
        data = {"X": X, "y": y, "w0": w0, "w_star": w_star}
        data["X_val"] = self.rng.standard_normal((self.B, 3, self.d))
        data["y_val"] = self.rng.standard_normal((self.B, 3))
        return data, float(np.linalg.norm(X.astype(float), 2, axis=(1, 2)).max() ** 2 / n)

    def _square(self) -> tuple[dict[str, Any], float]:
        return {"w0": self._w0()}, 1.0

    def _polynomial(self) -> tuple[dict[str, Any], float]:
        c2, c4 = self.rng.uniform(0.0, 2.0, (2, self.B, self.d))
        w0 = self.rng.standard_normal((self.B, self.d)) * 10.0 ** self.rng.uniform(-2, 0.5)
        return {"w0": w0, "c2": c2, "c4": c4}, float((c2 + 3 * c4 * w0**2).max())

    def _cubic(self) -> tuple[dict[str, Any], float]:
        return {"w0": self.rng.uniform(0.05, 1.2, (self.B, self.d))}, 1.0

    def _logistic(self) -> tuple[dict[str, Any], float]:
        n = int(self.rng.integers(1, 7))
        x = self.rng.standard_normal((self.B, n, self.d))
        largest = float((x**2).sum(axis=(1, 2)).max() / n / 4)
        return {"w0": self.rng.standard_normal((self.B, self.d)), "x": x}, largest

    # meta-parameters

    def _eta(self, data: dict[str, Any], sharpest: float) -> float:
        if self.rule in _ADAPTIVE:
            typical = float(np.median(abs(self.near(data["w0"]).astype(float)))) or 1.0
            eta = 10.0 ** self.rng.uniform(-3, 0) * min(max(typical, 1e-3), 1e3)
        elif self.task == "cubic":
            eta = self.rng.uniform(0.1, 3.0)
        else:
            kind, unit = self.rng.random(), 1.0 / (sharpest or 1.0)
            if kind < 0.35:
                eta = unit * 10.0 ** self.rng.uniform(-4, 0.4)
            elif kind < 0.5:
                eta = unit * (1.0 + self.one(-1.0, 1.0) * 10.0 ** self.rng.uniform(-7, -1))
            elif kind < 0.58:
                eta = unit
            elif kind < 0.7:
                eta = unit * (2.0 + self.one(-1.0, 0.0, 1.0) * 10.0 ** self.rng.uniform(-7, -1))
            elif kind < 0.93:
                eta = unit * self.rng.uniform(0.3, 4.0)
            else:
                eta = unit * 10.0 ** self.rng.uniform(-20, 10)
        return float(self.in_range(eta))

    def in_range(self, x: Any) -> Any:
        """Return x cut to normal numbers of the dtype, and rounded to it."""
        info = np.finfo(self.dtype)
        return self.near(np.clip(x, 4 * float(info.tiny), float(info.max) / 4))

    def _phi(self, data: dict[str, Any], sharpest: float) -> tuple[dict[str, Any], tuple[str, ...]]:
        eta: Any = self._eta(data, sharpest)
        shape: tuple[int, ...] = (self.B,) if self.per_task else ()
        scheduled: tuple[str, ...] = ()
        kind = self.rng.random()
        if kind < 0.15 and self.steps <= 150 and not (self.method == "closed_form" and self.task == "dense"):
            scheduled, shape = ("eta",), (self.steps, *shape)
        elif kind < 0.3 and not self.per_task and (self.method != "closed_form" or self.task == "diagonal"):
            shape = (self.d,)
        if shape:
            spread = np.exp(self.rng.uniform(-1, 1, shape) * self.one(0.1, 1.0, 3.0))
            if scheduled and self.rng.random() < 0.5:  # two phases
                cut = int(self.rng.integers(self.steps + 1))
                spread = np.where(np.arange(self.steps) < cut, 1.0, self.rng.uniform(0.1, 3.0))
                spread = spread.reshape(-1, *(1,) * (len(shape) - 1)) * np.ones(shape)
            eta = self.in_range(eta * spread)
        phi = {"eta": eta}
        for name in _FIELDS[self.rule]:
            phi[name] = self._other(name)
        if self.per_task:
            phi = {n: x if n == "eta" else np.full(self.B, x, self.dtype) for n, x in phi.items()}
        if scheduled and len(phi) == 1 and self.rng.random() < 0.5:
            return phi, scheduled
        return phi, scheduled

    def _other(self, name: str) -> float:
        if name == "eps":
            return float(self.near(1e-3 if self.dtype == "float16" else self.one(1e-8, 1e-4)))
        if name == "decay":
            return float(self.near(self.one(0.0, 0.01, 0.1)))
        x = float(self.near(self.one(0.0, 0.5, 0.9, 0.99, 0.999)))
        return min(x, 1 - float(np.finfo(self.dtype).eps) / 2)

    def _objective(self, scheduled: tuple[str, ...], phi: dict[str, Any]) -> tuple[str, str]:
        known = ["Final", "LogFinal", "LogFinal", *_EVERY_STEP]
        measures = ["loss", "loss", "squared_norm"]
        if self.task == "least_squares":
            known += ["LogExcess", "LogExcess"]
            measures = ["loss", "train", "excess", "validation", "risk", "squared_norm"]
        if self.method == "closed_form":
            coordinates = bool(scheduled) or (not self.per_task and np.ndim(phi["eta"]) == 1)
            if coordinates or self.task == "least_squares":
                known = [name for name in known if name not in _EVERY_STEP]
            if scheduled and self.task == "least_squares":
                measures = ["loss", "train", "excess"]
        objective, measure = str(self.one(*known)), str(self.one(*measures))
        return objective, "excess" if objective == "LogExcess" else measure

    def _options(self, scheduled: tuple[str, ...], phi: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.method != "closed_form":
            scaling = self.one("auto", "auto", "auto", "adjoint", "none")
            if scaling != "auto":
                found["scaling"] = scaling
            if self.rng.random() < 0.2 and self.method != "value":
                found["gradient"] = "stop_gradient"
        if self.per_task:
            found["per_task"] = True
        if self.method in ("reverse", "forward", "windows") and self.rng.random() < 0.5:
            found["fused"] = False
        if self.method == "windows":
            found["window"] = int(self.rng.integers(1, self.steps + 2))
        return found


_FIELDS = {
    "GradientDescent": (),
    "Momentum": ("mu",),
    "Nesterov": ("mu",),
    "SGDW": ("mu", "decay"),
    "RMSprop": ("rho", "eps"),
    "Adagrad": ("eps",),
    "Adam": ("beta1", "beta2", "eps"),
    "AdamW": ("beta1", "beta2", "eps", "decay"),
    "NAdam": ("beta1", "beta2", "eps"),
    "Adan": ("beta1", "beta2", "beta3", "eps", "decay"),
    "Lion": ("beta1", "beta2", "decay"),
}
