"""Which method returns a right, wrong, zero or non-finite G' over a grid of step sizes and horizons.

Every method gets the same H, w0 and eta, already rounded to its dtype; the reference is theory's closed form of that
rounded problem. Right means within the tolerance of `_TOLERANCE`, relative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers, recipe
from benchmarks.problems import quadratics
from benchmarks.results import Result, Table
from benchmarks.settings import Settings

SUMMARY = "right, wrong, zero and non-finite values of G' over (eta, t), float32 and float64"
D = 20
ETA_L = np.array([0.01, 0.1, 0.5, 1.0, 1.5, 1.9, 2.1, 2.5, 3.0, 4.0])
HORIZONS = (10, 100, 1000, 10_000)
_TOLERANCE = {"float32": 1e-2, "float64": 1e-6}
_KINDS = ("right", "wrong", "zero", "not finite")
Slopes = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], int], NDArray[Any]]


def run(settings: Settings) -> Result:
    """Count the outcomes of every method, per dtype and horizon."""
    found, missing = peers.load_all(["jax", "torch"])
    methods = our_methods() | {f"{name} {module.VERSION}": module.slopes for name, module in found.items()}
    tables = [_table(dtype, methods, settings) for dtype in ("float32", "float64")]
    return Result(tables=tables, missing=missing)


def _table(dtype: str, methods: dict[str, Slopes], settings: Settings) -> Table:
    H, w0, etas = problem(dtype, settings.seed)
    rows = []
    for name, slopes in methods.items():
        kinds = [classify(slopes(H, w0, etas, t), reference(H, w0, etas, t), _TOLERANCE[dtype]) for t in HORIZONS]
        every = np.concatenate(kinds)
        counts = [str(int((every == kind).sum())) for kind in _KINDS]
        rows.append([name, *counts, *["".join(_letter(k) for k in row) for row in kinds]])
    header = ["method", *_KINDS, *[f"t = {t}" for t in HORIZONS]]
    where = ", ".join(f"{x:g}" for x in ETA_L)
    letters = f"R right (within {_TOLERANCE[dtype]:g}), W wrong, 0 zero, N not finite"
    note = f"d = {D}; letters over eta L = {where}: {letters}."
    return Table(f"G' in {dtype}: what each method returns", header, rows, note)


def problem(dtype: str, seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return H (d, d), w0 (d,) and the step sizes, rounded to `dtype`."""
    H, w0 = (x[0] for x in quadratics(1, D, seed, np.dtype(dtype)))
    return H, w0, (ETA_L / np.linalg.eigvalsh(H.astype(np.float64)).max()).astype(dtype)


def reference(H: NDArray[Any], w0: NDArray[Any], etas: NDArray[Any], steps: int) -> NDArray[Any]:
    """Return theory's G' of the rounded problem, in float64."""
    from metagrad.theory import quadratic as theory

    H, w0, etas = (x.astype(np.float64) for x in (H, w0, etas))
    return theory.d_log_objective(theory.Spectrum.of(H, w0), etas, steps)


def classify(values: NDArray[Any], exact: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Return "right", "wrong", "zero" or "not finite" for each value."""
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        right = np.abs(values - exact) <= tolerance * np.abs(exact)
    kinds = np.where(right, "right", np.where(values == 0, "zero", "wrong"))
    return np.where(np.isfinite(values), kinds, "not finite")


def our_methods() -> dict[str, Slopes]:
    """Return the plain and the scaled engine, and the source paper's recipe in the dtype of the problem."""

    def engine(scaling: Any) -> Slopes:
        def slopes(H: NDArray[Any], w0: NDArray[Any], etas: NDArray[Any], steps: int) -> NDArray[Any]:
            import metagrad as mg

            task = mg.Quadratic(H, np.tile(w0, (len(etas), 1)))
            reverse = mg.Reverse(scaling=scaling, per_task=True)
            phi = mg.GradientDescent.Phi(etas)
            found = reverse(task, mg.GradientDescent(), mg.LogFinal(), phi, steps=steps)
            return found.grad.eta.to_float(out_of_range="ieee")

        return slopes

    def by_recipe(H: NDArray[Any], w0: NDArray[Any], etas: NDArray[Any], steps: int) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return np.array([recipe.slope(H, w0, eta, steps) for eta in etas])

    return {
        "metagrad, plain": engine("none"),
        "metagrad, scaled": engine("auto"),
        "paper's recipe": by_recipe,
    }


def _letter(kind: str) -> str:
    return {"right": "R", "wrong": "W", "zero": "0", "not finite": "N"}[kind]
