"""Meta gradient descent on the step size, eta <- max(floor, eta - gamma_k G'(eta)) with gamma_k = scale/sqrt(k).

The paper's recipe: with s = max_i |1 - eta lambda_i| and b_i = a_i/s the powers b_i^{2t} stay in range, and

    G'(eta) = -(2/s) sum_i c_i lambda_i^2 b_i^{2t-1} / sum_i c_i lambda_i b_i^{2t}.

Theorem. Let alpha < L, floor <= eta*, B = `bounds.global_gradient_bound`, delta_k = |eta_k - eta*|. For all k >= 1

1. |G'(eta_k)| <= B.
2. delta_{k+1} <= delta_k, or the step crosses eta* and delta_{k+1} <= gamma_k |G'(eta_k)| <= gamma_k B.
3. If the step m crosses, delta_k <= gamma_m B for every k > m.
4. 2 sum_{j<=k} gamma_j |G'(eta_j)| delta_j <= delta_1^2 + sum_{j<=k} gamma_j^2 G'(eta_j)^2.
5. delta_k -> 0.

Proof. G' has the sign of eta - eta* (F is convex and F' has one zero): a step goes towards eta*, and the projection
on [floor, inf) never moves away from it: 2. As gamma_k falls, 2 gives 3 by induction. Expanding
(eta_k - gamma_k G' - eta*)^2 and summing gives 4. For 5: while no step crosses, delta_k falls to a limit D; if D > 0,
|G'| would stay above a positive number (G' is continuous and zero only at eta*; alpha < L means F > 0), and as
sum gamma_k diverges the iterate would have crossed. After a crossing at m, 3 holds; if crossings go on for ever,
gamma_m B -> 0 gives the claim, otherwise the first case does.

From 4, min_{j<=k} |G'(eta_j)| delta_j <= (delta_1^2 + B^2 scale^2 (1 + log k)) / (4 scale (sqrt(k+1) - 1)), a rate of
log k/sqrt(k) for the gap |G'| delta, at every horizon t. `descent_holds` checks 1 to 4 on a trajectory. Observed, not
proved here: once gamma_k G''(eta*) < 1 the error falls about like exp(-2 scale G''(eta*) sqrt(k)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import (
    Floats,
    bad_value,
    check_choice,
    check_flag,
    check_kind,
    check_memory,
    check_together,
    count,
    finite_floats,
    number,
    one_horizon,
    step_counts,
)
from metagrad.theory.quadratic.bounds import global_gradient_bound
from metagrad.theory.quadratic.minimisers import minimiser
from metagrad.theory.quadratic.spectrum import Spectrum

Objective = Literal["log", "plain"]
_SMALLEST, _LARGEST = 1e-290, 1e290
_SLACK = 1e-9
"""Relative slack of the predicates: G' has that error near ties at t = 10^6."""


@dataclass(frozen=True, eq=False)
class MetaTrajectory:
    """What meta gradient descent went through: eta (..., meta_steps + 1) and gradient (..., meta_steps), in order."""

    eta: Floats
    gradient: Floats
    steps: int
    scale: float
    floor: float

    @property
    def outer_steps(self) -> Floats:
        """gamma_k = scale/sqrt(k), k = 1 .. meta_steps."""
        return np.asarray(self.scale / np.sqrt(np.arange(1, self.gradient.shape[-1] + 1)), np.float64)


def meta_descent(
    spectrum: Spectrum,
    eta0: float,
    *,
    steps: int,
    meta_steps: int,
    scale: float = 0.01,
    floor: float = 0.0,
    objective: Objective = "log",
    compiled: bool = False,
) -> MetaTrajectory:
    """Descend on G ("log") or on F ("plain", in float64 as the hardware has it) of one problem, measure "loss".

    Six NumPy calls a step; `compiled=True` runs the same loop compiled (the extra `fast`, a second to compile once).
    The relative error of a gradient is about t eps near ties. With "plain" it may be inf or
    0: an infinite step lands on the floor, or at inf and then stays NaN. With one active eigenvalue G has a pole at
    its minimiser; landing on it exactly gives NaN from there on. No active mode, or a batch, is a ValueError.

    >>> spectrum = Spectrum.diagonal([1.0, 3.0], [3.0, 1.0])
    >>> float(meta_descent(spectrum, 0.1, steps=80, meta_steps=1000).eta[-1].round(9))
    0.5
    """
    check_kind("meta_descent", "spectrum", spectrum, Spectrum)
    if spectrum.batch_shape != () or not spectrum.active.any():
        came = f"of batch shape {spectrum.batch_shape} with {np.sum(spectrum.active)} active modes"
        bad_value("meta_descent", "spectrum", came, "one problem with an active mode", "Use meta_descent_batch.")
    _check("meta_descent", meta_steps, scale, floor, objective)
    check_flag("meta_descent", "compiled", compiled)
    number("meta_descent", "eta0", eta0)
    if compiled:
        return _compiled_descent(spectrum, eta0, steps, meta_steps, scale, floor, objective)
    slope = slope_function(spectrum, int(step_counts("meta_descent", steps)), objective)
    trajectory, gradients = [float(finite_floats("meta_descent", "eta0", eta0))], []
    eta = trajectory[0]
    with np.errstate(all="ignore"):
        for outer_step in (scale / np.sqrt(np.arange(1, meta_steps + 1))).tolist():
            gradient = slope(eta)
            eta -= outer_step * gradient
            eta = max(eta, floor)
            gradients.append(gradient)
            trajectory.append(eta)
    return MetaTrajectory(np.array(trajectory, np.float64), np.array(gradients, np.float64), steps, scale, floor)


def meta_descent_batch(
    spectrum: Spectrum,
    eta0: ArrayLike,
    *,
    steps: int,
    meta_steps: int,
    scale: float = 0.01,
    floor: float = 0.0,
    objective: Objective = "log",
) -> MetaTrajectory:
    """Do the same for many problems and starts at once: eta0 broadcasts with the batch of the spectrum."""
    check_kind("meta_descent_batch", "spectrum", spectrum, Spectrum)
    if not np.all(np.any(spectrum.active, axis=-1)):
        bad_value(
            "meta_descent_batch", "spectrum", "without an active mode somewhere", "an active mode in each problem"
        )
    start = finite_floats("meta_descent_batch", "eta0", eta0)
    check_together("meta_descent_batch", spectrum=spectrum.batch_shape, eta0=start.shape)
    shape = np.broadcast_shapes(spectrum.batch_shape, start.shape)
    _check("meta_descent_batch", meta_steps, scale, floor, objective, int(np.prod(shape)))
    slope = _batch_slope(spectrum, int(step_counts("meta_descent_batch", steps)), objective)
    etas, gradients = np.empty((*shape, meta_steps + 1)), np.empty((*shape, meta_steps))
    etas[..., 0] = start
    with np.errstate(all="ignore"):
        for k in range(meta_steps):
            gradients[..., k] = slope(etas[..., k])
            etas[..., k + 1] = np.maximum(floor, etas[..., k] - scale / np.sqrt(k + 1) * gradients[..., k])
    return MetaTrajectory(etas, gradients, steps, scale, floor)


def descent_holds(spectrum: Spectrum, trajectory: MetaTrajectory) -> NDArray[np.bool_]:
    """Return, for each step (..., meta_steps), whether statements 1 to 4 of the theorem hold on a trajectory on G.

    Raises ValueError where the theorem does not apply: alpha = L, or a floor above eta*.
    """
    check_kind("descent_holds", "spectrum", spectrum, Spectrum)
    check_kind("descent_holds", "trajectory", trajectory, MetaTrajectory)
    bound = global_gradient_bound(spectrum, trajectory.steps)[..., None]
    target = minimiser(spectrum, trajectory.steps)[..., None]
    if np.any(np.isnan(bound)):
        bad_value("descent_holds", "spectrum", "with alpha = L", "two distinct active eigenvalues")
    if np.any(trajectory.floor > target):
        bad_value("descent_holds", "floor", trajectory.floor, "a floor at or below the minimiser")
    gamma, gap = trajectory.outer_steps, trajectory.eta - target
    before, after, size = np.abs(gap[..., :-1]), np.abs(gap[..., 1:]), np.abs(trajectory.gradient)
    crossed = gap[..., :-1] * gap[..., 1:] < 0
    bounded = size <= bound * (1 + _SLACK)
    rounding = _SLACK * target
    approach = after <= np.where(crossed, gamma * size, before) + rounding
    reach = np.minimum.accumulate(np.where(crossed, gamma * bound, np.inf), axis=-1)
    energy = before[..., :1] ** 2 + np.cumsum((gamma * size) ** 2, axis=-1)
    summed = 2 * np.cumsum(gamma * size * before, axis=-1) <= energy * (1 + _SLACK) + rounding**2
    return np.asarray(bounded & approach & (after <= reach + rounding) & summed)


def gap_rate(spectrum: Spectrum, trajectory: MetaTrajectory) -> Floats:
    """Return the proved bound of min_{j<=k} |G'(eta_j)| delta_j for k = 1 .. meta_steps, shape (..., meta_steps)."""
    check_kind("gap_rate", "spectrum", spectrum, Spectrum)
    check_kind("gap_rate", "trajectory", trajectory, MetaTrajectory)
    k = np.arange(1, trajectory.gradient.shape[-1] + 1)
    bound = global_gradient_bound(spectrum, trajectory.steps)[..., None]
    start = np.abs(trajectory.eta[..., :1] - minimiser(spectrum, trajectory.steps)[..., None])
    top = start**2 + (bound * trajectory.scale) ** 2 * (1 + np.log(k))
    return np.asarray(top / (4 * trajectory.scale * (np.sqrt(k + 1) - 1)), np.float64)


def _compiled_descent(
    spectrum: Spectrum, eta0: float, steps: int, meta_steps: int, scale: float, floor: float, objective: Objective
) -> MetaTrajectory:
    if objective != "log":
        bad_value("meta_descent", "objective", f"{objective!r} with compiled=True", "'log'", "Use compiled=False.")
    try:
        from metagrad.theory.quadratic._compiled import descend
    except ImportError:
        bad_value("meta_descent", "compiled", "True, but Numba is missing", "the extra 'fast'", "Or compiled=False.")
    eigenvalues, top, bottom = _sorted_weights(spectrum)
    etas, gradients = np.empty(meta_steps + 1), np.empty(meta_steps)
    etas[0] = number("meta_descent", "eta0", eta0)
    power = 2 * int(step_counts("meta_descent", steps)) - 1
    descend(eigenvalues, top, bottom, power, float(scale), float(floor), etas, gradients)
    return MetaTrajectory(etas, gradients, steps, scale, floor)


def _sorted_weights(spectrum: Spectrum, objective: Objective = "log") -> tuple[Floats, Floats, Floats]:
    """Return the active eigenvalues, ascending, with c lambda^2 and c lambda."""
    active = np.flatnonzero(spectrum.active)
    order = active[np.argsort(spectrum.eigenvalues[active])]
    eigenvalues = spectrum.eigenvalues[order]
    top, bottom = _gains(eigenvalues, spectrum.weights[order], spectrum.log_weights[order], objective)
    return eigenvalues, top, bottom


def _gains(eigenvalues: Floats, weights: Floats, log_weights: Floats, objective: Objective) -> tuple[Floats, Floats]:
    """Return c lambda^2 and c lambda; for the log objective up to a factor where they leave the range of float64."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        top, bottom = weights * eigenvalues**2, weights * eigenvalues
        sizes = np.concatenate((top, bottom), axis=-1)
        if objective == "plain" or (sizes.min() >= _SMALLEST and sizes.max() <= _LARGEST):
            return top, bottom  # the usual case, found cheaply
        sizes = np.concatenate([x[np.isfinite(log_weights)] for x in (top, bottom)])
        if np.all((sizes >= _SMALLEST) & (sizes <= _LARGEST)):
            return top, bottom
        log_bottom = log_weights + np.log(eigenvalues)
        log_top = log_bottom + np.log(eigenvalues)
        unit = np.maximum(np.max(log_bottom, axis=-1, keepdims=True), np.max(log_top, axis=-1, keepdims=True))
        return np.exp(log_top - unit), np.exp(log_bottom - unit)


def slope_function(spectrum: Spectrum, steps: int, objective: Objective = "log") -> Callable[[float], float]:
    """Return eta -> G'(eta) ("log") or F'(eta) ("plain") of one problem as a fast function of a float.

    A few microseconds a call, in plain float64: near ties and near zeros of a_i its relative error is about t eps,
    where `quadratic.d_log_objective` keeps all digits; F' may be inf or 0.

    >>> float(slope_function(Spectrum.diagonal([1.0, 3.0], [1.0, 1.0]), 100)(0.2))
    -2.5
    """
    check_kind("slope_function", "spectrum", spectrum, Spectrum)
    check_choice("slope_function", "objective", objective, ("log", "plain"))
    steps = one_horizon("slope_function", steps)
    eigenvalues, top, bottom = _sorted_weights(spectrum, objective)
    alpha, L, power = float(eigenvalues[0]), float(eigenvalues[-1]), 2.0 * steps - 1
    b, powers = np.empty_like(eigenvalues), np.empty_like(eigenvalues)

    def parts(eta: float) -> tuple[float, float]:
        at_alpha, at_L = 1 - eta * alpha, 1 - eta * L
        s = max(at_alpha, -at_alpha, at_L, -at_L) or np.nan
        np.multiply(eigenvalues, -eta / s, b)
        np.add(b, 1 / s, b)
        np.power(b, power, powers)
        return s, float(top.dot(powers))

    def log_slope(eta: float) -> float:
        s, numerator = parts(eta)
        return -2 * numerator / (s * float(bottom.dot(np.multiply(b, powers, powers))))

    def plain_slope(eta: float) -> float:
        s, numerator = parts(eta)
        return float(-steps * numerator * np.float64(s) ** power)

    return log_slope if objective == "log" else plain_slope


def _batch_slope(spectrum: Spectrum, steps: int, objective: Objective) -> Callable[[Floats], Floats]:
    weights, logs = (
        np.where(spectrum.active, x, rest) for x, rest in ((spectrum.weights, 0.0), (spectrum.log_weights, -np.inf))
    )
    eigenvalues = np.where(spectrum.active, spectrum.eigenvalues, spectrum.L[..., None])
    (top, bottom), power = _gains(eigenvalues, weights, logs, objective), 2.0 * steps - 1

    def slope(eta: Floats) -> Floats:
        a = 1 - eta[..., None] * eigenvalues
        s = np.max(np.abs(a), axis=-1)
        b = a / s[..., None]
        powers = b**power
        numerator = np.sum(top * powers, axis=-1)
        if objective == "log":
            return np.asarray(-2 * numerator / (s * np.sum(bottom * b * powers, axis=-1)), np.float64)
        return np.asarray(-steps * numerator * s**power, np.float64)

    return slope


def _check(function: str, meta_steps: int, scale: float, floor: float, objective: str, problems: int = 1) -> None:
    check_memory(
        function, "meta_steps", meta_steps, count(function, "meta_steps", meta_steps) * problems, "Go on in parts."
    )
    if number(function, "scale", scale) <= 0:
        bad_value(function, "scale", scale, "a positive number")
    if not (isinstance(floor, float) and floor == -np.inf):
        number(function, "floor", floor)
    check_choice(function, "objective", objective, ("log", "plain"))
