"""What a minimisation has evaluated: kept in memory and on disk, so that a run that was broken off goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metagrad.errors import bad_value
from metagrad.files import read_npz, write_npz
from metagrad.fingerprint import Part, differing_parts, told
from metagrad.xp import Array

_EVERY = 5.0  # seconds between two writes
_ANEW = "Remove the file to start anew, or give another one."


class Evaluation(NamedTuple):
    """The function handed to SciPy and its gradient (P,) at x (P,), and the objective, of any size.

    `value_log2` and `value_sign`: of the mean over tasks; `status`: how many tasks had one other than OK.
    """

    f: float
    g: Array
    value_log2: float
    value_sign: float
    status: int


class Evaluated:
    """All evaluations in their order, by the bits of x.

    An optimizer without chance asks for the same x again when it is started again: what was saved is its answer, and
    it goes on to the same bits.
    """

    def __init__(self, path: Path | None, parts: dict[str, Part], where: str) -> None:
        """Take what the file at `path` has, where there is one; ValueError for that of another run."""
        self.points: list[Array] = []
        self.found: list[Evaluation] = []
        self._at: dict[bytes, Evaluation] = {}
        self._path, self._parts = path, parts
        self._written = time.monotonic()
        if path is not None and path.exists():
            self._load(path, where)

    def get(self, x: Array) -> Evaluation | None:
        """Return what was found at x; None where nothing was."""
        return self._at.get(x.tobytes())

    def add(self, x: Array, found: Evaluation) -> None:
        """Keep what was found at x, and write all where the last time is some seconds ago."""
        self._keep(x.copy(), found)
        if self._path is not None and time.monotonic() - self._written > _EVERY:
            self.save()

    def save(self) -> None:
        """Write all to the file, if there is one."""
        if self._path is None:
            return
        columns = {name: np.asarray([one[k] for one in self.found]) for k, name in enumerate(Evaluation._fields)}
        write_npz(self._path, columns | {"x": np.asarray(self.points)}, {"format": 1, "parts": self._parts})
        self._written = time.monotonic()

    def _keep(self, x: Array, found: Evaluation) -> None:
        self._at[x.tobytes()] = found
        self.points.append(x)
        self.found.append(found)

    def _load(self, path: Path, where: str) -> None:
        arrays, about = read_npz(path, where)
        if differing := differing_parts(about.get("parts"), self._parts):
            came = f"{path}, of another run ({'; '.join(told(name, *two) for name, two in differing.items())})"
            bad_value(where, "checkpoint", came, "one of the same parts and settings", _ANEW)
        if not arrays and not about.get("parts"):
            return
        expected = {*Evaluation._fields, "x"}
        if set(arrays) != expected or len({len(array) for array in arrays.values()}) != 1:
            came = f"{path}, which is no checkpoint of minimise"
            bad_value(where, "checkpoint", came, "what minimise wrote", _ANEW)
        rows: Any = zip(*[arrays[name] for name in Evaluation._fields], strict=True)
        for x, (f, g, log2, sign, status) in zip(arrays["x"], rows, strict=True):
            self._keep(np.ascontiguousarray(x), Evaluation(float(f), g, float(log2), float(sign), int(status)))
