"""The four files of MNIST: found packed or plain, missing ones named, others than the published ones refused."""

import hashlib

import numpy as np
import pytest

from metagrad.data import load_fashion_mnist, load_mnist, mnist
from tests.data.idx_files import NAMES, idx_bytes, tiny_images, write_folder

LOADERS = {"load_mnist": (load_mnist, "_MNIST"), "load_fashion_mnist": (load_fashion_mnist, "_FASHION_MNIST")}


@pytest.fixture(params=LOADERS)
def loader(request):
    return LOADERS[request.param][0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", LOADERS)
def test_the_published_files(name, packed, tmp_path, monkeypatch):
    """The tiny files stand for the published ones: their checksums take the place of the real ones."""
    load, table = LOADERS[name]
    parts = tiny_images()
    sums = {file: hashlib.md5(idx_bytes(part)).hexdigest() for file, part in zip(NAMES, parts, strict=True)}
    monkeypatch.setattr(mnist, table, sums)
    write_folder(tmp_path, parts, packed)
    data = load(tmp_path)
    assert data.name == {"load_mnist": "MNIST", "load_fashion_mnist": "Fashion-MNIST"}[name]
    assert (data.classes, data.shape) == (10, (4, 5))
    for images, x in ((parts[0], data.train_x), (parts[2], data.test_x)):
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, (images.reshape(len(images), 20) / 255).astype(np.float32))
    assert data.train_x[0, :2].tolist() == [0.0, 1.0]
    assert data.train_y.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert data.test_y.tolist() == [9, 0, 3]


def test_other_images_are_refused_or_not_called_mnist(loader, tmp_path):
    write_folder(tmp_path, tiny_images())
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is .* MD5 [0-9a-f]{32}; expected .*verify=False"):
        loader(tmp_path)
    assert loader(tmp_path, verify=False).name.startswith("unverified images in the format of ")


@pytest.mark.parametrize("missing", NAMES)
def test_the_missing_file_is_named(loader, missing, tmp_path):
    write_folder(tmp_path, tiny_images())
    (tmp_path / f"{missing}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {missing}; expected the four files"):
        loader(tmp_path)


def test_no_folder(loader, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; expected the four files"):
        loader(tmp_path / "nowhere")


def changed(position, part):
    parts = list(tiny_images())
    parts[position] = part
    return parts


BAD = {
    "a label out of range": (changed(3, np.array([0, 10, 1], np.uint8)), r"test_y is outside .*the first is 10\)"),
    "a label too few": (changed(3, np.array([9, 0], np.uint8)), r"test_y is of shape \(2,\)"),
    "labels for images": (changed(0, np.arange(7, dtype=np.uint8)), r"train-images.* is with an array of shape \(7,\)"),
    "images of another size": (changed(2, np.zeros((3, 5, 4), np.uint8)), r"t10k-images.* of shape \(3, 5, 4\)"),
    "numbers for bytes": (changed(0, np.zeros((7, 4, 5), np.int32)), "train-images.* with entries of int32"),
    "no image": (changed(0, np.zeros((0, 4, 5), np.uint8)), r"train_x is of shape \(0, 20\)"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_labelled_images(what, tmp_path):
    parts, message = BAD[what]
    write_folder(tmp_path, parts)
    with pytest.raises(ValueError, match=message):
        load_mnist(tmp_path, verify=False)


def test_a_truncated_file_is_named(tmp_path):
    write_folder(tmp_path, tiny_images(), packed=False)
    path = tmp_path / NAMES[2]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte, truncated: 75 bytes; expected 76"):
        load_mnist(tmp_path, verify=False)


def test_the_checksums_are_eight_different_ones():
    sums = [*mnist._MNIST.values(), *mnist._FASHION_MNIST.values()]
    assert len(set(sums)) == 8
    assert tuple(mnist._MNIST) == tuple(mnist._FASHION_MNIST) == NAMES
