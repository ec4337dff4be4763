"""Omniglot from the zip files of its public distribution, which the user has in a folder."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metagrad import checks
from metagrad.data.characters import Characters
from metagrad.errors import bad_value

_WHERE = "load_omniglot"
ZIPS = (
    "images_background.zip",
    "images_evaluation.zip",
    "images_background_small1.zip",
    "images_background_small2.zip",
)
_NAME = re.compile(
    r"(?P<root>[^/]+)/(?P<alphabet>[^/]+)/(?P<character>character\d+)/(?P<number>\d+)_(?P<drawing>\d+)\.png"
)
_SIDE = 105
_DRAWINGS = 20
_LARGEST = 1 << 16  # bytes of one drawing: 105 x 105 bits are 1.4 kB
_AGAIN = "Fetch the file again."

_Drawing = tuple[str, str, int]  # alphabet, character, number of the drawing


def load_omniglot(folder: str | PathLike[str], side: int = 28) -> Characters:
    """Return the characters of Omniglot, 20 drawings of each, from those of its four zip files that are in `folder`.

    The files are images_background.zip (30 alphabets), images_evaluation.zip (20), and the two small ones of five
    alphabets each, images_background_small1.zip and images_background_small2.zip; an alphabet that is in several is
    taken once. The drawings of 105 x 105 bits become `side` x `side` means of areas, from 1 to 105, ink 1.
    FileNotFoundError where none is there; ValueError where one is damaged, or has not the names, the count of drawings
    or the size of images of the distribution, or two have different drawings under one name; ImportError without
    Pillow, which comes with Matplotlib. Nothing is downloaded. Source: Lake, Salakhutdinov and Tenenbaum 2015.
    """
    place = checks.file_path(_WHERE, "folder", folder)
    if checks.count(_WHERE, "side", side) > _SIDE:
        bad_value(_WHERE, "side", side, f"at most {_SIDE} pixels, as the drawings have")
    found: dict[_Drawing, NDArray[np.bool_]] = {}
    for path in _paths(place):
        for drawing, ink in _read(path).items():
            if drawing in found and not np.array_equal(found[drawing], ink):
                came = f"{path.name}, whose drawing {_said(drawing)} is another one than in a file before it"
                bad_value(_WHERE, "folder", came, "the same drawing in all files", _AGAIN)
            found[drawing] = ink
    characters = _complete(found, place)
    shrink = _area_means(side)
    images = [
        shrink @ np.stack([found[(*one, k + 1)] for k in range(_DRAWINGS)]).astype(np.float32) @ shrink.T
        for one in characters
    ]
    # rounding may leave the range by a unit in the last place
    return Characters(np.clip(np.stack(images), 0, 1), tuple(alphabet for alphabet, _ in characters))


def _paths(folder: Path) -> list[Path]:
    """Return which of the four files are there; raise if none is."""
    found = [folder / name for name in ZIPS if (folder / name).is_file()]
    if not found:
        what = "has none of them" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(
            f"{_WHERE}: folder {folder} {what}; expected the zip files of Omniglot, one of them at least: "
            f"{', '.join(ZIPS)}. Nothing is downloaded: put them there."
        )
    return found


def _read(path: Path) -> dict[_Drawing, NDArray[np.bool_]]:
    """Return the drawings of one zip file, True where there is ink."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [info for info in archive.infolist() if not info.is_dir()]
            found = {_drawing(path, info): _decoded(path, info.filename, archive.read(info)) for info in inside}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        bad_value(_WHERE, "folder", f"{path}, a damaged zip file ({error})", "a whole one", _AGAIN)
    if len(found) != len(inside) or not found:
        what = "a drawing twice" if found else "no drawing"
        bad_value(_WHERE, "folder", f"{path}, which has {what}", "each drawing once", _AGAIN)
    return found


def _drawing(path: Path, info: zipfile.ZipInfo) -> _Drawing:
    """Return which drawing a member is by its name; it is read only if it is as small as drawings are."""
    match = _NAME.fullmatch(info.filename)
    if match is None or match["root"] != path.stem:
        came = f"{path}, with {info.filename!r} in it"
        expected = f"{path.stem}/ALPHABET/characterNN/NNNN_NN.png alone"
        bad_value(_WHERE, "folder", came, expected, "Look whether it is the file of Omniglot.")
    if info.file_size > _LARGEST:
        came = f"{path}, whose {info.filename} has {info.file_size} bytes"
        bad_value(_WHERE, "folder", came, f"at most {_LARGEST} bytes a drawing", _AGAIN)
    return match["alphabet"], match["character"], int(match["drawing"])


def _decoded(path: Path, name: str, content: bytes) -> NDArray[np.bool_]:
    """Return a drawing (105, 105), True where it is black."""
    image_module, unidentified = _pillow()
    try:
        with image_module.open(io.BytesIO(content), formats=("PNG",)) as image:
            size, mode = image.size, image.mode
            pixels = np.asarray(image) if (size, mode) == ((_SIDE, _SIDE), "1") else None
    except (unidentified, OSError, SyntaxError, ValueError) as error:
        bad_value(_WHERE, "folder", f"{path}, whose {name} is no image ({error})", "PNG files", _AGAIN)
    if pixels is None:
        came = f"{path}, whose {name} has {size[0]} x {size[1]} pixels of mode {mode!r}"
        bad_value(_WHERE, "folder", came, f"{_SIDE} x {_SIDE} pixels, black or white (mode '1')")
    black: NDArray[np.bool_] = ~pixels
    return black


def _pillow() -> tuple[Any, type[Exception]]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(f"{_WHERE} reads PNG files by Pillow, which is not installed: pip install pillow.") from error
    return Image, UnidentifiedImageError


def _complete(found: dict[_Drawing, NDArray[np.bool_]], folder: Path) -> list[tuple[str, str]]:
    """Return the characters, sorted; raise unless each has its 20 drawings."""
    numbers: dict[tuple[str, str], set[int]] = {}
    for alphabet, character, number in found:
        numbers.setdefault((alphabet, character), set()).add(number)
    wanted = set(range(1, _DRAWINGS + 1))
    for (alphabet, character), there in sorted(numbers.items()):
        if there != wanted:
            came = f"{folder}, with the drawings {sorted(there)} of {alphabet}/{character}"
            bad_value(_WHERE, "folder", came, f"those from 1 to {_DRAWINGS} of each character", _AGAIN)
    return sorted(numbers)


def _area_means(side: int) -> NDArray[np.float32]:
    """Return the matrix (side, 105) of the means over `side` intervals of equal length: a pixel that is cut counts by
    its part."""
    ends = np.linspace(0, _SIDE, side + 1)
    pixels = np.arange(_SIDE)
    inside = np.minimum(pixels + 1, ends[1:, None]) - np.maximum(pixels, ends[:-1, None])
    shares: NDArray[np.float32] = (np.clip(inside, 0, None) * (side / _SIDE)).astype(np.float32)
    return shares


def _said(drawing: _Drawing) -> str:
    alphabet, character, number = drawing
    return f"{alphabet}/{character}/{number}"
