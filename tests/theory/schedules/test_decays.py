"""Decays with one number, on the noisy quadratic: tuned peaks, and the gap to the optimal schedule."""

import numpy as np
import pytest

from metagrad.theory.schedules import decays
from metagrad.theory.sgd.noisy_quadratic import NoisyQuadratic, expected_loss, one_dimensional

TWO = NoisyQuadratic([1.0, 0.05], [1.0, 20.0], [100.0, 100.0])


@pytest.mark.parametrize("shape", decays.SHAPES)
def test_shapes_begin_at_the_peak_and_never_rise(shape):
    for steps in (1, 2, 5, 50):
        found = decays.decay_shape(shape, steps)
        assert found.shape == (steps,)
        assert found[0] <= 1
        assert np.all(found > 0)
        assert np.all(np.diff(found) <= 0)
    assert decays.decay_shape(shape, 50)[0] == 1


@pytest.mark.parametrize("shape", decays.SHAPES)
@pytest.mark.parametrize("steps", [3, 30])
def test_the_peak_is_the_best_of_a_fine_grid(shape, steps):
    peak = decays.best_peak(TWO, shape, steps)
    unit = decays.decay_shape(shape, steps)
    loss = expected_loss(TWO, peak * unit)[-1].to_float()
    for grid in (np.geomspace(1e-3, 30.0, 4000), peak * np.linspace(0.99, 1.01, 101)):
        assert loss <= expected_loss(TWO, grid[:, None] * unit)[:, -1].to_float(ieee=True).min() * (1 + 1e-9)


def test_gaps_to_the_optimal_schedule():
    largest = TWO.largest_stable
    gaps = {name: float(decays.decay_gap(TWO, name, 100, largest=largest).to_float()) for name in decays.SHAPES}
    assert min(gaps.values()) >= 1 - 1e-9
    assert gaps["linear"] < gaps["constant"]
    assert gaps["cosine"] < gaps["constant"]
    assert decays.best_peak(TWO, "linear", 100, largest=0.01) <= 0.01


def test_in_one_dimension_the_inverse_decay_is_close_to_the_best():
    """Greedy steps are A/(A + s^2): with A_0 large, 1/k but for the start."""
    problem = NoisyQuadratic([1.0], [1.0], [1e6])
    found = decays.best_peak(problem, "inverse", 50) * decays.decay_shape("inverse", 50)
    loss = expected_loss(problem, found)[-1].to_float()
    assert loss == pytest.approx(one_dimensional(1e6, 1.0, 50) / 2, rel=1e-4)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"constant.*linear"):
        decays.decay_shape("step", 4)
    with pytest.raises(ValueError, match="Take a larger one"):
        decays.best_peak(TWO, "linear", 4, largest=1e-12)
