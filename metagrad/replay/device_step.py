"""The step of a system on a device by its programs: one at a time, and nobody waits for the device.

The host sends ahead what the device is to do, and may not look at it. So there are no stretches, adjoints are shifted
for phi at every step, and whether there was a NaN where the tape would look for one is asked when the run is over: then
it is made again by the tape.
"""

from __future__ import annotations

from typing import Any

from metagrad.protocols import Tree
from metagrad.replay.bits import same_bits
from metagrad.replay.many_steps import shifted
from metagrad.replay.of_step import OfDeviceStep, adjoint_like
from metagrad.replay.step import Pair, ReplayStep
from metagrad.xp import Array


class DeviceStep(ReplayStep):
    """The step, by its programs where they apply, else by the tape."""

    _kind_of_step = OfDeviceStep

    def pullback(self, t: int, phi: Tree, at: Pair, adjoint: Pair, fold: Array | None) -> tuple[Tree, Pair]:
        """Return the cotangents of phi and of (w, state)."""
        time = self._offset + t
        trees = (time, self.given(phi), *at, self._system.sample(time))
        made = adjoint, adjoint if fold is None else shifted(adjoint, fold), self._unit(at[0])
        found = self._routines.pull.run((*trees, made)) if self._is_on else None
        if found is None or t in self.looked_at:
            self.by_tape += 1
            expected = self._of.pulled(*trees, made)
            if found is not None and not same_bits(found, expected):
                self._routines.pull.differs()
            found = expected
        else:
            self.replayed += 1
        of_phi, pulled, slope = found
        if slope is not None and self._terms is not None:
            self._terms.hand(at[0], slope)
        return of_phi, pulled

    def _made(self, w: Tree, state: Tree) -> Any:
        return adjoint_like((w, state), 4), adjoint_like((w, state), 6), self._unit(w)
