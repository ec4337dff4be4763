"""Functions that join, repeat, pad, turn and pick entries, composed of those in `shapes`."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
