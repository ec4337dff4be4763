"""Gradients that are shortened to a length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad import leaves, tree_map
from metagrad.errors import bad_value
from metagrad.optimizers._hyper import LIMIT, check_phi, project
from metagrad.optimizers._norms import along, task_norm
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"max_norm": LIMIT}


@dataclass(frozen=True)
class ClipByNorm:
    """g min(1, max_norm/||g||), with the norm of each task over all arrays of w.

    `max_norm` > 0, one number or one a task. Its derivative in g is that of the formula: with u = g/||g||, beyond the
    limit max_norm/||g|| (I - u u') and d/d max_norm = u, within it, and at it, the identity and 0; it is finite where a
    gradient is exactly zero. A gradient that is inf or NaN stays none.
    Source: Pascanu et al. 2013 (On the difficulty of training recurrent neural networks), algorithm 1.

    >>> import metagrad as mg
    >>> w = np.array([[3.0, 4.0], [0.3, 0.4]])
    >>> clip = ClipByNorm()
    >>> clip.gradient(clip.Phi(1.0), mg.FixedGradient(w), w)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """

    homogeneous = False  # the limit stays where the gradient is scaled

    class Phi(NamedTuple):
        """The meta-parameters."""

        max_norm: Array

    def gradient(self, phi: Phi, f: View, w: Tree) -> Tree:
        """Return the gradient that is shown."""
        g = f.gradient(w)
        norm = task_norm(g)
        limit = _one_a_task(phi.max_norm, leaves(g))
        is_long = norm > limit
        factor = np.where(is_long, limit / np.where(is_long, norm, 1.0), 1.0)
        return tree_map(lambda leaf: leaf * along(factor, leaf), g)

    def moved(self, phi: Phi, before: Tree, after: Tree) -> Tree:
        """Return the next w as it is."""
        return after

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless it is floating and in range."""
        checked: ClipByNorm.Phi = check_phi(ClipByNorm.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: ClipByNorm.Phi = project(phi, _RANGES)
        return nearest


def _one_a_task(limit: Any, flat: list[Array]) -> Any:
    """Return the limit as a number or (B,), from one that comes with as many axes as the largest array of w, or more.

    These may be only some of the arrays of w: those of a group.
    """
    shape = getattr(limit, "shape", ())
    batch, axes = flat[0].shape[0], max(leaf.ndim for leaf in flat)
    if shape == ():
        return limit
    if len(shape) < axes or shape != (batch,) + (1,) * (len(shape) - 1):
        remedy = "The limit is one of the whole gradient of a task; for one a coordinate take ClipByValue."
        bad_value("ClipByNorm", "max_norm", f"of shape {shape}", "one number, or one a task with per_task=True", remedy)
    return limit.reshape((batch,))
