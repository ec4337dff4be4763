"""Theory's spectral closed form of G' against the source paper's matrix powers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import recipe
from benchmarks.harness import Contender, Timing, interleave, once
from benchmarks.problems import quadratics
from benchmarks.results import Result, Row, relative_difference
from benchmarks.settings import Settings

SUMMARY = "closed form of G' against matrix powers: d = 20, t = 80; d = 1000, t = 1000; grids of eta and t"
_MEASURED_PRODUCTS = 10


def run(settings: Settings) -> Result:
    """Compare at both sizes, over a grid and in the meta-descent that the recipe is for."""
    return Result(rows=[*_small(settings), *_descent(settings), *_grid(settings), *_large(settings)])


def _small(settings: Settings) -> list[Row]:
    from metagrad.theory import quadratic as theory
    from metagrad.theory.quadratic.meta_descent import slope_function

    d, steps, eta = 20, 80, 0.3
    H, w0 = (x[0] for x in quadratics(1, d, settings.seed))
    spectrum = theory.Spectrum.of(H, w0)
    fast = slope_function(spectrum, steps)
    contenders = [
        Contender("ours", lambda: float(theory.d_log_objective(spectrum, eta, steps))),
        Contender("ours, spectrum included", lambda: _from_scratch(H, w0, eta, steps)),
        Contender("products", lambda: recipe.slope(H, w0, eta, steps)),
        Contender("squaring", lambda: recipe.binary_slope(H, w0, eta, steps)),
        Contender("ours, fast", lambda: fast(eta)),
    ]
    ours, scratch, products, squaring, quick = interleave(contenders, settings.repetitions)
    values = [c.call() for c in contenders]
    far = [relative_difference(values[0], v) for v in values]
    what = f"G' at one eta, d = {d}, t = {steps}"
    return [
        Row(
            what,
            "slope_function, spectrum given",
            quick,
            "paper's recipe, 2t products",
            products,
            far[2],
            target=1 / 20,
        ),
        Row(what, "closed form to the last digit", ours, "paper's recipe, 2t products", products, far[2]),
        Row(what, "closed form, spectrum computed", scratch, "paper's recipe, 2t products", products, far[2]),
        Row(what, "slope_function, spectrum given", quick, "matrix powers by squaring", squaring, far[3]),
    ]


def _descent(settings: Settings) -> list[Row]:
    from metagrad.theory import quadratic as theory
    from metagrad.theory.quadratic.meta_descent import meta_descent

    d, steps, eta0, meta_steps, scale = 20, 80, 0.2, 100, 0.001
    H, w0 = (x[0] for x in quadratics(1, d, settings.seed))
    spectrum = theory.Spectrum.of(H, w0)

    def ours() -> float:
        return float(meta_descent(spectrum, eta0, steps=steps, meta_steps=meta_steps, scale=scale).eta[-1])

    def theirs() -> float:
        eta = eta0
        for k in range(1, meta_steps + 1):
            eta = max(0.0, eta - scale / k**0.5 * recipe.slope(H, w0, eta, steps))
        return eta

    cost, peer = interleave([Contender("ours", ours), Contender("recipe", theirs)], settings.repetitions)
    far = relative_difference(ours(), theirs())
    what = f"{meta_steps} meta-steps, d = {d}, t = {steps}"
    return [Row(what, "theory.meta_descent, spectrum given", cost, "paper's recipe", peer, far, target=1 / 20)]


def _grid(settings: Settings) -> list[Row]:
    from metagrad.theory import quadratic as theory

    d = 20
    etas, times = np.linspace(0.01, 0.6, 200), np.array([20, 40, 80])
    H, w0 = (x[0] for x in quadratics(1, d, settings.seed))
    points = [(float(eta), int(t)) for eta in etas for t in times]

    def ours() -> NDArray[Any]:
        return theory.d_log_objective(theory.Spectrum.of(H, w0), etas[:, None], times)

    def theirs() -> NDArray[Any]:
        return np.array([recipe.slope(H, w0, eta, t) for eta, t in points])

    cost, peer = interleave([Contender("ours", ours), Contender("recipe", theirs)], settings.repetitions)
    far = relative_difference(ours(), theirs())
    what = f"G' on a grid, {len(etas)} eta x {len(times)} t up to 80, d = {d}"
    return [Row(what, "closed form, one decomposition", cost, "paper's recipe", peer, far, 1e-7, target=1 / 20)]


def _large(settings: Settings) -> list[Row]:
    from metagrad.theory import quadratic as theory

    d, steps, eta = 1000, 1000, 0.3
    H, w0 = (x[0] for x in quadratics(1, d, settings.seed))
    spectrum = theory.Spectrum.of(H, w0)
    contenders = [
        Contender("ours", lambda: float(theory.d_log_objective(spectrum, eta, steps))),
        Contender("ours, spectrum included", lambda: _from_scratch(H, w0, eta, steps)),
    ]
    ours, scratch = interleave(contenders, min(3, settings.repetitions))
    squaring = once(Contender("squaring", lambda: recipe.binary_slope(H, w0, eta, steps)))
    products, note = _recipe_cost(H, w0, eta, steps, settings)
    far = relative_difference(contenders[0].call(), recipe.binary_slope(H, w0, eta, steps))
    what, note = f"G' at one eta, d = {d}, t = {steps}", note + "values compared with squaring"
    name = "paper's recipe, 2t products"
    return [
        Row(what, "closed form, spectrum given", ours, name, products, far, 1e-7, target=1 / 1000, note=note),
        Row(what, "closed form, spectrum computed", scratch, name, products, far, 1e-7, target=1 / 1000, note=note),
        Row(what, "closed form, spectrum computed", scratch, "matrix powers by squaring", squaring, far, 1e-7),
    ]


def _recipe_cost(H: NDArray[Any], w0: NDArray[Any], eta: float, steps: int, settings: Settings) -> tuple[Timing, str]:
    if settings.full:
        return once(Contender("recipe", lambda: recipe.slope(H, w0, eta, steps))), "recipe measured once in full; "
    start = time.perf_counter()
    A, _ = recipe.contraction(H, eta)
    eigenvalues = time.perf_counter() - start
    power = np.linalg.matrix_power(A, 3)
    (product,) = interleave([Contender("product", lambda: power @ A)], _MEASURED_PRODUCTS)
    products = product.times(2 * steps + eigenvalues / product.median)
    return products, f"recipe extrapolated: {2 * steps} times one of {_MEASURED_PRODUCTS} measured products; "


def _from_scratch(H: NDArray[Any], w0: NDArray[Any], eta: float, steps: int) -> float:
    from metagrad.theory import quadratic as theory

    return float(theory.d_log_objective(theory.Spectrum.of(H, w0), eta, steps))
