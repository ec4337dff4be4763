"""One self-contained page: every figure, its claim, measured against expected, and where it is from."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from analysis.framework import seeds
from metagrad import files
from paper_figs.framework.results import ResultError

_TEMPLATE = Path(__file__).with_name("report.html")


def write_report(items: list[dict[str, Any]], path: Path, preset: str, at: tuple[int, ...]) -> None:
    """Write the page; `at`: the seeds.

    `items` have name, title, alt, caption, image (a PNG's path), sidecar, claims, failure (why the last run did not
    end, or an empty text) and holds. Where there is no result, image, sidecar and claims are None.
    """
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise ResultError("the report needs jinja2; install the extra: pip install -e '.[report]'.") from error
    ready = [
        item | {"image": item["image"] and base64.b64encode(item["image"].read_bytes()).decode()} for item in items
    ]
    held = sum(item["holds"] for item in items)
    page = Environment(autoescape=True).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    text = page.render(items=ready, held=held, preset=preset, at=seeds.said(at))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text.encode())
