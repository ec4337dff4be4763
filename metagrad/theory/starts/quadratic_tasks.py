"""Quadratic tasks to adapt to: a support loss w'H w/2 - g'w and a query loss w'H_q w/2 - g_q'w each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, finite_floats


@dataclass(frozen=True, eq=False)
class QuadraticTasks:
    """B tasks in d dimensions: support H (B, d, d) and g (B, d), query likewise (default: the support losses).

    H are symmetric, and may be indefinite. ValueError for other shapes, and where H is not symmetric to rounding.

    >>> tasks = QuadraticTasks([[[2.0]], [[1.0]]], [[2.0], [-1.0]])  # minima at 1 and -1
    >>> tasks.count, tasks.d
    (2, 1)
    """

    H: Floats
    g: Floats
    H_query: Floats | None = None
    g_query: Floats | None = None

    def __post_init__(self) -> None:
        """Validate."""
        if (self.H_query is None) != (self.g_query is None):
            given, lacking = ("H_query", "g_query") if self.g_query is None else ("g_query", "H_query")
            bad_value("QuadraticTasks", lacking, "None", f"an array, as {given} is one", "Give both or neither.")
        H, g = _losses("H", self.H, "g", self.g)
        query = (H, g) if self.H_query is None else _losses("H_query", self.H_query, "g_query", self.g_query)
        if query[0].shape != H.shape:
            bad_value("QuadraticTasks", "H_query", f"of shape {query[0].shape}", f"the shape of H, {H.shape}")
        for name, value in zip(("H", "g", "H_query", "g_query"), (H, g, *query), strict=True):
            object.__setattr__(self, name, value)

    @property
    def count(self) -> int:
        """B, the number of tasks."""
        return len(self.g)

    @property
    def d(self) -> int:
        """The number of parameters."""
        return int(self.g.shape[1])

    @property
    def query(self) -> tuple[Floats, Floats]:
        """H_q and g_q."""
        assert self.H_query is not None and self.g_query is not None  # noqa: PT018 - both are set where they are None
        return self.H_query, self.g_query


def _losses(name: str, H: ArrayLike, other: str, g: ArrayLike | None) -> tuple[Floats, Floats]:
    """Return H (B, d, d) and g (B, d) of one loss, or raise."""
    matrices, vectors = finite_floats("QuadraticTasks", name, H), finite_floats("QuadraticTasks", other, g)  # type: ignore[arg-type]
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or 0 in matrices.shape:
        bad_value("QuadraticTasks", name, f"of shape {matrices.shape}", "shape (B, d, d) with B, d >= 1")
    if vectors.shape != matrices.shape[:2]:
        bad_value("QuadraticTasks", other, f"of shape {vectors.shape}", f"shape {matrices.shape[:2]}")
    off = np.abs(matrices / 2 - matrices.swapaxes(1, 2) / 2).max(axis=(1, 2)) * 2
    if (off > 1e-12 * np.abs(matrices).max(axis=(1, 2))).any():
        came = f"not symmetric, by {off.max():.3g}"
        bad_value("QuadraticTasks", name, came, "symmetric matrices", "Take (H + H')/2.")
    return matrices / 2 + matrices.swapaxes(1, 2) / 2, vectors
