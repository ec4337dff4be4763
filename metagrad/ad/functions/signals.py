"""Convolutions, correlations, windows and interpolation."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
