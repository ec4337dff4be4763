"""The tables of claims: made from measured values that are kept in claims.json, never by hand.

`python -m paper_figs claims --preset default --seeds 0,1` takes what results say into claims.json (each preset has its
own seeds), and writes the README's table of eight claims and docs/claims.md anew: there each claim has its whole
sentence, and every check. A test holds claims.json against the source of the experiments, and both against claims.json;
so a row that is not of what is there fails.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analysis.framework import seeds
from metagrad import files
from paper_figs.framework import groups, headlines
from paper_figs.framework.claims import Claims
from paper_figs.framework.headlines import HEADLINES
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
    """Return the README's table in Markdown: eight claims, what was measured at the quick preset, and the figure."""
    lines = ["| claim | measured | figure |", "|---|---|---|"]
    for name in HEADLINES:
        claims = _quick(saved, name)
        cells = (headlines.says(name, ""), f"{headlines.measured(claims)}{_failing(claims)}")
        lines.append(f"| {' | '.join(map(_cell, cells))} | [{name}]({PAGE.parent.name}/{PAGE.name}#{name}) |")
    return "\n".join(lines) + "\n"


def page(saved: Saved) -> str:
    """Return docs/claims.md: a table of all claims by group; then each, with every check at each preset that was run.

    The heading of a claim is the name of its figure, so that `claims.md#<name>` is its link.
    """
    listed = groups.grouped(_names(saved))
    parts = [_INTRODUCTION]
    for group, names_in in listed:
        parts.append(f"**{group.title}**\n\n{_short_table(saved, names_in)}")
    for group, names_in in listed:
        parts.append(f"## {group.title}\n\n{group.about}\n")
        parts += [_section(saved, name) for name in names_in]
    return "\n".join(parts)


_INTRODUCTION = """# Claims and what was measured

Made by `python -m paper_figs claims` from the results of the experiments; a test holds it against them. A number is
that of the first seed; in brackets is its range over all. "With its interval" means that the 95 % interval of a sample
decides, not its estimate; where there are several, the one whose interval lies nearest to failing is told. Nothing is
expected of what is reported. Each check is seen failing on a spoiled table in `tests/analysis/spoiled`.

In short, at the quick preset; the claims in full, and every check, are below.
"""


def _short_table(saved: Saved, listed: list[str]) -> str:
    lines = ["| figure | claim | measured | holds |", "|---|---|---|---|"]
    for name in listed:
        claims = _quick(saved, name)
        cells = (headlines.says(name, load_figure(name).title), headlines.measured(claims), _verdict(claims))
        lines.append(f"| [{name}](#{name}) | {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _section(saved: Saved, name: str) -> str:
    """Return what is said of one claim, under a heading that is its name."""
    module = load_figure(name)
    every = [claims_of(name, preset, saved[name][preset]) for preset in _PRESETS if preset in saved[name]]
    parts = [f"### {name}\n\n**{module.title}.** {every[0].claim.rstrip('.')}.\n"]
    for one in every:
        about = f"*{one.preset}, {seeds.said(one.seeds)}* ({_verdict(one)}): {_headline(module, one)}."
        # the empty lines let Markdown go on inside of the element
        parts.append(f"{about}\n\n<details><summary>{_counted(one)}</summary>\n\n{_checks(one)}\n</details>\n")
    return "\n".join(parts)


def _headline(module: Any, claims: Claims) -> str:
    """Return the numbers in short; of a preset that was run with other checks, how to bring it up to date.

    The quick preset has no such excuse: ResultError.
    """
    try:
        return str(module.headline(claims))
    except KeyError as error:
        remedy = f"run `python -m paper_figs claims --only {claims.name} --preset {claims.preset}`"
        if claims.preset == "quick":
            raise ResultError(
                f"claims.json is of another version of {claims.name}, without {error}; {remedy}."
            ) from error
        return f"of another version of the experiment; {remedy}"


def _verdict(claims: Claims) -> str:
    return "holds" if claims.holds else f"**fails: {', '.join(claims.failing)}**"


def _failing(claims: Claims) -> str:
    return "" if claims.holds else f" ({_verdict(claims)})"


def _counted(claims: Claims) -> str:
    decided = sum(row["holds"] is not None for row in claims.rows)
    reported = len(claims.rows) - decided
    return f"{decided} checks" + (f", and {reported} numbers that are reported" if reported else "")


def _checks(claims: Claims) -> str:
    """Return the checks of one preset as a table."""
    lines = ["| check | measured | expected | holds |", "|---|---|---|---|"]
    for check, row in zip(claims.checks[claims.seeds[0]], claims.rows, strict=True):
        expected = "" if row["holds"] is None else row["expected"]
        cells = (row["what"], claims.told(check["key"]), expected, row["verdict"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _quick(saved: Saved, name: str) -> Claims:
    return claims_of(name, "quick", saved[name]["quick"])


def _names(saved: Saved) -> list[str]:
    if missing := [name for name in names() if "quick" not in saved.get(name, {})]:
        raise ResultError(
            f"claims.json has no quick result of {missing[0]}; run it, then `python -m paper_figs claims`."
        )
    return names()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write(results: list[Result], preset: str) -> None:
    """Take results into claims.json, and write the README's table and docs/claims.md anew; without results, these."""
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
