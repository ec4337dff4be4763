"""Linear algebra: solutions, determinants, and norms."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
