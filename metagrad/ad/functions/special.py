"""SciPy's special functions: a table of derivatives."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
