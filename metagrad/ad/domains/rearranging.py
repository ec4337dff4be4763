"""Examples of the functions that rearrange entries."""

from __future__ import annotations

from typing import Any

from metagrad.ad.domains.draws import Example

EXAMPLES: dict[Any, list[Example]] = {}
