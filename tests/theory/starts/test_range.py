"""Numbers that leave the range of floats are told, never handed out as inf or NaN, and without a NumPy warning."""

import warnings

import numpy as np
import pytest

from metagrad.theory import starts

ONE = starts.QuadraticTasks([[[1.0]], [[2.0]]], [[1.0], [0.0]])
LARGE = starts.QuadraticTasks([[[1e200]], [[1.0]]], [[1e200], [1.0]])


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    ("function", "tasks", "phi", "alpha", "steps"),
    [
        (starts.adapted, ONE, [1e300], -1e4, 3),
        (starts.meta_loss, ONE, [1e200], 0.1, 1),
        (starts.meta_loss, LARGE, [1e100], 1e-201, 1),
        (starts.meta_gradient, LARGE, [1e150], 1e-201, 1),
    ],
)
def test_a_range_that_is_left_is_told(function, tasks, phi, alpha, steps):
    with pytest.raises(ValueError, match=r"phi is so far away that \d of 2 tasks.*expected.*Scale the tasks"):
        function(tasks, phi, alpha, steps)


@pytest.mark.parametrize("method", starts.METHODS)
def test_every_method_tells(method):
    with pytest.raises(ValueError, match="meta_gradient: phi is so far away"):
        starts.meta_gradient(LARGE, [1e150], 1e-201, 2, method=method)


def test_large_numbers_within_the_range_stay():
    assert starts.adapted(ONE, [1e300], 0.5, 3)[0, 0] == pytest.approx(1.25e299)
    assert np.isfinite(starts.meta_loss(ONE, [1e150], 0.1, 1)).all()
