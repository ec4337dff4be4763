"""One self-contained page: every figure, its claim, what was measured against what was expected, and where it is from."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import Any

from paper_figs.framework.results import ResultError

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>metagrad: figures and claims</title>
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --soft: #5a5a5a; --line: #d8d8d8; --yes: #00674b; --no: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --paper: #15171a; --soft: #a8a8a8; --line: #3a3d42; --yes: #4fc79a; --no: #ff8a80; }
}
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 3rem 0 .4rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); font-size: .9rem; }
img { width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line); border-radius: 4px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .6rem 0; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
a { color: inherit; } summary { cursor: pointer; } code { font-size: .85rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>metagrad: figures and claims</h1>
<p class="soft">{{ held }} of {{ items|length }} claims hold. Preset {{ preset }}, seed {{ seed }}. Lines are theory, points are measurements.</p>
<div class="scroll"><table>
<thead><tr><th scope="col">figure</th><th scope="col">claim</th><th scope="col">holds</th></tr></thead>
<tbody>
{% for item in items %}<tr><td><a href="#{{ item.name }}">{{ item.title }}</a></td><td>{{ item.sidecar.claim }}</td>
<td class="{{ 'yes' if item.sidecar.holds else 'no' }}">{{ 'yes' if item.sidecar.holds else 'no' }}</td></tr>
{% endfor %}</tbody></table></div>
{% for item in items %}
<section id="{{ item.name }}">
<h2>{{ item.title }}</h2>
<figure style="margin:0"><img src="data:image/png;base64,{{ item.image }}" alt="{{ item.alt }}">
<figcaption><p>{{ item.caption }}</p></figcaption></figure>
<div class="scroll"><table>
<thead><tr><th scope="col">what</th><th scope="col">measured</th><th scope="col">expected</th><th scope="col">holds</th></tr></thead>
<tbody>
{% for check in item.sidecar.checks %}<tr><td>{{ check.what }}</td><td class="number">{{ '%.6g'|format(check.measured) }}</td>
<td class="number">{{ check.expected }}</td><td class="{{ 'yes' if check.holds else 'no' }}">{{ 'yes' if check.holds else 'no' }}</td></tr>
{% endfor %}</tbody></table></div>
<details><summary class="soft">Provenance</summary>
<p class="soft"><code>{{ item.sidecar.command }}</code><br>
commit {{ item.sidecar.commit[:12] or 'none' }}{{ ', with changes' if item.sidecar.dirty }}; {{ item.sidecar.seconds }} s on
{{ item.sidecar.device }} ({{ item.sidecar.machine }});
{% for package, version in item.sidecar.versions.items() %}{{ package }} {{ version }}{{ ', ' if not loop.last }}{% endfor %}<br>
data sha256 <code>{{ item.sidecar.sha256 }}</code><br>config <code>{{ item.sidecar.config }}</code></p></details>
</section>
{% endfor %}
</body>
</html>
"""


def write_report(items: list[dict[str, Any]], path: Path, preset: str, seed: int) -> None:
    """Write the page; `items` have name, title, alt, caption, image (a PNG's path) and sidecar."""
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise ResultError("the report needs jinja2; install the extra: pip install -e '.[report]'.") from error
    ready = [item | {"image": base64.b64encode(item["image"].read_bytes()).decode()} for item in items]
    held = sum(bool(item["sidecar"]["holds"]) for item in items)
    page = Environment(autoescape=True).from_string(_TEMPLATE)
    text = page.render(items=ready, held=held, preset=preset, seed=seed)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".report", suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)
