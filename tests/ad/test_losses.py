"""A task needs a loss in ordinary NumPy code, and nothing else: losses as people write them, to second order."""

import re

import numpy as np
import pytest

from metagrad import ad
from metagrad.xp import VALUE_TOLERANCE
from tests.ad.losses import LOSSES, RIGHT

every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
def test_it_is_right_to_second_order_or_refused_with_a_remedy(name):
    f, w0, expected = LOSSES[name]
    if expected != RIGHT:
        with pytest.raises(TypeError) as caught:
            ad.value_and_grad(f)(w0)
        assert re.search(expected, str(caught.value)), str(caught.value)
        return
    plain = f(w0)
    value, gradient = ad.value_and_grad(f)(w0)
    assert np.all(np.abs(value - plain) <= VALUE_TOLERANCE["float64"] * np.maximum(1.0, np.abs(plain)))
    assert [np.shape(g) for g in ad.leaves(gradient)] == [np.shape(w) for w in ad.leaves(w0)]
    ad.check_gradients(f, (w0,), name=name)


def test_nine_of_ten_are_right():
    right = sum(expected == RIGHT for _, _, expected in LOSSES.values())
    assert len(LOSSES) >= 89
    assert right >= 0.9 * len(LOSSES)
