"""What k steps of descent do to a start, in the eigenvectors of the Hessians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, number, one_horizon
from metagrad.theory.starts.quadratic_tasks import QuadraticTasks


@dataclass(frozen=True, eq=False)
class Moved:
    """What k steps do, in the eigenvectors of H: (1 - alpha h)^k and h_k(h), each (B, d)."""

    tasks: QuadraticTasks
    alpha: float
    vectors: Floats  # (B, d, d), in columns
    kept: Floats
    moved: Floats

    @classmethod
    def of(cls, function: str, tasks: QuadraticTasks, alpha: float, steps: int) -> Moved:
        """Decompose; ValueError and TypeError for bad arguments, and where the powers leave the range of floats."""
        check_kind(function, "tasks", tasks, QuadraticTasks)
        k, size = one_horizon(function, steps), number(function, "alpha", alpha)
        values, vectors = np.linalg.eigh(tasks.H)
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            factor = 1 - size * values
            kept = factor**k
            # 1 - (1 - x)^k without cancellation, for small x; else as it stands
            small = np.abs(size * values) < 0.5
            fallen = np.where(small, -np.expm1(k * np.log1p(np.where(small, -size * values, 0.0))), 1 - kept)
            moved = np.where(values == 0, size * k, fallen / np.where(values == 0, 1.0, values))
        if not (np.isfinite(kept).all() and np.isfinite(moved).all()):
            worst = float(np.abs(factor).max())
            remedy = "Take fewer steps, or a smaller step size."
            bad_value(function, "steps", k, f"what {worst:.3g}^k leaves within the range of floats", remedy)
        return cls(tasks, size, vectors, kept, moved)

    def transported(self, x: Floats) -> Floats:
        """Return P x."""
        return self.applied(self.kept, x)

    def from_start(self, phi: Floats) -> Floats:
        """Return w_k = P phi + S g."""
        return self.applied(self.kept, phi) + self.applied(self.moved, self.tasks.g)

    def applied(self, of_eigenvalues: Floats, x: Floats) -> Floats:
        """Return Q diag(of_eigenvalues) Q'x, (B, d)."""
        inside = np.einsum("bij,bi->bj", self.vectors, np.broadcast_to(x, self.tasks.g.shape))
        found: Floats = np.einsum("bij,bj->bi", self.vectors, of_eigenvalues * inside)
        return found

    def matrix(self, of_eigenvalues: Floats) -> Floats:
        """Return Q diag(of_eigenvalues) Q', (B, d, d)."""
        found: Floats = np.einsum("bij,bj,bkj->bik", self.vectors, of_eigenvalues, self.vectors)
        return found
