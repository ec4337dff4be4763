"""Quantiles, averages, and reductions that leave NaN out."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
