"""NumPy's other products: of vectors and matrices in stacks, of polynomials, Kronecker's."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
