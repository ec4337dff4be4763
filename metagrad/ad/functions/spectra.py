"""Fourier transforms of real signals."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
