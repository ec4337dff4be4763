"""The IDX format of MNIST: two zero bytes, a type, a rank, the lengths of the axes, then the entries, big-endian."""

from __future__ import annotations

import gzip
import math
import zlib
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from metagrad import checks
from metagrad.errors import bad_value

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 32  # of the arrays of NumPy, in its older versions
_GZIP = b"\x1f\x8b"
_REMEDY = "Fetch the file again, or look whether it is another one."


def read_idx(path: str | PathLike[str]) -> NDArray[np.generic]:
    """Return the array in an IDX file, plain or packed by gzip, in the byte order of the machine.

    Layout: 0, 0, a type (8 uint8, 9 int8, 11 int16, 12 int32, 13 float32, 14 float64), the rank r, r lengths of four
    bytes, the entries; numbers big-endian. ValueError where the file is damaged, is no IDX file, or holds fewer or
    more bytes than its header says; FileNotFoundError where there is none.
    """
    return parse_idx(unpacked(path), str(path))


def unpacked(path: str | PathLike[str]) -> bytes:
    """Return the bytes of a file, unpacked where it is packed by gzip, whatever its name; ValueError if damaged."""
    place = checks.file_path("read_idx", "path", path)
    if not place.exists():
        raise FileNotFoundError(f"read_idx: path is {path}, which does not exist; expected a file. Look at the path.")
    content = place.read_bytes()
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        bad_value("read_idx", "path", f"{path}, a damaged gzip file ({error})", "a whole one", _REMEDY)


def parse_idx(content: bytes, origin: str) -> NDArray[np.generic]:
    """Return the array in the bytes of an IDX file; `origin` says in messages where they came from."""
    header = _header_of(content, origin)
    dtype, shape, start = header
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "with more behind its last entry"
        came = f"{origin}, {what}: {len(content)} bytes"
        bad_value("read_idx", "path", came, f"{expected}, as its header says (shape {shape})", _REMEDY)
    entries = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return entries.astype(dtype.newbyteorder("="))


def _header_of(content: bytes, origin: str) -> tuple[np.dtype[np.generic], tuple[int, ...], int]:
    """Return the type, the shape, and where the entries begin."""
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        came = f"{origin}, which begins with the bytes '{magic.hex(' ')}'"
        bad_value("read_idx", "path", came, "an IDX file: '00 00', a type 08 to 0e, a rank", _REMEDY)
    if not 1 <= magic[3] <= _MOST_AXES:
        bad_value("read_idx", "path", f"{origin}, of rank {magic[3]}", f"a rank of 1 to {_MOST_AXES}", _REMEDY)
    start = 4 + 4 * magic[3]
    if len(content) < start:
        came = f"{origin}, truncated within its header: {len(content)} bytes"
        bad_value("read_idx", "path", came, f"at least {start}", _REMEDY)
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", magic[3], offset=4))
    return np.dtype(_TYPES[magic[2]]), shape, start
