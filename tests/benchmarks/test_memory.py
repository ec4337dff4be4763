"""Peak memory of a call, here and in a process of its own."""

import math

import numpy as np
import pytest

from benchmarks import memory, second_moment, sgd_recipe
from benchmarks.call_memory_child import main

MIB = 1 << 20


@pytest.mark.parametrize("how", memory.MEASURES)
def test_the_peak_of_a_call_is_seen_although_it_is_freed(how):
    peak = memory.MEASURES[how](lambda: np.ones(32 * MIB // 8).sum())
    if math.isnan(peak):
        pytest.skip("no resident set is reported here")
    assert 31 * MIB < peak < 48 * MIB


def test_a_call_of_a_benchmark_is_measured(monkeypatch):
    monkeypatch.setattr(second_moment, "case", lambda seed: sgd_recipe.random_sgd(n=9, d=50, steps=4, seed=seed))
    found = main("second_moment", "plain NumPy recursion", 0, "traced")
    assert 50 * 50 * 8 < found["traced"] < 100 * MIB


def test_a_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no_such_module"):
        memory.child("benchmarks.no_such_module")
