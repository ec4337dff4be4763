"""Remainders, limits and what else picks or cuts numbers, entry by entry."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
