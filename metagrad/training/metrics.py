"""What every episode measured, as lines of JSON that any program can plot, and back as columns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metagrad.errors import bad_value
from metagrad.files import append_line, keep_lines

_NULLS = "nulls"
_SINCE = {"projected": int, "skipped": int, "measured": dict, "digits": dict}  # what older files do not have
_TEXTS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row; what is NaN or inf, which JSON lacks, becomes null, and `nulls` says where it was and what."""
    nulls: dict[str, str] = {}
    plain = {name: _plain(value, name, nulls) for name, value in row.items()}
    append_line(path, plain | ({_NULLS: nulls} if nulls else {}))


def keep_rows(path: Path, count: int) -> None:
    """Keep the rows of the first `count` episodes: those that belong to the position that the run goes on from."""
    keep_lines(path, count)


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
    ValueError, with the number of the line, where the file does not exist or is no such file.
    """
    path = Path(path)
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
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            came = f"{path}, whose line {number} is no row of metrics ({error})"
            bad_value("read_metrics", "path", came, "lines as Trainer.run writes them", "Run it again for new ones.")
    return _columns(rows)


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
