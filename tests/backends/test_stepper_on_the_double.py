"""The stepper on the double of CuPy: the same numbers as on NumPy, in arrays that stay where they are."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.xp import GpuState, gpu_state, move
from tests.cupy_double import double
from tests.cupy_double.double import DoubleArray
from tests.stepper.loops import PARAMS, RULES, STEPS, gradient, loss, stepped

cp = double.NAMESPACE


def stepped_there(stepper, params, count):
    for _ in range(count):
        here = move(params, np)
        params = stepper.update(params, move(gradient(here), cp), loss=cp.asarray(loss(here)))
    return params


@pytest.mark.parametrize("name", [*RULES])
def test_the_numbers_of_numpy(name):
    (rule, phi), params = RULES[name], PARAMS["a dict"]
    there = stepped_there(mg.Stepper(rule, phi, steps=STEPS), move(params, cp), STEPS)
    here = stepped(mg.Stepper(rule, phi, steps=STEPS), params)
    for a, b in zip(ad.leaves(there), ad.leaves(here), strict=True):
        assert isinstance(a, DoubleArray)
        np.testing.assert_allclose(a.get(), b, rtol=1e-12)


def test_saved_on_one_and_loaded_on_the_other(tmp_path):
    (rule, phi), params = RULES["CoordinatewiseLSTM"], PARAMS["a dict"]
    first, second = mg.Stepper(rule, phi), mg.Stepper(rule, phi)
    half = stepped_there(first, move(params, cp), 3)
    first.save(tmp_path / "loop.npz")
    second.load(tmp_path / "loop.npz", move(half, np))
    on = stepped(second, move(half, np), 2)
    again = mg.Stepper(rule, phi)
    again.load(tmp_path / "loop.npz", half)
    for a, b in zip(ad.leaves(on), ad.leaves(stepped_there(again, half, 2)), strict=True):
        np.testing.assert_allclose(a, b.get(), rtol=1e-12)


def test_devices_do_not_mix():
    stepper = mg.Stepper(mg.GradientDescent(), 0.1)
    with pytest.raises(TypeError, match=r"grads is an array of \S+; expected one of \S+, as the parameters are"):
        stepper.update(np.ones(2), cp.ones(2))
    with pytest.raises(TypeError, match=r"params\['b'\] is of \S+ while params\['a'\] is of \S+; expected one array"):
        stepper.update({"a": np.ones(2), "b": cp.ones(2)}, {"a": np.ones(2), "b": cp.ones(2)})


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*RULES])
def test_the_numbers_of_numpy_on_a_device(name):
    import cupy

    assert gpu_state()[0] is GpuState.USABLE
    (rule, phi), params = RULES[name], PARAMS["a dict"]
    now, stepper = move(params, cupy), mg.Stepper(rule, phi, steps=STEPS)
    for _ in range(STEPS):
        here = move(now, np)
        now = stepper.update(now, move(gradient(here), cupy), loss=loss(here))
    here = stepped(mg.Stepper(rule, phi, steps=STEPS), params)
    for a, b in zip(ad.leaves(now), ad.leaves(here), strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-9)
