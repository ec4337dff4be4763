"""Examples of the functions that go along an axis."""

from __future__ import annotations

from typing import Any

from metagrad.ad.domains.draws import Example

EXAMPLES: dict[Any, list[Example]] = {}
