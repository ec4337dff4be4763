"""The engine on a real device: run where there is one, skipped with the reason elsewhere."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.xp import to_host
from tests.strategies import OBJECTIVES, phi_of, random_quadratic

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
