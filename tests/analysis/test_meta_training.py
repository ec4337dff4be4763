"""The parts of meta_training: an engine that follows theory, ends that are told apart, medians with intervals."""

import dataclasses

import numpy as np
import pytest

from analysis import meta_training
from analysis.framework.contract import Context

TINY = dataclasses.replace(meta_training.presets["quick"], tasks=8, meta_steps=20, starts=(0.1,))


def computed(arm, seed):
    shard = {"arm": meta_training.ARMS.index(arm), "start": 0.1}
    return meta_training.compute(TINY, shard, Context(seed, "cpu"))


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_the_engine_follows_theory_until_rounding_parts_them(seed):
    exact, scaled = computed(meta_training.EXACT, seed), computed(meta_training.SCALED, seed)
    assert np.allclose(exact["path"][:6], scaled["path"][:6], rtol=1e-6, atol=1e-9)
    assert np.array_equal(exact["projected"] > 0, scaled["projected"] > 0)
    assert not scaled["ended"].any()
    assert scaled["off"].max() < 1e-10


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_runs_of_plain_float32_end_and_say_so(seed):
    found = computed(meta_training.PLAIN_32, seed)
    assert np.array_equal(np.isnan(found["eta"]), found["ended"] == 1)
    assert found["ended"].all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_interval_of_a_median_covers_it(seed):
    draw = np.random.default_rng(seed).standard_normal((400, 25))
    median, _, (low, high) = meta_training._median(draw, 0.0)
    assert np.all((low <= median) & (median <= high))
    assert np.mean((low <= 0) & (high >= 0)) >= 0.92  # the level is at least 95 %; of 400 samples


def test_a_nan_spoils_a_median():
    median, _, (low, high) = meta_training._median(np.array([1.0, np.nan, 2.0]), 0.0)
    assert np.isnan([median, low, high]).all()
