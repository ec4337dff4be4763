"""MNIST and Fashion-MNIST from the four published IDX files, which the user has in a folder."""

from __future__ import annotations

import hashlib
import math
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metagrad import checks
from metagrad.data.idx import parse_idx, unpacked
from metagrad.data.images import ImageData
from metagrad.errors import bad_value

_CLASSES = 10
# MD5 of the unpacked files: the same however and by whom they were packed
_MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_FASHION_MNIST = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}


def load_mnist(folder: str | PathLike[str], verify: bool = True) -> ImageData:
    """Return MNIST, 60 000 digits of 28 x 28 to train on and 10 000 to test on, from its four files in `folder`.

    The files are train-images-idx3-ubyte, train-labels-idx1-ubyte and the two that begin with t10k, each plain or with
    .gz behind. FileNotFoundError names those that are missing; ValueError where one is damaged or is not the published
    one (MD5 of the unpacked file). `verify=False` takes other images in this format, and does not call them MNIST.
    """
    checks.flag("load_mnist", "verify", verify)
    return _load("load_mnist", folder, "MNIST", _MNIST if verify else None)


def load_fashion_mnist(folder: str | PathLike[str], verify: bool = True) -> ImageData:
    """Return Fashion-MNIST, 60 000 and 10 000 articles of clothing, from its four files: see `load_mnist`."""
    checks.flag("load_fashion_mnist", "verify", verify)
    return _load("load_fashion_mnist", folder, "Fashion-MNIST", _FASHION_MNIST if verify else None)


def _load(where: str, folder: str | PathLike[str], name: str, checksums: dict[str, str] | None) -> ImageData:
    paths = _paths(where, checks.file_path(where, "folder", folder), name)
    parts = [_array(where, path, checksums[file] if checksums else None) for file, path in paths.items()]
    for path, images in zip(list(paths.values())[::2], parts[::2], strict=True):
        if images.ndim != 3 or images.shape[1:] != parts[0].shape[1:]:
            came = f"with an array of shape {images.shape}"
            bad_value(where, path.name, came, "images (n, height, width), all of one size")
    train_x, train_y, test_x, test_y = parts
    return ImageData(
        _pixels(train_x),
        train_y.astype(np.int64),
        _pixels(test_x),
        test_y.astype(np.int64),
        name=name if checksums else f"unverified images in the format of {name}",
        classes=_CLASSES,
        shape=train_x.shape[1:],
    )


def _paths(where: str, folder: Path, name: str) -> dict[str, Path]:
    """Return where the four files are; raise with the names of those that are nowhere."""
    found = {file: [p for p in (folder / file, folder / f"{file}.gz") if p.is_file()] for file in _MNIST}
    missing = [file for file, places in found.items() if not places]
    if missing:
        what = "is no folder" if not folder.is_dir() else f"lacks {', '.join(missing)}"
        raise FileNotFoundError(
            f"{where}: folder {folder} {what}; expected the four files of {name}, plain or with .gz behind: "
            f"{', '.join(_MNIST)}. Nothing is downloaded: put them there, or use load_digits5000()."
        )
    return {file: places[0] for file, places in found.items()}


def _array(where: str, path: Path, checksum: str | None) -> NDArray[np.generic]:
    content = unpacked(path)
    array = parse_idx(content, str(path))  # first: that a file is truncated says more than that its checksum is wrong
    if array.dtype != np.uint8:
        bad_value(where, path.name, f"with entries of {array.dtype}", "bytes")
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if checksum is not None and found != checksum:
        came = f"a file whose unpacked content has the MD5 {found}"
        remedy = f"Fetch it again; for other images in this format use {where}(folder, verify=False)."
        bad_value(where, path.name, came, f"the published one, {checksum}", remedy)
    return array


def _pixels(images: NDArray[np.generic]) -> NDArray[np.float32]:
    return images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float32) / np.float32(255)
