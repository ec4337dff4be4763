"""Omniglot from zip files in its layout: read, shrunk, united; and what is damaged or is something else, refused."""

import os

import numpy as np
import pytest

from metagrad.data import load_omniglot
from tests.data.omniglot_files import drawing, members, png, write_small, write_zip

ROOT = "images_background_small1"


def test_characters_by_alphabet(tmp_path):
    write_small(tmp_path, {"Latin": 1, "Greek": 2})
    found = load_omniglot(tmp_path, side=105)
    assert found.images.shape == (3, 20, 105, 105)
    assert found.images.dtype == np.float32
    assert found.alphabets == ("Greek", "Greek", "Latin")
    # the Latin character was the first to be written
    for row, which in enumerate((2, 3, 1)):
        for k in range(20):
            np.testing.assert_array_equal(found.images[row, k], ~drawing(which, k + 1))


@pytest.mark.parametrize("side", [1, 14, 28, 35])
def test_shrinking_keeps_the_mean_of_ink(side, tmp_path):
    """Means of areas: the mean over all pixels stays, and cells inside and outside of the rectangle are 1 and 0."""
    write_small(tmp_path, {"Latin": 1})
    image = load_omniglot(tmp_path, side).images[0, 4]
    assert image.shape == (side, side)
    np.testing.assert_allclose(image.mean(), (~drawing(1, 5)).mean(), rtol=1e-5)
    cell = 105 / side
    inside = np.minimum(np.clip((11 - cell * np.arange(side)) / cell, 0, 1), 1)
    across = np.minimum(np.clip((15 - cell * np.arange(side)) / cell, 0, 1), 1)
    np.testing.assert_allclose(image, inside[:, None] * across, atol=1e-6)


def test_an_alphabet_in_two_files_is_taken_once(tmp_path):
    write_small(tmp_path, {"Latin": 2})
    write_small(tmp_path, {"Latin": 2, "Greek": 1}, "images_background_small2")
    assert load_omniglot(tmp_path, 5).alphabets == ("Greek", "Latin", "Latin")


def test_two_drawings_under_one_name_are_refused(tmp_path):
    write_small(tmp_path, {"Latin": 1})
    root = "images_background_small2"
    other = members(root, {"Latin": 1})
    other[f"{root}/Latin/character01/0001_07.png"] = png(drawing(9, 9))
    write_zip(tmp_path / f"{root}.zip", other)
    with pytest.raises(
        ValueError,
        match=r"small2\.zip, whose drawing Latin/character01/7 is another one than in a file before it; expected the",
    ):
        load_omniglot(tmp_path)


def test_no_file_and_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has none of them; expected the zip files .*Nothing is downloaded"):
        load_omniglot(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; expected the zip files"):
        load_omniglot(tmp_path / "nowhere")


def changed(change):
    content = members(ROOT, {"Latin": 1})
    change(content)
    return content


FIRST = f"{ROOT}/Latin/character01/0001_01.png"
BAD = {
    "a drawing too few": (
        lambda c: c.pop(FIRST),
        r"with the drawings \[2, 3, .*\] of Latin/character01; expected .* 20",
    ),
    "a drawing too many": (lambda c: c.update({FIRST.replace("_01", "_21"): c[FIRST]}), r"the drawings \[1, .* 21\]"),
    "another size": (
        lambda c: c.update({FIRST: png(drawing(1, 1, 50))}),
        "has 50 x 50 pixels of mode '1'; expected 105",
    ),
    "greys": (lambda c: c.update({FIRST: png(drawing(1, 1), "L")}), "has 105 x 105 pixels of mode 'L'"),
    "no image": (lambda c: c.update({FIRST: b"not a PNG"}), "0001_01.png is no image"),
    "an image that is cut": (lambda c: c.update({FIRST: c[FIRST][:60]}), "0001_01.png is no image"),
    "another file": (lambda c: c.update({f"{ROOT}/README": b"text"}), "with '.*README' in it; expected .*/ALPHABET/"),
    "another root": (lambda c: c.update({FIRST.replace(ROOT, "other"): c[FIRST]}), "with 'other/Latin.*' in it"),
    "a path that leads out": (lambda c: c.update({"../../x.png": c[FIRST]}), "with '../../x.png' in it"),
    "a huge file": (
        lambda c: c.update({FIRST: bytes(1 << 20)}),
        "0001_01.png has 1048576 bytes; expected at most 65536",
    ),
    "no drawing": (lambda c: c.clear(), "which has no drawing; expected each drawing once"),
    "two of one number": (
        lambda c: c.update({FIRST.replace("0001_", "0002_"): c[FIRST]}),
        "which has a drawing twice; expected each drawing once",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_omniglot(what, tmp_path):
    change, message = BAD[what]
    write_zip(tmp_path / f"{ROOT}.zip", changed(change))
    with pytest.raises(ValueError, match=f"load_omniglot: folder is .*{message}"):
        load_omniglot(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "a byte changed", "no zip", "empty"])
def test_a_damaged_zip(damage, tmp_path):
    write_small(tmp_path, {"Latin": 1})
    path = tmp_path / f"{ROOT}.zip"
    whole = path.read_bytes()
    at = whole.index(b"0001_05.png") + 40  # inside of what this file holds
    path.write_bytes(
        {
            "truncated": whole[:-100],
            "a byte changed": whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :],
            "no zip": b"this is no zip file",
            "empty": b"",
        }[damage]
    )
    with pytest.raises(ValueError, match=f"load_omniglot: folder is .*{ROOT}.zip, a damaged zip file .*Fetch the file"):
        load_omniglot(tmp_path)


@pytest.mark.parametrize("side", [0, 106, 2.5, None])
def test_a_side_that_cannot_be(side, tmp_path):
    write_small(tmp_path, {"Latin": 1})
    with pytest.raises((ValueError, TypeError), match="load_omniglot: side is"):
        load_omniglot(tmp_path, side)


@pytest.mark.skipif("METAGRAD_OMNIGLOT" not in os.environ, reason="METAGRAD_OMNIGLOT names no folder of Omniglot")
def test_the_published_files():
    """What is true of every part of the data set: 20 drawings a character, a little ink, more than one alphabet."""
    found = load_omniglot(os.environ["METAGRAD_OMNIGLOT"], 14)
    assert found.drawings == 20
    assert len(found.known) >= 5
    assert "Greek" in found.known
    assert found.alphabets.count("Greek") == 24
    ink = found.images.mean(axis=(2, 3))
    assert 0.005 < ink.min() < ink.max() < 0.3
