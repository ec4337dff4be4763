"""What random tests draw from: well-posed quadratics, step sizes around the balance point, horizons."""

import numpy as np
from hypothesis import strategies as st

from metagrad import (
    DiagonalQuadratic,
    Final,
    GradientDescent,
    LogFinal,
    Mean,
    MeanLog,
    Quadratic,
    Scheduled,
    WeightedSum,
)
from metagrad.xp import rng

OBJECTIVES = [
    Final(),
    Final("squared_norm"),
    LogFinal(),
    LogFinal("squared_norm"),
    WeightedSum(),
    WeightedSum(rho=0.9),
    WeightedSum(rho=1.3, measure="squared_norm"),
    Mean(),
    MeanLog(),
]


def random_quadratic(batch, d, seed, dtype=np.float64, diagonal=False):
    """Quadratics with eigenvalues in [0.1, 2] and no small weight: conditioning stays out of the way."""
    draw = rng(seed, "test_quadratic", batch, d)
    eigenvalues = draw.uniform(0.1, 2.0, size=(batch, d))
    w0 = draw.choice([-1.0, 1.0], size=(batch, d)) * draw.uniform(0.5, 2.0, size=(batch, d))
    if diagonal:
        return DiagonalQuadratic(eigenvalues.astype(dtype), w0.astype(dtype))
    Q = np.linalg.qr(draw.standard_normal((batch, d, d)))[0]
    H = np.einsum("bij,bj,bkj->bik", Q, eigenvalues, Q)
    return Quadratic(((H + H.swapaxes(1, 2)) / 2).astype(dtype), w0.astype(dtype))


quadratics = st.builds(
    random_quadratic,
    batch=st.integers(1, 4),
    d=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    diagonal=st.booleans(),
)
step_sizes = st.floats(0.02, 1.8)
horizons = st.integers(1, 40)
objectives = st.sampled_from(OBJECTIVES)


def phi_of(kind, task, steps, eta, seed=0):
    """Return (optimizer, phi, per_task) for a kind of step size."""
    batch, d = task.w0.shape
    spread = rng(seed, "phi").uniform(0.7, 1.3, size=4096)
    dtype = task.w0.dtype
    shapes = {"shared": (), "coordinate": (d,), "task": (batch,), "schedule": (steps,), "schedule_task": (steps, batch)}
    shape = shapes[kind]
    values = (eta * spread[: int(np.prod(shape, dtype=int))].reshape(shape)).astype(dtype)
    rule = Scheduled(GradientDescent()) if kind.startswith("schedule") else GradientDescent()
    return rule, rule.check_phi(values, "test"), kind.endswith("task")
