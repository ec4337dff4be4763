"""Random problems of all scales, with their closed forms in mpmath: what `ClosedForm` is held against."""

from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from metagrad import (
    DiagonalQuadratic,
    Final,
    GradientDescent,
    LeastSquares,
    LogFinal,
    Mean,
    MeanLog,
    Quadratic,
    Scheduled,
    WeightedSum,
)

SUMS = (Final, LogFinal, WeightedSum, Mean, MeanLog)


class Case(NamedTuple):
    """A call of `ClosedForm`, and the value and the gradient (a list) that are right."""

    task: Any
    rule: Any
    objective: Any
    eta: Any
    steps: int
    gradient: str
    value: Any
    slopes: list[Any]


def exact(x):
    return [mp.mpf(float(v)) for v in np.ravel(x)]


def random_eta(rng, eigenvalues):
    """Return a step size: at 1/lambda and 2/lambda, next to them by very little, between, beyond, below zero."""
    known = [float(x) for x in np.ravel(eigenvalues) if x > 0] or [1.0]
    one, largest, smallest = float(rng.choice(known)), max(known), min(known)
    near = 1 + rng.normal() * 10.0 ** rng.uniform(-16, -1)
    with np.errstate(all="ignore"):
        choices = [
            1 / one,
            2 / one,
            near / one,
            2 * near / one,
            rng.uniform(0, 2.5) / largest,
            rng.uniform(-1, 3) / one,
        ]
        eta = [*choices, 2 * near / (largest + smallest)][rng.integers(7)]
    return float(eta) if np.isfinite(eta) and eta != 0 else 0.37


def random_objective(rng, steps, kinds=SUMS):
    measure, kind = str(rng.choice(["loss", "squared_norm"])), kinds[rng.integers(len(kinds))]
    if kind is MeanLog and steps > 100:
        kind = LogFinal
    return WeightedSum(float(10 ** rng.uniform(-2, 0.3)), measure) if kind is WeightedSum else kind(measure)


def of_modes(eigenvalues, squares, eta, steps, objective, held=False):
    """Return the value and the gradient from lambda_i, c_i and eta in mpmath; None where F is not above zero."""
    loss = objective.measure.name == "loss"
    kappa = [c * x / 2 if loss else c for c, x in zip(squares, eigenvalues, strict=True)]
    modes = [(k, x, 1 - eta * x) for k, x in zip(kappa, eigenvalues, strict=True)]

    def value(t):
        return mp.fsum(k * a ** (2 * t) for k, _, a in modes)

    def slope(t):
        if held:
            return -2 * mp.fsum(k * x * a**t * ((1 - a**t) / (eta * x) if x else t) for k, x, a in modes)
        return -2 * t * mp.fsum(k * x * a ** (2 * t - 1) for k, x, a in modes)

    if isinstance(objective, Final):
        return value(steps), slope(steps)
    if isinstance(objective, LogFinal | MeanLog):
        times = range(1, steps + 1) if isinstance(objective, MeanLog) else [steps]
        if min(value(t) for t in times) <= 0:
            return None
        return mp.fsum(mp.log(value(t)) for t in times) / steps, mp.fsum(slope(t) / value(t) for t in times) / steps
    rho = mp.mpf(objective.rho) if isinstance(objective, WeightedSum) else mp.mpf(1)
    total = rate = mp.mpf(0)
    for k, x, a in modes:
        r, t = rho * a * a, steps
        plain, weighted = mp.mpf(t), mp.mpf(t) * (t + 1) / 2
        if abs(r - 1) > mp.mpf(10) ** (-mp.mp.dps // 3):
            plain, weighted = r * (1 - r**t) / (1 - r), r * (1 - (t + 1) * r**t + t * r ** (t + 1)) / (1 - r) ** 2
        total += k * plain
        rate -= 2 * k * x * weighted / a if a else 0
    share = mp.mpf(steps) if isinstance(objective, Mean) else 1
    return total / share, rate / share


def diagonal(rng):
    d, wild = int(rng.integers(1, 5)), rng.random() < 0.4
    reach = 200 if wild else 3
    values, start = 10.0 ** rng.uniform(-reach, reach, (2, d))
    if rng.random() < 0.3:
        values = values[0] * 10.0 ** rng.uniform(-20, 0, d)
    values[rng.random(d) < 0.05] = 0
    dtype = np.float32 if not wild and rng.random() < 0.3 else np.float64
    values, start = values.astype(dtype), (start * rng.choice([-1.0, 0.0, 1.0], d, p=[0.47, 0.06, 0.47])).astype(dtype)
    eta, steps, held = random_eta(rng, values), int(10 ** rng.uniform(0, 6)), rng.random() < 0.2
    objective = random_objective(rng, steps, SUMS[:2] if held else SUMS)
    with mp.workdps(900 if wild else 150):
        squares = [x * x for x in exact(start)]
        right = of_modes(exact(values), squares, mp.mpf(eta), steps, objective, held)
    task, gradient = DiagonalQuadratic(values, start), "stop_gradient" if held else "full"
    return right and Case(task, GradientDescent(), objective, eta, steps, gradient, right[0], [right[1]])


def schedule(rng):
    d, count, reach = int(rng.integers(1, 4)), int(rng.integers(1, 12)), 200 if rng.random() < 0.3 else 2
    values, start = 10.0 ** rng.uniform(-reach, reach, (2, d))
    objective = random_objective(rng, count, SUMS[:2])
    etas = np.array([random_eta(rng, values) for _ in range(count)])
    with mp.workdps(900 if reach > 2 else 150):
        lam, loss = exact(values), objective.measure.name == "loss"
        kappa = [w * w * (x / 2 if loss else 1) for w, x in zip(exact(start), lam, strict=True)]
        a = [[1 - eta * x for x in lam] for eta in exact(etas)]
        value = mp.fsum(kappa[i] * mp.fprod(row[i] ** 2 for row in a) for i in range(d))
        slopes = [
            -2
            * mp.fsum(kappa[i] * lam[i] * a[k][i] * mp.fprod(r[i] ** 2 for r in a[:k] + a[k + 1 :]) for i in range(d))
            for k in range(count)
        ]
        if isinstance(objective, LogFinal):
            if value == 0:
                return None
            value, slopes = mp.log(value) / count, [x / value / count for x in slopes]
    task = DiagonalQuadratic(values, start)
    return Case(task, Scheduled(GradientDescent()), objective, etas, count, "full", value, slopes)


def random_matrix(rng, d):
    """Return a symmetric H: of integers and singular, a Gram matrix, ill-conditioned, graded, with ties, diagonal."""
    rank, Q = int(rng.integers(1, d + 1)), np.linalg.qr(rng.normal(size=(d, d)))[0]
    A, integers, D = rng.normal(size=(rank, d)), rng.integers(-3, 4, (rank, d)).astype(float), rng.normal(size=(d, d))
    scales = 10.0 ** rng.uniform(-100, 100, d)
    spread, ties = 10.0 ** -rng.uniform(0, 20, d), rng.choice([0.5, 1.0, 2.0], d)
    graded = D.T @ D * scales[:, None] * scales
    which = int(rng.integers(6))
    H = (integers.T @ integers, A.T @ A, Q * spread @ Q.T, graded, Q * ties @ Q.T, np.diag(spread))[which]
    if which != 3 and rng.random() < 0.2:
        return (H + H.T) / 2 * 10.0 ** rng.uniform(-150, 150), np.float64, which == 3
    return (H + H.T) / 2, np.float32 if which != 3 and rng.random() < 0.3 else np.float64, which == 3


def dense(rng):
    d = int(rng.integers(2, 5))
    H, dtype, graded = random_matrix(rng, d)
    H, start = H.astype(dtype), rng.normal(size=d) * (10.0 ** rng.uniform(-8, 8, d) if rng.random() < 0.4 else 1.0)
    start = (np.round(2 * start) if rng.random() < 0.2 else start).astype(dtype)
    if not (H.any() and start.any()):
        return None
    eta = random_eta(rng, np.abs(np.linalg.eigvalsh(H.astype(float))))
    steps, held = int(10 ** rng.uniform(0, 6)), rng.random() < 0.15
    objective = random_objective(rng, steps, SUMS[:2] if held else SUMS)
    digits = 450 if graded else 120
    with mp.workdps(digits):
        values, vectors = mp.eigsy(mp.matrix(H.astype(float).tolist()))
        floor = max(abs(x) for x in values) * mp.mpf(10) ** (-420 if graded else -digits // 2)
        squares = [mp.fsum(vectors[i, j] * w for i, w in enumerate(exact(start))) ** 2 for j in range(d)]
        cut = max(squares) * mp.mpf(10) ** -digits
        squares = [x if x > cut else mp.mpf(0) for x in squares]
        values = [x if abs(x) > floor else mp.mpf(0) for x in values]
        right = of_modes(values, squares, mp.mpf(eta), steps, objective, held)
    gradient = "stop_gradient" if held else "full"
    return right and Case(Quadratic(H, start), GradientDescent(), objective, eta, steps, gradient, right[0], [right[1]])


def regression(rng):
    n, d, dtype = int(rng.integers(1, 7)), int(rng.integers(1, 5)), np.float32 if rng.random() < 0.3 else np.float64
    X = rng.normal(size=(n, d)) * (10.0 ** rng.uniform(-5, 0, d) if rng.random() < 0.3 else 1.0)
    X = (np.round(2 * X) if rng.random() < 0.2 else X).astype(dtype)
    if rng.random() < 0.2:
        X[:, 0] = X[:, -1]
    star = (np.round(4 * rng.normal(size=d)) if rng.random() < 0.2 else rng.normal(size=d)).astype(dtype)
    sigma = float(rng.choice([0.0, 0.0, 1.0, 1e-6, 1e-13]))
    start = (rng.normal(size=d) * 10.0 ** rng.uniform(-3, 2) * (rng.random() < 0.5)).astype(dtype)
    X_val = rng.normal(size=(3, d)).astype(dtype)
    y, y_val = ((x @ star + sigma * rng.normal(size=len(x))).astype(dtype) for x in (X, X_val))
    if not X.any():
        return None
    values = np.linalg.eigvalsh(X.astype(float).T @ X.astype(float) / n)
    eta, steps = random_eta(rng, values[values > 1e-14 * values.max()]), int(10 ** rng.uniform(0, 5))
    measure = str(rng.choice(["train", "validation", "risk", "excess", "squared_norm"]))
    objective = (Final, LogFinal)[rng.integers(2)](measure)
    with mp.workdps(300):
        right = of_regression((X, y), start, star, (X_val, y_val), eta, steps, measure)
    if right is None or (isinstance(objective, LogFinal) and right[0] == 0):
        return None
    value, slope = right
    if isinstance(objective, LogFinal):
        value, slope = mp.log(value) / steps, slope / value / steps
    task = LeastSquares(X, y, w0=start, validation=(X_val, y_val), w_star=star)
    return Case(task, GradientDescent(), objective, eta, steps, "full", value, [slope])


def of_regression(sample, start, star, held, eta, steps, measure):
    """Return the measure and its slope in mpmath; None where 300 digits do not tell it from zero."""
    (X, y), (X_val, y_val) = sample, held
    n, d = X.shape
    X, X_val = (mp.matrix(x.astype(float).tolist()) for x in (X, X_val))
    y, start, star, y_val = (mp.matrix(exact(x)) for x in (y, start, star, y_val))
    values, V = mp.eigsy(X.T * X / n)
    floor = max(abs(x) for x in values) * mp.mpf(10) ** -60
    pull, modes = V.T * (X.T * (y - X * start) / n), [j for j in range(d) if abs(values[j]) > floor]
    a = {j: 1 - mp.mpf(eta) * values[j] for j in modes}
    if measure in ("train", "excess"):
        ends = mp.matrix(d, 1)
        for j in modes:
            ends[j] = pull[j] / values[j]
        rest = X * (start + V * ends) - y
        left = mp.fsum(x * x for x in rest) / (2 * n) if measure == "train" else mp.mpf(0)
        left = left if left > mp.mpf(10) ** -200 else mp.mpf(0)
        value = left + mp.fsum(a[j] ** (2 * steps) * pull[j] ** 2 / values[j] for j in modes) / 2
        return value, -steps * mp.fsum(a[j] ** (2 * steps - 1) * pull[j] ** 2 for j in modes)
    moved, rate = mp.matrix(d, 1), mp.matrix(d, 1)
    for j in modes:
        moved[j], rate[j] = (1 - a[j] ** steps) / values[j] * pull[j], steps * a[j] ** (steps - 1) * pull[j]
    w, rate = start + V * moved, V * rate
    rest, along, weight = {
        "validation": (X_val * w - y_val, X_val * rate, mp.mpf(1) / X_val.rows),
        "risk": (w - star, rate, mp.mpf(2)),
        "squared_norm": (w, rate, mp.mpf(2)),
    }[measure]
    value = weight / 2 * mp.fsum(x * x for x in rest)
    slope = weight * mp.fsum(x * z for x, z in zip(rest, along, strict=True))
    size = mp.sqrt(value * mp.fsum(z * z for z in along))
    seen = value > mp.mpf(10) ** -200 and (slope == 0 == size or abs(slope) > size * mp.mpf(10) ** -200)
    return (value, slope) if seen else None
