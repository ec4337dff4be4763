"""Files that are whole or not there: replaced in one step, checksummed, held by one run at a time, never unpickled."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from metagrad.archives import Archive, Header
from metagrad.errors import bad_value
from metagrad.tables import as_json, from_json

Arrays = Mapping[str, np.ndarray]

_ANEW = "Remove the file to start anew, or give another one."
_WITHOUT_CHECKSUM = 1  # the last format of which some files have none
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_ANEW_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS | getattr(os, "O_BINARY", 0)
_OURS = ("about", "digest")
LARGEST = 2**28  # bytes of a file that may come from a stranger: 33 million numbers
ARRAYS_TO_DESCRIPTION = 256  # how many times larger than its description a file may be


def write(path: Path, data: bytes) -> None:
    """Make `data` the content of the file at `path` in one step: the old file stays until the new one is on the disk.

    Raises OSError, which names `path`, where that fails; what was there before stays, and nothing is left beside it.
    """
    write_together({path: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all old ones stay until all new ones are complete on the disk."""

    def put(data: bytes) -> Callable[[IO[bytes]], object]:
        return lambda file: file.write(data)

    _replace({path: put(data) for path, data in contents.items()})


def write_npz(path: Path, arrays: Arrays, about: Mapping[str, Any]) -> None:
    """Write arrays and a JSON description, `about`, in one step, with a checksum of all of them.

    `about["format"]` is the number of the layout, which `read_npz` compares. No array is named "about" or "digest".
    ValueError where the description has more than a MiB.
    """
    described, most = as_json(about), LARGEST // ARRAYS_TO_DESCRIPTION
    if len(described) > most:  # it could not be read again
        bad_value("write_npz", "about", f"{len(described)} bytes of JSON", f"at most {most}")
    everything: dict[str, Any] = dict(arrays) | {"about": np.frombuffer(described, dtype=np.uint8)}

    def save(file: IO[bytes]) -> None:
        np.savez(file, digest=_checksum(everything), **everything)

    _replace({path: save})


def read_npz(
    path: Path,
    where: str,
    *,
    argument: str = "checkpoint",
    what: str = "checkpoint",
    formats: tuple[int, ...] = (1,),
    largest: int | None = None,
    look: Callable[[Mapping[str, Header], dict[str, Any]], None] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description that `write_npz` wrote, in one of the `formats`, the newest last.

    `largest`: the most bytes that the file may have; None for any number. `look(headers, about)` may raise before any
    array is read. ValueError, which names `where`, `argument` and the file, where it does not exist, is larger, is
    damaged, does not match its checksum, or is a `what` of another format. Nothing is unpickled, and nothing unpacks to
    more than it is.
    """
    with _as_bad_value(path, where, argument, what):
        file = path.open("rb")
    with file:
        with _as_bad_value(path, where, argument, what):
            archive = Archive(file)
        if largest is not None and archive.size > largest:
            remedy = f"Give largest={archive.size} if you trust where it comes from."
            bad_value(where, argument, f"{path}, of {archive.size} bytes", f"at most {largest}", remedy)
        with _as_bad_value(path, where, argument, what):
            about = _description(archive, LARGEST if largest is None else largest)
            came = about["format"]
            if type(came) is not int:
                raise ValueError(f"format {came!r}")
        if came not in formats:
            _refuse_format(path, where, argument, what, came, formats)
        if look is not None:
            look({name: header for name, header in archive.headers.items() if name not in _OURS}, about)
        with _as_bad_value(path, where, argument, what):
            arrays = {name: archive.read(name) for name in archive.headers}
            _compare(arrays, came)
    return {name: array for name, array in arrays.items() if name not in _OURS}, about


def nearest_file(path: Path, pattern: str, *folders: str) -> str:
    """Say which file of a pattern, in the folder of `path` or in one of `folders`, was probably meant."""
    places = dict.fromkeys([path.parent, *map(Path, folders)])
    there = {x.stem: x for place in reversed(places) if place.is_dir() for x in place.glob(pattern)}
    close = get_close_matches(path.stem, there, n=1)
    return f"Did you mean '{there[close[0]]}'?" if close else "Look at the path."


@contextmanager
def _as_bad_value(path: Path, where: str, argument: str, what: str) -> Iterator[None]:
    """Let whatever a file provokes be a ValueError that names it."""
    try:
        yield
    except FileNotFoundError:
        bad_value(where, argument, f"{path}, which does not exist", "a file", nearest_file(path, f"*{path.suffix}"))
    except Exception as error:
        bad_value(where, argument, f"{path}, which cannot be read ({error})", f"a whole {what}", _ANEW)


def _description(archive: Archive, largest: int) -> dict[str, Any]:
    """Return the description in an archive; ValueError where it is none, or takes more than its part of `largest`."""
    header = archive.headers["about"]
    if header.dtype != np.uint8 or header.nbytes > largest // ARRAYS_TO_DESCRIPTION:
        most = largest // ARRAYS_TO_DESCRIPTION
        raise ValueError(
            f"its description is {header.nbytes} bytes of {header.dtype}; expected at most {most} of uint8"
        )
    return from_json(archive.read("about").tobytes())


def _compare(arrays: Arrays, came: int) -> None:
    """Raise ValueError unless the arrays match the checksum among them."""
    if "digest" not in arrays:
        if came > _WITHOUT_CHECKSUM:
            raise ValueError("it has no checksum")
        return
    if not np.array_equal(arrays["digest"], _checksum({name: x for name, x in arrays.items() if name != "digest"})):
        raise ValueError("its content does not match its checksum")


def _refuse_format(path: Path, where: str, argument: str, what: str, came: int, formats: tuple[int, ...]) -> NoReturn:
    newer = came > formats[-1]
    text = f"{path}, {'a newer' if newer else 'an old'} {what} of another format ({came})"
    remedy = "Update metagrad" if newer else "Use the version of metagrad that wrote it"
    known = " or ".join(map(str, formats))
    bad_value(where, argument, text, f"one of format {known}", f"{remedy}, or remove the file to start anew.")


def npz_bytes(arrays: Arrays) -> bytes:
    """Return the arrays as an npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    in_order: dict[str, Any] = {name: np.asarray(array) for name, array in sorted(arrays.items())}
    np.savez(buffer, **in_order)
    return buffer.getvalue()


def npz_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file; ValueError where it is none, is compressed, or would have to be unpickled."""
    archive = Archive(io.BytesIO(data))
    return {name: archive.read(name) for name in archive.headers}


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data`, as hexadecimal digits.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def _checksum(arrays: Arrays) -> np.ndarray:
    """Return the SHA-256 of names, types, shapes and entries."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(sha.digest(), dtype=np.uint8)


def _replace(fills: Mapping[Path, Callable[[IO[bytes]], object]]) -> None:
    """Let each function fill a file beside its path; when all are on the disk, each takes the place of the old one."""
    # a plain file in the same folder: one of tempfile's may be read by its owner only. The name is random, since
    # threads share a process number, and machines with a common folder may do so too
    parts = {path: path.with_name(f"{path.name}.{os.urandom(8).hex()}.part") for path in fills}
    try:
        for path, part in parts.items():
            with _naming(path), _made_anew(part, path) as file:
                fills[path](file)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            with _naming(path):
                part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    for folder in {path.parent for path in fills}:
        _sync_folder(folder)


def _made_anew(part: Path, path: Path) -> IO[bytes]:
    """Open a file that nobody has made yet, link or not, for the permissions that the one at `path` has, if any."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    file = os.fdopen(os.open(part, _ANEW_TO_WRITE, 0o666 if mode is None else mode & 0o600), "wb")
    if mode is not None and hasattr(os, "fchmod"):
        with suppress(OSError):  # a file system without permissions
            os.fchmod(file.fileno(), mode)
    return file


def _sync_folder(folder: Path) -> None:
    """Have the new names on the disk too, where the system can do that."""
    with suppress(OSError):  # Windows opens no folder, and some file systems sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error of writing say which file it was: that of a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def alone(path: Path | None, where: str, argument: str = "checkpoint") -> Iterator[None]:
    """Hold the file at `path` for this run; what a killed run left beside it goes. None: there is nothing to hold.

    ValueError, which names `where` and `argument`, while another run holds it, and where its folder does not exist.
    In a folder that cannot be written to nothing is held, since nobody can write: `write` says so.
    """
    if path is None:
        yield
        return
    if not path.parent.is_dir():
        bad_value(where, argument, path, "a file in a folder that exists", "Make the folder first.")
    with ExitStack() as held:
        file = _lock_file(path, where, argument)
        if file is not None and not _locked(held.enter_context(file)):
            remedy = "Wait for the other run, or give another file."
            bad_value(where, argument, f"{path}, which another run is writing", "one run a file at a time", remedy)
        if file is not None:
            for left in [
                x for x in path.parent.iterdir() if x.suffix == ".part" and x.name.startswith(f"{path.name}.")
            ]:
                left.unlink(missing_ok=True)
        yield


def _lock_file(path: Path, where: str, argument: str) -> IO[bytes] | None:
    """Open the file beside `path` that is locked in its place; None where the folder may only be read.

    What is there is neither emptied nor, where it is a link, followed: someone else may have laid it there.
    """
    lock = path.with_name(f".{path.name}.lock")
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):  # one that someone else made can be locked as well
        try:
            with _naming(path):
                return os.fdopen(os.open(lock, flags | _NO_LINKS, 0o666), "rb")
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR):
                came = f"{path}, beside which {lock.name} is {'a link' if lock.is_symlink() else 'a folder'}"
                bad_value(where, argument, came, "a file there, or nothing", "Remove it.")
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
                raise
    return None


def _locked(file: IO[bytes]) -> bool:
    """Lock the file until it is closed or the process ends, however it does; False while another one has it."""
    try:
        import fcntl
    except ImportError:  # not on this system
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


class Lines:
    """A file of lines that grows from the bytes it has, and what of it is on the disk.

    A killed process loses no line, and a power cut none of those up to the last `mark`.
    """

    def __init__(self, path: Path, kept: bytes = b"") -> None:
        """Make these bytes the content of the file."""
        write(path, kept)
        self._path, self._count, self._sha = path, len(kept), hashlib.sha256(kept)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line of JSON; ValueError for inf and NaN, which JSON lacks."""
        self.add(f"{json.dumps(row, allow_nan=False)}\n".encode())

    def add(self, line: bytes) -> None:
        """Add a line as it is, with its end."""
        with _naming(self._path), self._path.open("ab", buffering=0) as file:
            file.write(line)
        self._count += len(line)
        self._sha.update(line)

    def mark(self) -> dict[str, Any]:
        """Return how many bytes the lines have and their digest, once these are on the disk."""
        with _naming(self._path), self._path.open("ab") as file:
            os.fsync(file.fileno())
        return {"bytes": self._count, "sha256": self._sha.hexdigest()}
