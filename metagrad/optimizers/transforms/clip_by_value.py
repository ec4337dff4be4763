"""Gradients whose entries are limited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metagrad.optimizers._hyper import LIMIT, check_phi, each_leaf, project
from metagrad.protocols import Tree, View
from metagrad.xp import Array

_RANGES = {"max_value": LIMIT}


@dataclass(frozen=True)
class ClipByValue:
    """max(-max_value, min(max_value, g)), entry by entry; inf and NaN stay what they are, and do not hide.

    `max_value` > 0: a float, an array that broadcasts against w, or a tree of them like w. Within the limit, and at it,
    the derivative in g is 1 and that in max_value 0; beyond it they are 0 and sgn(g).

    >>> import metagrad as mg
    >>> clip, w = ClipByValue(), np.array([[3.0, -0.5]])
    >>> clip.gradient(clip.Phi(1.0), mg.FixedGradient(w), w)
    array([[ 1. , -0.5]])
    """

    homogeneous = False  # the limit stays where the gradient is scaled

    class Phi(NamedTuple):
        """The meta-parameters."""

        max_value: Array

    def gradient(self, phi: Phi, f: View, w: Tree) -> Tree:
        """Return the gradient that is shown."""

        def clip(p: Any, g: Array) -> tuple[Array]:
            is_beyond = (np.abs(g) > p.max_value) & np.isfinite(g)
            return (np.where(is_beyond, np.sign(np.where(is_beyond, g, 0.0)) * p.max_value, g),)

        return each_leaf(clip, phi, f.gradient(w))[0]

    def moved(self, phi: Phi, before: Tree, after: Tree) -> Tree:
        """Return the next w as it is."""
        return after

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless it is floating and in range."""
        checked: ClipByValue.Phi = check_phi(ClipByValue.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: ClipByValue.Phi = project(phi, _RANGES)
        return nearest
