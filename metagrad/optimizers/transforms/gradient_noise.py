"""Gradients with noise on them that is drawn again whenever it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from metagrad import checks
from metagrad.ad import leaves, unflatten
from metagrad.ad.tape import value_of
from metagrad.optimizers._hyper import SPREAD, UNBOUNDED, check_phi, each_leaf, project
from metagrad.protocols import Tree, View
from metagrad.xp import Array, namespace, rng

_RANGES = {"noise": SPREAD, "noise_decay": UNBOUNDED}


@dataclass(frozen=True)
class GradientNoise:
    """g + noise (1 + t)^(-noise_decay) z_t, z_t standard normal, at time t = 0, 1, ... of the run.

    `noise` >= 0, the standard deviation of the first step, and `noise_decay`, any number: floats, arrays that broadcast
    against w, or trees of them like w. Both have derivatives; z_t has none: it is a function of (seed, t, the place of
    the array in w) alone, the same in every sweep and wherever the gradient is asked for at that step. `seed` is the
    noise's own, not that of the run. `shared`: one z_t for all tasks; else each has its own.
    Source: Neelakantan et al. 2015 (Adding gradient noise improves learning), with noise^2 for their eta
    and 2 noise_decay for their gamma = 0.55.
    """

    seed: int = 0
    shared: bool = False

    homogeneous = False  # the noise stays where the gradient is scaled

    class Phi(NamedTuple):
        """The meta-parameters."""

        noise: Array
        noise_decay: Array | float = 0.275

    def __post_init__(self) -> None:
        """Check the seed and the flag."""
        checks.count("GradientNoise", "seed", self.seed, 0)
        checks.flag("GradientNoise", "shared", self.shared)

    def gradient(self, phi: Phi, f: View, w: Tree) -> Tree:
        """Return the gradient that is shown."""
        g = f.gradient(w)
        z = unflatten(g, [self._drawn(f.t, k, value_of(leaf)) for k, leaf in enumerate(leaves(g))])

        def noisy(p: Any, g: Array, z: Array) -> tuple[Array]:
            return (g + p.noise * (1.0 + f.t) ** -p.noise_decay * z,)

        return each_leaf(noisy, phi, g, z)[0]

    def _drawn(self, t: int, place: int, leaf: Array) -> Array:
        shape = (1, *leaf.shape[1:]) if self.shared else leaf.shape
        drawn = rng(self.seed, "gradient noise", t, place).standard_normal(shape)
        return namespace(leaf).asarray(drawn, dtype=leaf.dtype)

    def moved(self, phi: Phi, before: Tree, after: Tree) -> Tree:
        """Return the next w as it is."""
        return after

    def check_phi(self, phi: Any, where: str) -> Phi:
        """Return phi; raise unless it is floating and in range."""
        checked: GradientNoise.Phi = check_phi(GradientNoise.Phi, phi, where, _RANGES)
        return checked

    def project(self, phi: Phi) -> Phi:
        """Return the nearest phi in range."""
        nearest: GradientNoise.Phi = project(phi, _RANGES)
        return nearest
