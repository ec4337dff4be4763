"""The gallery: a page for each figure of `paper_figs`, made before the pages are read.

What is drawn and told comes from the saved results that the tests use (the quick preset, seed 0) and from claims.json;
a picture of a larger run, where the project keeps one, stands in the place of the small one. A picture is drawn again
only where its numbers or its code changed.
"""

from __future__ import annotations

import hashlib
import html
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from analysis.framework import seeds
from paper_figs.framework import groups, headlines, results, table
from paper_figs.framework.claims import Claims
from paper_figs.framework.style import save, styled

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ROOT / "docs" / "gallery"
PICTURES = PAGES / "pictures"
SAVED = ROOT / "tests" / "analysis" / "saved"
KEPT = ROOT / "paper_figs" / "gallery"
_PRESET, _SEED = "quick", 0
_WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---\n\n"  # no list of the headings beside the page
_THUMBNAIL = (480, 360)  # pixels


def setup(app: Any) -> dict[str, Any]:
    """Make the pages when the build starts."""
    app.connect("builder-inited", lambda app: make())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def make() -> None:
    """Write the gallery and its pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    claims = table.load()
    names = [name for name in results.names() if _PRESET in claims.get(name, {})]
    with ProcessPoolExecutor(max_workers=2) as pool:
        captions = dict(zip(names, pool.map(picture, names), strict=True))
    for name in names:
        every = {preset: table.claims_of(name, preset, kept) for preset, kept in claims[name].items()}
        _write(PAGES / f"{name}.md", _page(name, every, captions[name]))
    _write(PAGES / "index.md", _index(names, claims))
    for path in [*PAGES.glob("*.md"), *PICTURES.iterdir()]:
        if path.name.split(".")[0] not in {*names, "index"}:
            path.unlink()


def picture(name: str) -> str:
    """Draw a figure and its thumbnail, unless they are there; return the caption in Markdown."""
    source = ROOT / "paper_figs" / f"{name}.py"
    stem, kept = SAVED / name / f"{_PRESET}-seed{_SEED}", KEPT / f"{name}.png"
    style = sorted((ROOT / "paper_figs" / "framework").glob("*.py"))
    inputs = [source, Path(__file__), *style, stem.with_suffix(".npz"), stem.with_suffix(".json"), kept]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs if path.exists())).hexdigest()
    stamp = PICTURES / f"{name}.stamp"
    said, _, caption = stamp.read_text(encoding="utf-8").partition("\n") if stamp.exists() else ("", "", "")
    if said == digest:
        return caption
    full, small = PICTURES / f"{name}.png", PICTURES / f"{name}.small.png"
    module, result = results.load_figure(name), results.load_result(name, SAVED, _PRESET, _SEED)
    run = f"the {_PRESET} preset, seed {_SEED}"
    if kept.exists():
        full.write_bytes(kept.read_bytes())
        caption = _said_by(kept)
    else:
        with styled():
            save(module.draw(result), full.with_suffix(""), formats=("png",))
        caption = f"*{_prose(module.caption(result))}* Drawn from {run}."
    if details := getattr(module, "details", lambda _: "")(result):
        caption += f"\n\n{_prose(details)} (Numbers are those of {run}.)"
    with Image.open(full) as image:
        image.thumbnail(_THUMBNAIL)
        image.convert("RGB").save(small)
    stamp.write_text(f"{digest}\n{caption}", encoding="utf-8")
    return caption


def _said_by(kept: Path) -> str:
    """Return what a picture that is kept says of itself: its caption, and which run it is from."""
    with Image.open(kept) as image:
        text = dict(getattr(image, "text", {}))
    source = dict(part.split(": ", 1) for part in text.get("Source", "").split("; ") if ": " in part)
    run = f"Drawn from the {source['preset']} preset, seed {source['seed']}." if "preset" in source else ""
    return f"*{_prose(text['Description'])}* {run}" if text.get("Description") else run or "From a larger run."


def _page(name: str, every: dict[str, Claims], caption: str) -> str:
    module = results.load_figure(name)
    quick = every[_PRESET]
    larger = "".join(
        f"- At the {preset} preset ({seeds.said(one.seeds)}): {_prose(module.headline(one))}.\n"
        for preset, one in every.items()
        if preset != _PRESET
    )
    return f"""{_WIDE}# {module.title}

{_prose(quick.claim.rstrip("."))}.

```{{image}} pictures/{name}.png
:alt: {module.alt}
:class: figure
```

{caption}

## Measured

- At the {_PRESET} preset ({seeds.said(quick.seeds)}): {_prose(module.headline(quick))}.
{larger}
A number is that of the first seed; in brackets is its range over all. Nothing is expected of what is reported.

{_checks(quick)}
Every check at every preset: [claims](../claims.md#{name}).

## Run it

```sh
.venv/bin/python -m paper_figs all --only {name}                  # compute, draw, decide the claim
.venv/bin/python -m analysis run --only {name} --preset default   # the arrays alone, a larger run
.venv/bin/python -m paper_figs plot --only {name} --preset default
```

## Code

{_code(f"The experiment: `analysis/{name}.py`", f"../../analysis/{name}.py")}
{_code(f"The figure: `paper_figs/{name}.py`", f"../../paper_figs/{name}.py")}"""


def _code(title: str, path: str) -> str:
    """Return code that unfolds."""
    summary = html.escape(title.replace("`", ""))
    return f"<details><summary>{summary}</summary>\n\n```{{literalinclude}} {path}\n```\n\n</details>\n"


def _checks(claims: Claims) -> str:
    lines = ["| check | measured | expected | holds |", "|---|---|---|---|"]
    for check, row in zip(claims.checks[claims.seeds[0]], claims.rows, strict=True):
        expected = "" if row["holds"] is None else row["expected"]
        cells = (row["what"], claims.told(check["key"]), expected, row["verdict"])
        lines.append(f"| {' | '.join(_prose(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _index(names: list[str], claims: table.Saved) -> str:
    about = "All figures: each with its claim, what was measured, its code, and how to run it."
    parts = [f"{_WIDE}# Gallery\n\n{about}\n"]
    for group, listed in groups.grouped(names):
        parts.append(f"## {group.title}\n\n{group.about}\n\n::::{{container}} thumbnails")
        for name in listed:
            module, quick = results.load_figure(name), table.claims_of(name, _PRESET, claims[name][_PRESET])
            says = _prose(headlines.says(name, quick.claim))
            image = f"[![{module.alt}](pictures/{name}.small.png)]({name}.md)"
            parts.append(f":::{{container}} thumbnail\n{image}\n\n[{module.title}]({name}.md)\n\n{says}\n:::")
        parts.append("::::\n")
    tree = "\n".join(name for _, listed in groups.grouped(names) for name in listed)
    return "\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{tree}\n```\n"])


def _prose(text: str) -> str:
    """Return plain text as Markdown in which nothing is markup."""
    return "".join(f"\\{x}" if x in r"\`*_<>[]$" else x for x in text.replace("\n", " "))


def _write(path: Path, text: str) -> None:
    """Write a page, unless it is what is there: Sphinx reads again what is newer."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
