"""What every episode measured, as lines of JSON that any program can plot, and back as columns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.errors import bad_value
from metagrad.files import Lines, sha256
from metagrad.training.metrics_table import table, table_line, table_path

_NULLS = "nulls"
_SINCE = {"projected": int, "skipped": int, "measured": dict, "digits": dict}  # what older files do not have
_NO_ROW = (AttributeError, LookupError, TypeError, ValueError, RecursionError)
_TEXTS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Log:
    """The metrics of a run in a file: a row an episode, from episode `first` on.

    Beside "NAME.jsonl" the same rows are a table, "NAME.csv". It is made anew of the lines that a run goes on from, so
    that these alone have to be looked at.
    """

    def __init__(self, path: Path, first: int = 0, kept: bytes = b"", where: str = "Log") -> None:
        """Begin with the rows in `kept`."""
        beside = table_path(path, where)
        self.first, self._lines = first, Lines(path, kept)
        rows = (_row(line) for line in kept.decode().split("\n")[:-1])
        self._table = None if beside is None else Lines(beside, table(rows))

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; what is NaN or inf, which JSON lacks, becomes null; `nulls` says where it was and what."""
        nulls: dict[str, str] = {}
        plain = {name: _plain(value, name, nulls) for name, value in row.items()}
        self._lines.append(plain | ({_NULLS: nulls} if nulls else {}))
        if self._table is not None:
            self._table.add(table_line(row))

    def mark(self) -> dict[str, Any]:
        """Return what a run that goes on from here must find in the file; all of it is on the disk."""
        if self._table is not None:
            self._table.mark()
        return {"first": self.first, **self._lines.mark()}


def go_on(path: Path, where: str, episode: int, mark: Any) -> Log:
    """Return the log of a run that goes on with an episode, cut back to it; `mark`: that of its checkpoint, or None.

    Rows after it, and half a row at the end, are what an interrupted run left: they are cut off, as their episodes come
    again. Where the rows before it are not those that were marked, ValueError says what is wrong with them: they cannot
    be measured again. Without a file the log begins with this episode.
    """
    if episode == 0 or not path.exists():
        return Log(path, episode, where=where)
    data = path.read_bytes()
    if _is_mark(mark, episode):
        kept = data[: mark["bytes"]]
        if len(kept) == mark["bytes"] and sha256(kept) == mark["sha256"]:
            return Log(path, mark["first"], kept, where)
        first = mark["first"]
        wrong = _what_is_wrong(data, first, episode) or f"where a row before episode {episode} was edited"
    else:  # there was no log at the last checkpoint, or it is of an older version
        first = _first(data)
        wrong = _what_is_wrong(data, first, episode)
        if not wrong:
            return Log(path, first, b"".join(data.splitlines(keepends=True)[: episode - first]), where)
    remedy = f"Give the file as it was. Or remove it, or give another one: it will begin with episode {episode}."
    expected = f"the rows of episodes {min(first, episode - 1)} to {episode - 1}"
    return bad_value(where, "metrics", f"{path}, {wrong}", expected, remedy)


def _is_mark(mark: Any, episode: int) -> bool:
    kinds = {"first": int, "bytes": int, "sha256": str}
    whole = isinstance(mark, dict) and all(type(mark.get(name)) is kind for name, kind in kinds.items())
    return whole and 0 <= mark["first"] <= episode


def _first(data: bytes) -> int:
    """Return the episode of the first row; 0 where there is none."""
    try:
        return int(_row(data.split(b"\n")[0].decode())["episode"])
    except _NO_ROW:
        return 0


def _what_is_wrong(data: bytes, first: int, episode: int) -> str:
    """Say what is wrong with rows that should be those of the episodes from `first` to before `episode`."""
    *lines, torn = data.split(b"\n")
    if first > episode:
        return f"which begins with episode {first}"
    for number, line in enumerate(lines[: episode - first], 1):
        try:
            found = _row(line.decode())["episode"]
        except _NO_ROW as error:
            glued = "two rows in one" if isinstance(error, json.JSONDecodeError) and "Extra" in error.msg else error
            return f"whose line {number} is no row of metrics ({glued})"
        if found != (wanted := first + number - 1):
            return f"whose line {number} is of episode {found}, where {wanted} belongs"
    if len(lines) < episode - first:
        ends = f"which ends before episode {first + len(lines)}"
        return f"{ends}, with half a row" if torn else ends
    return ""


def _plain(value: Any, name: str, nulls: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _plain(x, f"{name}.{key}", nulls) for key, x in value.items()}
    if isinstance(value, list):
        return [_plain(x, f"{name}[{k}]", nulls) for k, x in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        nulls[name] = str(float(value))
        return None
    return value


def read_metrics(path: str | Path) -> dict[str, np.ndarray]:
    """Return the metrics of a `Trainer`'s run of n episodes as columns, with inf and NaN where they were.

    `path`: the file of lines, or the folder of a run, which has it as metrics.jsonl.

    `episode`, and how many of its windows were `clipped`, `projected`, `skipped` (n,) integers; `nonfinite` (n,)
    booleans; `windows` (n,): how many windows an episode had. `objective`, `log2_gradient_norm` (n, most windows)
    floats, NaN after an episode's last window. `evaluated` (n,) booleans; `evaluation`, `best` (n,) floats, NaN where
    an episode was not evaluated. `digits.value`, `digits.gradient` (n,): how many decimal digits of the objective and
    the meta-gradient can be trusted in the worst window of an episode that was evaluated, else NaN, and so in files
    that do not say it. `measured.objective`, `measured.evaluation` (n,): what these two are, texts that are
    empty in files that do not say it. `status.OK`, ... (n,): how many times a task's window had this `Status`; only
    those that were met. A last line without its end, which a killed run leaves, is left out.

    In the file every line is plain JSON. Where a number is inf or NaN it has `null`, which plotting libraries leave
    out, and a key `nulls`, such as {"objective[0]": "inf"}, that says which; other lines have no `nulls`.
    Beside a file "NAME.jsonl" there is the same as a table, "NAME.csv", for spreadsheets and data frames: a row an
    episode, the windows by their mean and their last, `statuses` the names of those met other than OK, NaN empty, inf
    "inf", true 1. This function reads the lines of JSON.

    ValueError, with the number of the line, where the file does not exist or is no such file, or an episode is missing
    or there twice.
    """
    path = checks.file_path("read_metrics", "path", path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        bad_value("read_metrics", "path", f"{path}, which does not exist", "a file", "Look at the path.")
    except (OSError, ValueError) as error:
        bad_value("read_metrics", "path", f"{path}, which cannot be read ({error})", "a file of metrics")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_row(line))
            if rows[-1]["episode"] != (wanted := rows[0]["episode"] + number - 1):
                raise ValueError(f"it is of episode {rows[-1]['episode']}, where {wanted} belongs")
        except _NO_ROW as error:
            came = f"{path}, whose line {number} is no row of metrics ({error})"
            bad_value("read_metrics", "path", came, "lines as Trainer.run writes them", _remedy(path))
    return _columns(rows)


def _remedy(path: Path) -> str:
    if path.suffix != ".csv":
        return "Run it again for new ones."
    return f"Give {path.with_suffix('.jsonl').name} beside it, or read the table with csv or pandas."


def _row(line: str) -> dict[str, Any]:
    """Return a row with its inf and NaN; an error of any kind where it is no row."""
    row = json.loads(line)
    nulls = row.pop(_NULLS, {})
    for name, text in nulls.items():
        head, _, index = name.removesuffix("]").partition("[")
        place, key = (row[head], int(index)) if index else (row, head)
        if place[key] is not None:
            raise ValueError(f"{name} is {place[key]!r}, where its nulls say {text!r}")
        place[key] = _TEXTS[text]
    windows = row["objective"]
    if len(row["log2_gradient_norm"]) != len(windows):
        raise ValueError("objective and log2_gradient_norm differ in length")
    for name, kind in (("episode", int), ("clipped", int), ("nonfinite", bool), *_SINCE.items()):
        if type(row[name] if name not in _SINCE else row.get(name, kind())) is not kind:
            raise ValueError(f"{name} is {row[name]!r}")
    numbers = [*windows, *row["log2_gradient_norm"], row.get("evaluation", 0.0), row.get("best", 0.0)]
    if not all(isinstance(x, int | float) for x in numbers):
        raise ValueError("a number is missing or a text")
    return dict(row)


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    windows = np.array([len(row["objective"]) for row in rows], dtype=np.int64)
    columns = {name: np.array([row[name] for row in rows], dtype=np.int64) for name in ("episode", "clipped")}
    columns |= {name: np.array([row.get(name, 0) for row in rows], dtype=np.int64) for name in ("projected", "skipped")}
    for name in ("objective", "evaluation"):
        columns[f"measured.{name}"] = np.array([str(row.get("measured", {}).get(name, "")) for row in rows], dtype=str)
    columns["nonfinite"] = np.array([row["nonfinite"] for row in rows], dtype=bool)
    columns["windows"] = windows
    for name in ("objective", "log2_gradient_norm"):
        columns[name] = np.full((len(rows), int(windows.max(initial=0))), np.nan)
        for filled, row in zip(columns[name], rows, strict=True):
            filled[: len(row[name])] = row[name]
    columns["evaluated"] = np.array(["evaluation" in row for row in rows], dtype=bool)
    for name in ("evaluation", "best"):
        columns[name] = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
    for name in ("value", "gradient"):
        told = [row.get("digits", {}).get(name, np.nan) for row in rows]
        columns[f"digits.{name}"] = np.array(told, dtype=np.float64)
    for name in sorted({name for row in rows for name in row["status"]}):
        columns[f"status.{name}"] = np.array([row["status"].get(name, 0) for row in rows], dtype=np.int64)
    return columns
