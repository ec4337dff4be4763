"""One self-contained page: every figure, its claim, measured against expected, and where it is from.

The page holds figures and code itself, so that it can be sent to someone or opened without the checkout. Links lead to
the files of the results, beside which it lies: they go wherever the folder of results goes.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paper_figs
from analysis.framework import seeds, sources
from metagrad import files
from paper_figs.framework import groups, headlines, tidy
from paper_figs.framework.results import Result, ResultError

_TEMPLATE = Path(__file__).with_name("report.html")
_ROOT = Path(paper_figs.__path__[0]).resolve().parent
_MOST_ENTRIES = 12  # of a list in the table of sizes
_MOST_COMMITS = 3  # that the head of the page names


def write_report(
    items: list[dict[str, Any]], path: Path, preset: str, at: tuple[int, ...], absent: tuple[str, ...] = ()
) -> None:
    """Write the page, and CSV files of what it shows; `at`: the seeds, `absent`: what was not run for lack of data.

    `items` have name, title, alt, caption, details, files (what was drawn, a PNG among them), result, claims, failure
    (why the last run did not end, or an empty text) and holds. Where there is no result, result and claims are None.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ResultError("the report needs jinja2; install the extra: pip install -e '.[report]'.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = {_stem(item["result"], path).with_suffix(".csv"): item["result"] for item in items if item["result"]}
    checks = path.with_name("claims.csv")
    files.write_together(
        {csv: tidy.of_result(result) for csv, result in tables.items()}
        | {checks: tidy.of_claims(item["claims"] for item in items if item["claims"])}
    )
    ready = {item["name"]: item | _shown(item, path) for item in items}
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    text = page.render(
        groups=[(group, [ready[name] for name in names]) for group, names in groups.grouped(ready)],
        count=len(items),
        held=sum(item["holds"] for item in items),
        failing=[item["name"] for item in items if not item["holds"]],
        absent=absent,
        preset=preset,
        at=seeds.said(at),
        made=_made([item["result"] for item in items if item["result"]]),
        checks=_link(checks, path),
    )
    files.write(path, text.encode())


def _shown(item: dict[str, Any], page: Path) -> dict[str, Any]:
    """Return what the template shows of a figure beside what there is of it."""
    result, claims = item["result"], item["claims"]
    short = {"says": headlines.says(item["name"], item["title"])}
    if result is None:
        return short | {"measured": "", "held": "no result", "state": "no result"}
    short |= {"held": "yes", "state": "holds"} if item["holds"] else {"held": "no", "state": "fails"}
    image = next(path for path in item["files"] if path.suffix == ".png")
    data, rows = image.read_bytes(), claims.rows
    stem = _stem(result, page)
    others = [(one["seed"], stem.with_name(f"{one['preset']}-seed{one['seed']}.json")) for one in result.others]
    linked = [*(stem.with_suffix(suffix) for suffix in (".npz", ".csv", ".json")), *item["files"]]
    return (
        short
        | {
            "measured": headlines.measured(claims),
            "image": base64.b64encode(data).decode(),
            "png": _link(image, page),
            "width": int.from_bytes(data[16:20]),  # where a PNG has them
            "height": int.from_bytes(data[20:24]),
            "links": [(_label(one, image.parent), _link(one, page)) for one in linked if one.exists()],
            "others": [(seed, _link(one.with_suffix(".npz"), page), _link(one, page)) for seed, one in others],
            "rows": rows,
            "counted": _counted(rows),
            "config": _sizes(result.config),
            "code": _code(item["name"], result),
            "sidecar": result.sidecar,
            "when": _time(result.sidecar),
        }
    )


def _stem(result: Result, page: Path) -> Path:
    return page.parent / result.name / f"{result.sidecar['preset']}-seed{result.sidecar['seed']}"


def _link(path: Path, page: Path) -> str:
    return quote(Path(os.path.relpath(path, page.parent)).as_posix())


def _label(path: Path, figures: Path) -> str:
    """Return the kind of a file; what is beside the figure as JSON is its caption and where it is from."""
    kind = path.suffix[1:]
    if path.parent == figures and kind == "json":
        return "caption"
    return kind if kind == "npz" else kind.upper()


def _counted(rows: list[dict[str, Any]]) -> str:
    """Say how many checks there are, hold, and are reported."""
    decided = [row["holds"] for row in rows if row["holds"] is not None]
    reported = len(rows) - len(decided)
    return f"{sum(decided)} of {len(decided)} hold" + (f", {reported} reported" if reported else "")


def _sizes(config: Any, above: str = "") -> list[tuple[str, str]]:
    """Return the sizes of an experiment, a row each: what is nested has a name with dots, and JSON is opened.

    >>> _sizes({"d": 20, "steps": [1.0, 0.5], "recipe": '{"task": {"count": 4}}'})
    [('d', '20'), ('steps', '1, 0.5'), ('recipe.task.count', '4')]
    """
    if isinstance(config, str) and config.startswith("{"):
        with suppress(ValueError):
            config = json.loads(config)
    if isinstance(config, dict) and config:
        return [row for name, value in config.items() for row in _sizes(value, f"{above}.{name}" if above else name)]
    return [(above, _readable(config))]


def _readable(value: Any) -> str:
    """Return a size of an experiment as people write it; of a long list its ends, and how many there are.

    >>> _readable([0.5, 1.0]), _readable([[150, 0.3], [250, 0.1]]), _readable([]), _readable(list(range(20)))
    ('0.5, 1', '(150, 0.3), (250, 0.1)', 'none', '0, 1, 2, 3, 4, 5, ..., 19: 20 in all')
    """
    if isinstance(value, list):
        told = [f"({_readable(one)})" if isinstance(one, list) else _readable(one) for one in value]
        if len(told) > _MOST_ENTRIES:
            return f"{', '.join(told[: _MOST_ENTRIES // 2])}, ..., {told[-1]}: {len(value)} in all"
        return ", ".join(told) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _code(name: str, result: Result) -> list[dict[str, str]]:
    """Return the source files of experiment and figure, and whether they are those that the result is of."""
    depends = result.sidecar["depends"]
    labels = dict.fromkeys((f"analysis/{name}.py", *(one for one in depends if one.startswith("analysis/"))))
    found = []
    for label in (*labels, f"paper_figs/{name}.py"):
        path = _ROOT / label
        if path.is_file():
            data = path.read_bytes()
            changed = label in depends and depends[label] != sources.digest(path)
            note = ", changed since the result was computed" if changed else ""
            found.append({"label": label, "note": note, "text": data.decode("utf-8", errors="replace")})
    return found


def _time(sidecar: dict[str, Any]) -> str:
    return f"{datetime.fromtimestamp(sidecar['unix_time'], UTC):%Y-%m-%d %H:%M} UTC" if "unix_time" in sidecar else ""


def _made(results: list[Result]) -> list[str]:
    """Say of which commits the results are, and when they were computed: the page itself tells no time, so that the
    same results give the same page."""
    sidecars = [one for result in results for one in (result.sidecar, *result.others)]
    commits = {(one["commit"][:12] or "no commit") + (", with changes" if one["dirty"] else "") for one in sidecars}
    times = sorted(filter(None, map(_time, sidecars)))
    said = [f"commit{'s' * (len(commits) > 1)} {'; '.join(sorted(commits))}"] if commits else []
    if len(commits) > _MOST_COMMITS:
        said = [f"of {len(commits)} commits, which the figures tell"]
    if times:
        said.append(f"computed {times[0]}" + (f" to {times[-1]}" if times[-1] != times[0] else ""))
    return said
