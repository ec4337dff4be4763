"""What an npz archive holds, before anything of it is read: it may come from a stranger.

An archive is a list of arrays, each a header and its bytes. Names, sizes, shapes and types are known from a few
hundred bytes, and are held against each other first: what is compressed, would have to be unpickled, or promises more
than there is takes no memory.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

_SUFFIX = ".npy"
_END = b"PK\x05\x06"  # the last record of an archive, of 22 bytes
_END_BYTES = 22
_LONGEST_LIST = 2**20  # bytes of the list of arrays: some ten thousand names
_LONGEST_HEADER = 10_000
_LENGTH_BEGINS, _LENGTH_ENDS = 8, 10  # where a header says how long it is


@dataclass(frozen=True)
class Header:
    """The shape and the type of an array that has not been read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """How many bytes the entries take."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An npz archive in a file that is open; ValueError where it is none, or is not what it says.

    >>> with io.BytesIO() as file:
    ...     np.savez(file, x=np.zeros((2, 3)))
    ...     Archive(file).headers["x"].shape
    (2, 3)
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Look at the list of arrays and at their headers."""
        self.size = file.seek(0, io.SEEK_END)
        _check_end(file, self.size)
        with _as_value_error():
            self._zip = zipfile.ZipFile(file)
            self._members = _members(self._zip, self.size)
            self.headers: Mapping[str, Header] = {name: self._header(name) for name in self._members}

    def read(self, name: str) -> np.ndarray:
        """Return an array; ValueError where its bytes are not those that were written."""
        with _as_value_error(), self._zip.open(self._members[name]) as stream:
            array: np.ndarray = npy.read_array(stream, allow_pickle=False, max_header_size=_LONGEST_HEADER)
            if stream.read(1):
                raise ValueError(f"{name} has more bytes than its header says")
        return array

    def _header(self, name: str) -> Header:
        """Return the header of an array, whose entries must take all other bytes of its file."""
        member = self._members[name]
        with self._zip.open(member) as stream:
            length = int.from_bytes(stream.read(_LENGTH_ENDS)[_LENGTH_BEGINS:], "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"the header of {name} takes {length} bytes; expected at most {_LONGEST_HEADER}")
        with self._zip.open(member) as stream:
            version = npy.read_magic(stream)
            if version != (1, 0):  # later ones are for headers of structures, which no file of this project has
                raise ValueError(f"{name} is of version {version} of npy files; expected (1, 0)")
            shape, _, dtype = npy.read_array_header_1_0(stream, max_header_size=_LONGEST_HEADER)
            begins = stream.tell()
        if dtype.hasobject:
            raise ValueError(f"Object arrays cannot be loaded, as {name} is one: nothing is unpickled")
        if any(n < 0 for n in shape):
            raise ValueError(f"{name} is of shape {shape}")
        header = Header(shape, dtype)
        if begins + header.nbytes != member.file_size:
            came = f"{name} is of shape {shape} and {dtype}, which is {header.nbytes} bytes"
            raise ValueError(f"{came}; it has {member.file_size - begins}")
        return header


def _check_end(file: IO[bytes], size: int) -> None:
    """Raise ValueError unless the file begins and ends as an archive of this project does, without an endless list."""
    file.seek(0)
    if file.read(2) != _END[:2]:
        raise ValueError("it is no npz archive")
    file.seek(max(size - _END_BYTES, 0))
    end = file.read(_END_BYTES)
    if not end.startswith(_END):
        raise ValueError("it is no whole npz archive: its end is missing")
    listed = int.from_bytes(end[12:16], "little")
    if listed > _LONGEST_LIST:
        raise ValueError(f"its list of arrays takes {listed} bytes; expected at most {_LONGEST_LIST}")


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by the names of their arrays; ValueError where one is not stored as it is."""
    listed = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in listed):
        raise ValueError("it is compressed, as no file of this project is")
    if sum(member.file_size for member in listed) > size:
        raise ValueError("it is compressed: its arrays take more bytes than the file")
    found: dict[str, zipfile.ZipInfo] = {}
    for member in listed:
        name = member.filename.removesuffix(_SUFFIX)
        if name == member.filename:
            raise ValueError(f"{name!r} in it is no array")
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = member
    return found


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Let whatever a damaged archive provokes be a ValueError, but for an error of the disk or of the memory."""
    try:
        yield
    except (ValueError, OSError, MemoryError):
        raise
    except Exception as error:  # up to "encrypted" and "unknown compression"
        raise ValueError(str(error) or type(error).__name__) from error
