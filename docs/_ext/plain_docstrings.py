"""Docstrings of this project are plain text; this makes reStructuredText of them."""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> dict[str, Any]:
    """Register the hook."""
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
