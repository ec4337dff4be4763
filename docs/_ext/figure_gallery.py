"""The gallery: a page for each figure of `paper_figs`, made before the pages are read."""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> dict[str, Any]:
    """Register the maker."""
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
