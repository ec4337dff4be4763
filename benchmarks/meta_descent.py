"""1000 meta-steps on the log objective at d = 20, t = 80: theory's loop against one jit-compiled JAX scan.

The paper's step sizes overshoot the minimiser at first, where the recursion doubles the rounding of every step: two
correct programs part after some hundred meta-steps. The trajectories are compared over the first ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.harness import Contender, interleave
from benchmarks.problems import quadratics
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "1000 meta-steps at d = 20 against one jit-compiled JAX scan of the same recursion in float64"
D, STEPS, META_STEPS, ETA0, MU = 20, 80, 1000, 0.1, 0.01
_COMPARED = 50


def run(settings: Settings) -> Result:
    """Compare the whole run with a scan that takes products for powers, and with one that takes exp and log."""
    from metagrad.theory import quadratic as theory

    H, w0 = (x[0] for x in quadratics(1, D, settings.seed))
    spectrum = theory.Spectrum.of(D * H, w0)  # the paper's H = X'X is not divided by d
    found, missing = peers.load_all(["jax"])
    contenders = [Contender("theory.meta_descent, compiled", lambda: _descend(spectrum, compiled=True))]
    numpy_loop = Contender("theory.meta_descent, NumPy", lambda: _descend(spectrum, compiled=False))
    if "jax" in found:
        problem, rates = (spectrum.eigenvalues, spectrum.weights), MU / np.sqrt(np.arange(1, META_STEPS + 1))
        for name, power in (("products", 2 * STEPS - 1), ("exp and log", 2.0 * STEPS - 1)):
            scan = found["jax"].meta_descent(problem, ETA0, power, rates)
            contenders.append(Contender(f"JAX, jit, scan, powers by {name}", scan))
    contenders.append(numpy_loop)
    costs = interleave(contenders, settings.repetitions)
    values = [c.call()[:_COMPARED] for c in contenders]
    what = f"{META_STEPS} meta-steps, d = {D}, t = {STEPS}, eta0 = {ETA0}, mu_k = {MU}/sqrt k"
    note = f"first {_COMPARED} eta compared: later ones are sensitive to rounding"
    rows = []
    for peer, cost, value in zip(contenders[1:], costs[1:], values[1:], strict=True):
        far = relative_difference(values[0], value)
        target = 1.0 if peer is not numpy_loop else None
        rows.append(Row(what, contenders[0].name, costs[0], peer.name, cost, far, 1e-9, target, note=note))
    return Result(rows=rows, missing=missing)


def _descend(spectrum: Any, compiled: bool) -> NDArray[Any]:
    from metagrad.theory.quadratic.meta_descent import meta_descent

    run = meta_descent(spectrum, ETA0, steps=STEPS, meta_steps=META_STEPS, scale=MU, compiled=compiled)
    return run.eta[1:]
