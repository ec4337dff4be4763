"""The result of a run as Markdown and JSON, written atomically."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import Timing
from benchmarks.results import Result, Row, Table
from metagrad import files

_HEADER = ["what", "ours", "", "peer", "", "ours/peer", "target", "met", "same numbers to", "note"]


def read(out: Path) -> dict[str, Result]:
    """Return what `write` has stored beside `out`; nothing where there is no file."""
    path = out.with_suffix(".json")
    if not path.exists():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return {name: Result.of(body) for name, body in stored.items()}


def write(results: dict[str, Result], out: Path) -> list[Path]:
    """Write `out` (Markdown) and the same with the suffix .json; return the two paths."""
    texts = {out.with_suffix(".md"): markdown(results), out.with_suffix(".json"): to_json(results)}
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_together({path: text.encode() for path, text in texts.items()})
    return list(texts)


def markdown(results: dict[str, Result]) -> str:
    """Return the report: what all runs share of their provenance, then a section a benchmark with the rest."""
    shared = _shared([result.about for result in results.values()])
    parts = ["# Benchmarks", _table(["", ""], [[key, value] for key, value in shared.items()])]
    parts.append(
        "Times are medians over interleaved repetitions [quartiles], compilation and the first call excluded "
        "(given as `first`). A target bounds ours/peer from above; it counts as met only if both computed the same."
    )
    for name, result in results.items():
        parts.append(f"## {name}")
        own = [f"{key}: {value}" for key, value in result.about.items() if key not in shared]
        parts.append("; ".join(own))
        if result.rows:
            parts.append(_table(_HEADER, [_cells(row) for row in result.rows]))
        for table in result.tables:
            parts += [f"### {table.title}", _table(table.header, table.rows), table.note]
        parts += [f"Missing: {why}" for why in result.missing]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_json(results: dict[str, Result]) -> str:
    """Return everything that was measured, as JSON."""
    bodies = {name: {**asdict(result), "rows": [_plain(r) for r in result.rows]} for name, result in results.items()}
    return json.dumps({"benchmarks": bodies}, indent=1) + "\n"


def _shared(abouts: list[dict[str, str]]) -> dict[str, str]:
    first = abouts[0] if abouts else {}
    return {key: value for key, value in first.items() if all(about.get(key) == value for about in abouts)}


def line(row: Row) -> str:
    """Return one row for the terminal."""
    verdict = {None: "", True: "  met", False: "  NOT MET"}[row.met]
    target = "" if row.target is None else f" (target {row.target:.3g})"
    sides = f"{row.ours} {cost(row.ours_cost, row.unit)}, {row.peer} {cost(row.peer_cost, row.unit)}"
    differs = "" if row.agrees else f"  DIFFER by {row.agreement:.1e}"
    return f"{row.what}: {sides}: {row.ratio:.3g}{target}{verdict}{differs}"


def show(table: Table) -> str:
    """Return one table for the terminal."""
    return f"{table.title}\n{_table(table.header, table.rows)}\n{table.note}"


def cost(value: Timing | float, unit: str = "seconds") -> str:
    """Return a Timing, a number of seconds or of bytes for reading."""
    if not isinstance(value, Timing):
        return f"{value / 2**20:.2f} MiB" if unit == "bytes" else f"{value:.4g} s"
    unit, factor = next((u, f) for u, f in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)) if value.median * f >= 1 or f > 1e5)
    spread = f" [{value.low * factor:.3g}, {value.high * factor:.3g}]" if value.repetitions > 1 else " (once)"
    return f"{value.median * factor:.4g} {unit}{spread}"


def _cells(row: Row) -> list[str]:
    met = {None: "", True: "yes", False: "**no**"}[row.met]
    far = "" if row.agreement is None else f"{row.agreement:.1e}" + ("" if row.agrees else " **differs**")
    target = "" if row.target is None else f"≤ {row.target:.3g}"
    sides = [row.ours, _detail(row.ours_cost, row.unit), row.peer, _detail(row.peer_cost, row.unit)]
    return [row.what, *sides, f"{row.ratio:.3g}", target, met, far, row.note]


def _detail(value: Timing | float, unit: str) -> str:
    extra = f", first {value.first_call:.2g} s, {value.cores:.2f} cores" if isinstance(value, Timing) else ""
    return cost(value, unit) + extra


def _plain(row: Row) -> dict[str, Any]:
    return {**asdict(row), "ratio": row.ratio, "met": row.met, "agrees": row.agrees}


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)
