"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
