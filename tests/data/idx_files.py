"""Tiny files in the IDX format, written by its definition."""

import gzip
import struct

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array):
    magic = struct.pack(">HBB", 0, CODES[array.dtype.str[1:]], array.ndim)
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def tiny_images():
    """Images and labels to train on (7) and to test on (3), of 4 x 5 pixels."""
    stream = np.random.default_rng(0)
    train, test = (stream.integers(256, size=(n, 4, 5), dtype=np.uint8) for n in (7, 3))
    train[0, 0, :2] = 0, 255
    return train, np.arange(7, dtype=np.uint8), test, np.array([9, 0, 3], dtype=np.uint8)


def write_folder(folder, parts, packed=True):
    for name, part in zip(NAMES, parts, strict=True):
        content = idx_bytes(part)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
