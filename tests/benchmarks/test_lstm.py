"""The LSTM's benchmark at tiny sizes: engine and peers compute the same numbers; no timing is asserted."""

import numpy as np
import pytest

from benchmarks import lstm, peers, registry

TINY = {"quadratics": (3, 4), "networks": (6, 3, 2)}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("problem", TINY)
def test_every_call_is_the_same_meta_gradient(problem, full):
    case = lstm.Case(problem, TINY[problem], full, hidden=(3, 2), steps=3)
    found, _ = peers.load_all(list(lstm.PEERS), lstm.PEERS)
    rows = lstm.compare(case, found, repetitions=1)
    for row in rows:  # the logarithm of a gradient near zero magnifies rounding
        assert row.agreement < (2e-5 if problem == "quadratics" else 5e-3), (row.ours, row.peer)
    one, other = (call() for name, call in lstm.calls(case, {}).items())
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6 * np.abs(b).max())
    assert sum(row.target is not None for row in rows) <= len(found)


def test_the_cases_are_those_of_the_paper_and_known():
    assert {case.sizes for case in lstm.CASES} == {(128, 10), (784, 20, 10)}
    assert {"lstm", "lstm_two_threads"} <= set(registry.NAMES)


def test_a_wrong_gradient_does_not_agree():
    case = lstm.Case("quadratics", (3, 4), False, hidden=(2,), steps=2)

    class Wrong:
        @staticmethod
        def quadratics(problem, phi, steps, *, full):
            return lambda: [1.01 * x for x in lstm.calls(case, {})[lstm.TAPE]()]

    assert not any(row.agrees for row in lstm.compare(case, {"jax": Wrong}, repetitions=1))
