"""Examples of the functions of linear algebra."""

from __future__ import annotations

from typing import Any

from metagrad.ad.domains.draws import Example

EXAMPLES: dict[Any, list[Example]] = {}
