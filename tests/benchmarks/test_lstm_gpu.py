"""The LSTM's benchmark on a GPU: its calls on the double compute NumPy's numbers; without a card it says so."""

import numpy as np
import pytest

from benchmarks import lstm, lstm_gpu, peers, registry
from benchmarks.settings import Settings
from metagrad.xp import GpuState, gpu_state
from tests.cupy_double import double


def test_the_gates_of_all_contenders_agree():
    found, _ = peers.load_all(["jax"], lstm.PEERS)
    rows = lstm_gpu.gates(double.NAMESPACE, found, (3, 50), Settings(repetitions=1))
    assert len(rows) == 1 + len(found)
    assert all(row.agreement < 1e-5 for row in rows)


def test_gates_that_are_wrong_do_not_agree():
    class Wrong:
        @staticmethod
        def gates(z, c, dh, dc):
            return lambda: [c, z, dc]

    rows = lstm_gpu.gates(double.NAMESPACE, {"jax": Wrong}, (2, 5), Settings(repetitions=1))
    assert [row.agrees for row in rows] == [True, False]


@pytest.mark.parametrize("problem", ["quadratics", "networks"])
def test_the_engine_there_is_the_engine_here(problem):
    case = lstm.Case(problem, {"quadratics": (3, 4), "networks": (6, 3, 2)}[problem], True, hidden=(3,), steps=2)
    here, there = (lstm.calls(case, {}, xp)[lstm.FUSED]() for xp in (np, double.NAMESPACE))
    for a, b in zip(here, there, strict=True):
        assert isinstance(b, np.ndarray | np.generic)
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6 * np.abs(a).max())


def test_without_a_card_it_says_so():
    assert "lstm_gpu" in registry.NAMES
    if gpu_state()[0] is GpuState.USABLE:
        pytest.skip("there is a card")
    result = lstm_gpu.run(Settings(repetitions=1))
    assert not result.rows
    assert "CuPy" in result.missing[0]
