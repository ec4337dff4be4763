"""Labelled images: what is refused, and labels that are redrawn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from metagrad.data import ImageData, noisy_labels
from tests.data.idx_files import tiny_images


def tiny_data(classes=10):
    train, train_y, test, test_y = tiny_images()
    x, z = (part.reshape(len(part), -1).astype(np.float32) / 255 for part in (train, test))
    return ImageData(x, train_y.astype(np.int64), z, test_y.astype(np.int64), "tiny", classes, (4, 5))


BAD = {
    "train_x": [
        (np.ones((7, 20)), TypeError, "an array of float64"),
        ([[0.5]], TypeError, "a list"),
        (np.ones((7, 4, 5), np.float32), ValueError, r"shape \(7, 4, 5\); expected \(n, 20\)"),
        (np.full((7, 20), 255, np.float32), ValueError, r"from 255.0 to 255.0; expected pixels in \[0, 1\]"),
        (np.full((7, 20), np.nan, np.float32), ValueError, "none of them NaN"),
    ],
    "test_y": [
        (np.array([0.0, 1.0, 2.0]), TypeError, "an array of float64; expected an array of integer labels"),
        (np.array([0, -1, 2]), ValueError, r"outside at 1 places \(the first is -1\); expected labels from 0 to 9"),
        (np.array([[0, 1, 2]]), ValueError, "one label for each of the 3 images"),
    ],
    "classes": [
        (1, ValueError, "classes is 1; expected an integer of at least 2"),
        (3, ValueError, "labels from 0 to 2"),
    ],
}


@pytest.mark.parametrize(("field", "value", "error", "message"), [(f, *row) for f, rows in BAD.items() for row in rows])
def test_bad_data(field, value, error, message):
    with pytest.raises(error, match=f"ImageData: .*{message}"):
        replace(tiny_data(), **{field: value})


def many(n=20_000, classes=10):
    x, y = np.zeros((n, 1), np.float32), np.arange(n) % classes
    return ImageData(x, y, x[: n // 2], y[: n // 2], "many", classes, (1,))


@pytest.mark.parametrize("fraction", [0.2, 1.0])
def test_redrawn_labels_are_uniform_over_all_classes(fraction):
    """As often as chance allows: 18 % are wrong at a fraction of 0.2, and each wrong label is as likely."""
    data, classes = many(), 10
    noisy = noisy_labels(data, fraction, seed=3)
    for before, after in ((data.train_y, noisy.train_y), (data.test_y, noisy.test_y)):
        wrong, drawn = int(np.sum(before != after)), round(fraction * len(before))
        low, high = binom.interval(1 - 1e-6, drawn, 1 - 1 / classes)
        assert low <= wrong <= high
        moved = np.bincount((after - before)[before != after] % classes, minlength=classes)
        least, most = binom.interval(1 - 1e-7, drawn, 1 / classes)
        assert moved[0] == 0
        assert ((least <= moved[1:]) & (moved[1:] <= most)).all()
        assert high < drawn, "a rule that never draws the true label again is told apart"


@given(st.integers(0, 7), st.integers(0, 2**32))
def test_only_so_many_labels_change(count, seed):
    data = tiny_data()
    noisy = noisy_labels(data, count / 7, seed)
    assert np.sum(noisy.train_y != data.train_y) <= count
    assert np.array_equal(noisy.train_y, noisy_labels(data, count / 7, seed).train_y)
    assert noisy.train_x is data.train_x
    assert data.train_y.tolist() == list(range(7))


def test_the_name_says_so():
    assert noisy_labels(tiny_data(), 0.2).name == "tiny, 0.2 of the labels redrawn"


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), "0.2"])
def test_a_fraction_outside(fraction):
    with pytest.raises(ValueError, match=r"noisy_labels: fraction is .*expected a share of the labels in \[0, 1\]"):
        noisy_labels(tiny_data(), fraction)
