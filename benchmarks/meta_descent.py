"""1000 meta-steps on the log objective at d = 20, t = 80: theory's loop against one jit-compiled JAX scan."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.harness import Contender, interleave
from benchmarks.problems import quadratics
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "1000 meta-steps at d = 20 against one jit-compiled JAX scan of the same recursion in float64"
D, STEPS, META_STEPS, ETA0, MU = 20, 80, 1000, 0.1, 0.01


def run(settings: Settings) -> Result:
    """Compare the whole run of meta-steps."""
    from metagrad.theory import quadratic as theory

    # the paper's H = X'X is not normalised
    H, w0 = (x[0] for x in quadratics(1, D, settings.seed))
    spectrum = theory.Spectrum.of(D * H, w0)
    found, missing = peers.load_all(["jax"])
    contenders = [Contender("ours", lambda: float(_descend(spectrum).eta[-1]))]
    if "jax" in found:
        arrays = np.asarray(spectrum.eigenvalues), np.asarray(spectrum.weights)
        contenders.append(
            Contender("JAX, jit, scan", found["jax"].meta_descent(*arrays, ETA0, STEPS, META_STEPS, MU))
        )
    costs = interleave(contenders, settings.repetitions)
    values = [c.call() for c in contenders]
    what = f"{META_STEPS} meta-steps, d = {D}, t = {STEPS}, eta0 = {ETA0}, mu_k = {MU}/sqrt k"
    rows = [
        Row(what, "theory.meta_descent", costs[0], peer.name, cost, relative_difference(values[0], value), 1e-6, 1.0)
        for peer, cost, value in zip(contenders[1:], costs[1:], values[1:], strict=True)
    ]
    return Result(rows=rows, missing=missing)


def _descend(spectrum: Any) -> Any:
    from metagrad.theory.meta_descent import meta_descent

    return meta_descent(spectrum, ETA0, steps=STEPS, meta_steps=META_STEPS, scale=MU)
