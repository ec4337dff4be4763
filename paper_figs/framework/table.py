"""The tables of claims: made from measured values that are kept in claims.json, never by hand.

`python -m paper_figs claims --preset default --seeds 0,1` takes what results say into claims.json (each preset has its
own seeds), and writes the README's table and docs/claims.md anew: there each claim has its whole sentence, and every
check. A test holds claims.json against the source of the experiments, and both against claims.json; so a row that is
not of what is there fails.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analysis.framework import seeds
from metagrad import files
from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result, ResultError, load_figure, names

ROOT = Path(__file__).resolve().parent.parent.parent
SAVED = ROOT / "paper_figs" / "claims.json"
README, PAGE = ROOT / "README.md", ROOT / "docs" / "claims.md"
BEGIN, END = "<!-- claims: made by `python -m paper_figs claims` -->\n", "<!-- end of claims -->\n"
_PRESETS = ("quick", "default", "paper")
_OF_ALL = ("key", "what", "expected")
_OF_EACH = ("measured", "holds", "interval")

Saved = dict[str, dict[str, dict[str, Any]]]  # experiment, preset


def load(path: Path = SAVED) -> Saved:
    """Return what claims.json holds; nothing where there is no file yet."""
    found: Saved = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def entry(result: Result) -> dict[str, Any]:
    """Return what is kept of a result: its checks at every seed, and the digests of the experiment's source."""
    every = (result.sidecar, *result.others)
    source = {name: x for name, x in result.sidecar["depends"].items() if name.startswith("analysis/")}
    if different := [one["seed"] for one in every if source.items() - one["depends"].items()]:
        raise ResultError(f"{result.name}: seed {different[0]} is of another source; run it again.")
    checks = [
        {name: same[0][name] for name in _OF_ALL} | {name: [_short(one[name]) for one in same] for name in _OF_EACH}
        for same in zip(*(one["checks"] for one in every), strict=True)
    ]
    about = {"claim": result.sidecar["claim"], "config": result.config, "source": source}
    return about | {"seeds": list(result.claims.seeds), "checks": checks}


def _short(x: Any) -> Any:
    """Return a number with the digits that people read; the last ones are another processor's."""
    if isinstance(x, list):
        return [_short(part) for part in x]
    return float(f"{x:.6g}") if isinstance(x, float) else x


def claims_of(name: str, preset: str, kept: dict[str, Any]) -> Claims:
    """Return the claims that an entry of claims.json was made from."""
    checks = {
        seed: [
            {field: one[field] for field in _OF_ALL} | {field: one[field][k] for field in _OF_EACH}
            for one in kept["checks"]
        ]
        for k, seed in enumerate(kept["seeds"])
    }
    return Claims(name, preset, kept["config"], kept["claim"], checks)


def table(saved: Saved) -> str:
    """Return the README's table in Markdown: figure, what it is about, and what was measured at the quick preset."""
    lines = ["| figure | about | measured |", "|---|---|---|"]
    for name in _names(saved):
        claims, module = claims_of(name, "quick", saved[name]["quick"]), load_figure(name)
        failing = "" if claims.holds else f" **fails: {', '.join(claims.failing)}**"
        lines.append(f"| `{name}` | {_cell(module.title)} | {_cell(module.headline(claims))}{failing} |")
    return "\n".join(lines) + "\n"


def page(saved: Saved) -> str:
    """Return docs/claims.md: each claim, and at every preset that was run its headline and every check."""
    parts = [_INTRODUCTION]
    for name in _names(saved):
        every = [claims_of(name, preset, saved[name][preset]) for preset in _PRESETS if preset in saved[name]]
        parts.append(f"## {name}: {load_figure(name).title}\n\n{every[0].claim.rstrip('.')}.\n")
        for one in every:
            holds = "holds" if one.holds else f"**fails: {', '.join(one.failing)}**"
            said = load_figure(name).headline(one)
            parts.append(f"*{one.preset}, {seeds.said(one.seeds)}* ({holds}): {said}.\n\n{_checks(one)}")
    return "\n".join(parts)


_INTRODUCTION = """# Claims and what was measured

Made by `python -m paper_figs claims` from the results of the experiments; a test holds it against them. A number is
that of the first seed; in brackets is its range over all. "With its interval" means that the 95 % interval of a sample
decides, not its estimate; where there are several, the one whose interval lies nearest to failing is told. Nothing is
expected of what is reported. Each check is seen failing on a spoiled table in `tests/analysis/spoiled`.
"""


def _checks(claims: Claims) -> str:
    """Return the checks of one preset as a table."""
    lines = ["| check | measured | expected | holds |", "|---|---|---|---|"]
    for check, row in zip(claims.checks[claims.seeds[0]], claims.rows, strict=True):
        at = f"no, at {', '.join(map(str, row['failing']))}"
        holds = "" if row["holds"] is None else "yes" if row["holds"] else at
        cells = (row["what"], claims.told(check["key"]), row["expected"], holds)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _names(saved: Saved) -> list[str]:
    if missing := [name for name in names() if "quick" not in saved.get(name, {})]:
        raise ResultError(
            f"claims.json has no quick result of {missing[0]}; run it, then `python -m paper_figs claims`."
        )
    return names()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write(results: list[Result], preset: str) -> None:
    """Take results into claims.json, and write the README's table and docs/claims.md anew."""
    saved = load()
    for result in results:
        saved.setdefault(result.name, {})[preset] = entry(result)
    ordered = {name: saved[name] for name in names() if name in saved}
    data = json.dumps(ordered, indent=1, sort_keys=True) + "\n"
    text = README.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ResultError(f"README.md has not the lines {BEGIN.strip()!r} and {END.strip()!r}, once each.")
    before, rest = text.split(BEGIN)
    readme = before + BEGIN + table(ordered) + END + rest.split(END)[1]
    PAGE.parent.mkdir(exist_ok=True)
    files.write_together({SAVED: data.encode(), README: readme.encode(), PAGE: page(ordered).encode()})
