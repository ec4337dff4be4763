"""Metrics as a tidy table: one row an episode, one column a quantity, for spreadsheets and data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metagrad.errors import Status, bad_value
from metagrad.training.csv_lines import csv_line

_OK = Status.OK.name
COLUMNS = (
    "episode",
    "windows",
    "objective_mean",
    "objective_last",
    "log2_gradient_norm_mean",
    "log2_gradient_norm_last",
    "evaluation",
    "best",
    "clipped",
    "projected",
    "skipped",
    "nonfinite",
    "status_ok",
    "status_other",
    "statuses",
    "digits_value",
    "digits_gradient",
    "measured_objective",
    "measured_evaluation",
)
_HEADER = csv_line(COLUMNS)


def table_path(path: Path, where: str) -> Path | None:
    """Return the file of the table beside the metrics "NAME.jsonl"; None for a file of another name.

    ValueError where a file that is no table of metrics is there: it would be lost.
    """
    if path.suffix != ".jsonl":
        return None
    table = path.with_suffix(".csv")
    if not table.exists():
        return table
    known = False
    if table.is_file():
        with table.open("rb") as file:
            known = file.read(len(_HEADER)) == _HEADER
    if not known:
        came = f"{path}, beside which {table.name}, the name of its table, is another file"
        bad_value(where, "metrics", came, f"no {table.name} but that of a run", "Move it, or give another name.")
    return table


def table(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the whole table of some rows of metrics."""
    return b"".join([_HEADER, *map(table_line, rows)])


def table_line(row: Mapping[str, Any]) -> bytes:
    """Return the line of an episode."""
    objective, norms, status = row["objective"], row["log2_gradient_norm"], row["status"]
    digits, measured = row.get("digits", {}), row.get("measured", {})
    cells: dict[str, Any] = {
        "episode": row["episode"],
        "windows": len(objective),
        **_mean_and_last("objective", objective),
        **_mean_and_last("log2_gradient_norm", norms),
        "nonfinite": row["nonfinite"],
        "status_ok": status.get(_OK, 0),
        "status_other": sum(status.values()) - status.get(_OK, 0),
        "statuses": ";".join(sorted(name for name in status if name != _OK)),
        "digits_value": digits.get("value"),
        "digits_gradient": digits.get("gradient"),
        "measured_objective": measured.get("objective"),
        "measured_evaluation": measured.get("evaluation"),
    }
    cells |= {name: row.get(name) for name in ("evaluation", "best")}
    cells |= {name: row.get(name, 0) for name in ("clipped", "projected", "skipped")}
    return csv_line(cells[name] for name in COLUMNS)


def _mean_and_last(name: str, numbers: list[float]) -> dict[str, float | None]:
    """Return the mean over the windows, and the last of them; nothing where no window was done."""
    if not numbers:
        return {f"{name}_mean": None, f"{name}_last": None}
    with np.errstate(invalid="ignore", over="ignore"):
        return {f"{name}_mean": float(np.mean(numbers)), f"{name}_last": numbers[-1]}
