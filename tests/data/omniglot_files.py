"""Small zip files in the layout of Omniglot: drawings of 105 x 105 bits, white with a black rectangle."""

import io
import zipfile

import numpy as np
from PIL import Image


def drawing(character, number, side=105):
    """Return one drawing as pixels, True where it is white: its rectangle tells character and number."""
    pixels = np.ones((side, side), dtype=bool)
    pixels[: 10 + character, : 10 + number] = False
    return pixels


def png(pixels, mode="1"):
    kept = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(kept, "PNG")
    return kept.getvalue()


def members(root, alphabets, numbers=range(1, 21)):
    """Return the drawings of characters by file name; `alphabets`: how many characters each has."""
    found, which = {}, 0
    for alphabet, count in alphabets.items():
        for c in range(1, count + 1):
            which += 1
            for k in numbers:
                name = f"{root}/{alphabet}/character{c:02d}/{which:04d}_{k:02d}.png"
                found[name] = png(drawing(which, k))
    return found


def write_zip(path, content, folders=True):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if folders:
            archive.writestr(f"{path.stem}/", b"")
        for name, data in content.items():
            archive.writestr(name, data)


def write_small(folder, alphabets, name="images_background_small1"):
    write_zip(folder / f"{name}.zip", members(name, alphabets))
