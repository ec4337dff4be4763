"""The double is as strict as CuPy: every planted fault is refused or counted."""

import numpy as np
import pytest

from tests.cupy_double import double
from tests.cupy_double.double import SYNCS, DoubleArray

cp = double.NAMESPACE


def test_it_computes_what_numpy_computes():
    x = np.random.default_rng(0).standard_normal((3, 4))
    d = cp.asarray(x)
    assert np.array_equal(np.sum(np.exp(d) * 2.0, axis=-1).get(), np.sum(np.exp(x) * 2.0, axis=-1))
    assert np.array_equal((d @ d.T).get(), x @ x.T)
    assert isinstance(d.sum(), DoubleArray), "a reduction stays on the device"


@pytest.mark.parametrize(
    "fault",
    [
        np.asarray,
        lambda d: d + np.ones(3),
        lambda d: np.add(d, np.ones(3)),
        lambda d: np.add(d, [1.0, 2.0, 3.0]),
        lambda d: cp.errstate(all="ignore"),
        lambda d: cp.vecdot(d, d),
        lambda d: np.einsum("i,i->", d, d, out=d),
        lambda d: cp.sum(d, where=True),
        lambda d: cp.clip(d, minimum=0.0),
        lambda d: cp.ldexp(d, d),
        lambda d: d.no_such_method,
        lambda d: cp.no_such_function,
        lambda d: np.interp(d, d, d, period=1.0, nonsense=2),
    ],
)
def test_planted_faults_are_refused(fault):
    with pytest.raises((TypeError, AttributeError)):
        fault(cp.asarray(np.ones(3)))


@pytest.mark.parametrize(
    "wait", [float, int, bool, lambda d: d.item(), lambda d: d.get(), lambda d: [0.0] * 3 if d else 0]
)
def test_waiting_for_the_device_is_counted(wait):
    before = SYNCS.count
    wait(cp.asarray(np.ones(())))
    assert SYNCS.count == before + 1
