"""The engine on a real device: run where there is one, skipped with the reason elsewhere."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.kernels import lstm_window
from metagrad.xp import move, namespace_for, rng, to_host
from tests.strategies import OBJECTIVES, phi_of, random_quadratic
from tests.tasks.test_mlp_classifier import task_of

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("kind", ["shared", "coordinate", "task", "schedule"])
@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_the_device_gives_the_hosts_numbers(objective, kind, method):
    task = random_quadratic(4, 5, seed=1)
    optimizer, phi, per_task = phi_of(kind, task, 20, 0.7)
    options = {"steps": 20, "method": method, "per_task": per_task}
    here = mg.meta_gradient(task, optimizer, objective, phi, device="cpu", **options)
    there = mg.meta_gradient(task, optimizer, objective, phi, device="gpu", **options)
    for a, b in ((here.value, there.value), (here.grad.eta, there.grad.eta)):
        x, y = a.to_float(), to_host(b.to_float())
        assert np.linalg.norm(x - y) <= 1e-11 * np.linalg.norm(x)
    assert there.ok


def test_a_long_horizon_on_the_device():
    task = random_quadratic(64, 20, seed=2, diagonal=True)
    here, there = (
        mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 2.5, steps=5000, device=device)
        for device in ("cpu", "gpu")
    )
    assert there.ok
    assert float(to_host(there.grad.eta.to_float())) == pytest.approx(float(here.grad.eta.to_float()), rel=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
@pytest.mark.parametrize("rule", [mg.CoordinatewiseLSTM.paper(), mg.CoordinatewiseLSTM.quadratic((7, 3))], ids=repr)
def test_windows_of_the_lstm(rule, gradient, dtype, tolerance):
    """By CUDA kernels, where the tape does not take over; a network and quadratics."""
    cupy, phi = namespace_for("gpu"), rule.init_meta(rng(1, "weights"), dtype)
    assert lstm_window(rule, move(phi, cupy), cupy.ones((2, 3), dtype)) is not None
    for task in (random_quadratic(30, 10, 3, dtype), task_of(dtype=dtype)):
        here = mg.Reverse(gradient)(task, rule, mg.WeightedSum(), phi, steps=8)
        there = mg.Reverse(gradient)(move(task, cupy), rule, mg.WeightedSum(), move(phi, cupy), steps=8)
        assert there.ok
        for a, b in zip(ad.leaves(here.grad), ad.leaves(there.grad), strict=True):
            x, y = a.to_float(), to_host(b.to_float())
            assert np.abs(x - y).max() <= tolerance * np.abs(x).max()
