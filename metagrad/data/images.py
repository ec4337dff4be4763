"""Labelled images, split into those to train on and those to test on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array, is_array, namespace, rng, to_host

_WHERE = "ImageData"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images as rows of float32 in [0, 1], `train_x` (n, p) and `test_x` (m, p), with labels 0 .. classes - 1.

    `train_y` (n,) and `test_y` (m,) are integers. `shape` is that of one image, its product p. `name` says in
    captions what the images are. A wrong shape or value raises ValueError, a wrong kind TypeError.
    """

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array
    name: str
    classes: int
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check pixels and labels."""
        if not isinstance(self.name, str):
            bad_type(_WHERE, "name", checks.shown(self.name), "a text")
        checks.count(_WHERE, "classes", self.classes, 2)
        if not isinstance(self.shape, tuple):
            bad_type(_WHERE, "shape", checks.shown(self.shape), "a tuple of integers, (height, width) say")
        for k, length in enumerate(self.shape):
            checks.count(_WHERE, f"shape[{k}]", length)
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            _check_pixels(f"{part}_x", x, self.shape)
            check_labels(_WHERE, f"{part}_y", y, self.classes)
            if y.shape != x.shape[:1]:
                came = f"of shape {y.shape}"
                bad_value(_WHERE, f"{part}_y", came, f"one label for each of the {len(x)} images, ({len(x)},)")


def check_labels(where: str, name: str, y: Any, classes: int) -> None:
    """Raise unless y is an integer array with entries from 0 to classes - 1."""
    if not is_array(y) or y.dtype.kind not in "iu":
        came = f"an array of {y.dtype}" if is_array(y) else f"a {type(y).__name__}"
        bad_type(where, name, came, "an array of integer labels", f"Use {name}.astype(np.int64).")
    outside = (y < 0) | (y >= classes)
    if bool(outside.any()):
        came = f"outside at {int(outside.sum())} places (the first is {int(y[outside][0])})"
        bad_value(where, name, came, f"labels from 0 to {classes - 1}", "Number the classes from zero.")


def _check_pixels(name: str, x: Any, shape: tuple[int, ...]) -> None:
    if not is_array(x) or x.dtype != np.float32:
        came = f"an array of {x.dtype}" if is_array(x) else f"a {type(x).__name__}"
        bad_type(
            _WHERE, name, came, "an array of float32", "Bytes are brought to [0, 1] by x.astype(np.float32) / 255."
        )
    pixels = int(np.prod(shape))
    if x.ndim != 2 or x.shape[1] != pixels or len(x) == 0:
        bad_value(
            _WHERE, name, f"of shape {x.shape}", f"(n, {pixels}), images of shape {shape}", "Use x.reshape(n, -1)."
        )
    if not bool(((x >= 0) & (x <= 1)).all()):
        xp = namespace(x)
        came = f"from {float(xp.min(x))} to {float(xp.max(x))}"
        bad_value(_WHERE, name, came, "pixels in [0, 1], none of them NaN", "Divide by the largest possible value.")


def noisy_labels(data: ImageData, fraction: float, seed: int = 0) -> ImageData:
    """Return the data with a fraction of the labels redrawn, uniform over all classes, in training and test alike.

    The true label may be drawn again: (1 - 1/classes) of the redrawn labels are wrong in expectation, and a perfect
    predictor scores 1 - fraction (1 - 1/classes). Which labels and what they become is a function of `seed` alone.
    Exactly round(fraction n) labels are redrawn; ValueError for a fraction outside [0, 1].
    Source: the public experiments of Wang et al. 2021, on MNIST.
    """
    checks.instance("noisy_labels", "data", data, ImageData)
    if not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
        came = checks.shown(fraction)
        bad_value("noisy_labels", "fraction", came, "a share of the labels in [0, 1]", "A fifth is 0.2.")
    train_y, test_y = (
        _redrawn(getattr(data, part), data.classes, fraction, rng(seed, "noisy_labels", part))
        for part in ("train_y", "test_y")
    )
    return replace(data, train_y=train_y, test_y=test_y, name=f"{data.name}, {fraction:.4g} of the labels redrawn")


def _redrawn(y: Array, classes: int, fraction: float, stream: np.random.Generator) -> Array:
    labels = np.array(to_host(y))
    chosen = stream.choice(len(labels), size=round(fraction * len(labels)), replace=False)
    labels[chosen] = stream.integers(classes, size=len(chosen))
    return namespace(y).asarray(labels)
