"""Running sums, products and extremes, differences and slopes along an axis."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
