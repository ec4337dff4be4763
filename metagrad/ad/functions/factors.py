"""Factorisations of matrices: Cholesky, eigenvalues, singular values, QR."""

from __future__ import annotations

from typing import Any

TABLE: dict[Any, Any] = {}
