"""What train-by-train and train-by-validation choose with many inputs, what they reach, and where each wins.

In the limit d/n -> gamma of `proportional_limit`, after t steps,

    train-by-train       eta_TbT = argmin T(eta; gamma), run on all n samples: risk R(eta_TbT; gamma)
    train-by-validation  eta_TbV = argmin R(eta; gamma_1), gamma_1 = gamma/split: tuned on split n of the samples and
                         judged on the others; run on those split n samples (retrain=False), or on all n
                         (retrain=True, as the paper tests it)

eta_TbT is the root of `minimiser`, as T is a convex quadratic's loss; as t grows it tends to 1/(1 + gamma), where the
noise is fitted: R -> sigma^2 gamma/(1 - gamma) for gamma < 1, signal (1 - 1/gamma) + sigma^2/(gamma - 1) for gamma > 1.
R(eta) can have several local minima, one of them behind an exponentially flat plateau: eta_TbV is found by the sign of
R' on a grid over five decades and more, then by bisection in each bracket. The size of the validation set is not
modelled: the average of the validation loss does not depend on it.

`steps` is one horizon; the other arguments broadcast. `ratio` is n/d = 1/gamma, samples per input. Source: Wang et al.
2021, section 4 (both ways to tune, and the theorems below as recalled); curves and boundary derived, checked by tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.least_squares import marchenko_pastur
from metagrad.theory.least_squares.checks import checked_level, checked_ratio
from metagrad.theory.least_squares.proportional_limit import d_risk_parts, one_horizon, risk, risk_gain, train_spectrum
from metagrad.theory.numbers.checks import Floats, bad_value, check_flag, check_kind, count, finite_floats, number
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic.minimisers import minimiser

_GRID = 160
_HALVINGS = 54


@dataclass(frozen=True)
class Tuning:
    """How train-by-validation splits: the part `split` trains, the rest judges; `retrain` runs on all n at the end."""

    split: float = 0.5
    retrain: bool = False

    def __post_init__(self) -> None:
        """Refuse a split that leaves an empty part."""
        number("Tuning", "split", self.split)
        check_flag("Tuning", "retrain", self.retrain)
        if not 0 < self.split < 1:
            bad_value("Tuning", "split", self.split, "a number between 0 and 1", "Both parts need samples.")


def tuning_of(function: str, tuning: Tuning | None) -> Tuning:
    """Return how to tune, by default a half split; TypeError for anything else."""
    if tuning is None:
        return Tuning()
    check_kind(function, "tuning", tuning, Tuning)
    return tuning


def step_size_tbt(steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> Floats:
    """Return eta_TbT, the minimiser of the train loss T; NaN where sigma = signal = 0.

    >>> float(step_size_tbt(1000, gamma=0.5, sigma=1.0).round(3))
    0.666
    """
    return minimiser(train_spectrum(steps, gamma=gamma, sigma=sigma, signal=signal), steps)


def step_size_tbv(steps: int, *, gamma: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> Floats:
    """Return eta_TbV, the global minimiser over eta > 0 of the risk R at `gamma` = d/(samples trained on).

    ValueError unless signal > 0: without a signal the risk rises from eta = 0 on.

    >>> float(step_size_tbv(1, gamma=0.5, sigma=0.0).round(12))
    0.666666666667
    """
    steps = one_horizon("step_size_tbv", steps)
    strength = checked_level("step_size_tbv", "signal", signal)
    if np.any(strength == 0):
        bad_value("step_size_tbv", "signal", 0.0, "a number above 0", "There is nothing to learn.")
    noise = checked_level("step_size_tbv", "sigma", sigma)
    points = np.broadcast_arrays(checked_ratio("step_size_tbv", gamma), noise**2, strength)
    shape = points[0].shape
    if points[0].size == 0:
        return np.zeros(shape)
    ratio, variance, power = (x.ravel() for x in points)
    owner, low, high = _brackets(steps, ratio, variance, power)
    at = ratio[owner], variance[owner], power[owner]
    for _ in range(_HALVINGS):
        middle = np.sqrt(low) * np.sqrt(high)
        falls = _slope_sign(steps, middle, *at) < 0
        low, high = np.where(falls, middle, low), np.where(falls, high, middle)
    eta = np.sqrt(low) * np.sqrt(high)
    value = risk(eta, steps, gamma=at[0], sigma=np.sqrt(at[1]), signal=at[2]).log
    order = np.lexsort((eta, value, owner))  # the lowest risk first; of equal ones the smallest step size
    first = order[np.unique(owner[order], return_index=True)[1]]
    return np.asarray(eta[first].reshape(shape), np.float64)


def reached_tbt(steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> SignedLog:
    """Return the risk that train-by-train reaches with n/d = `ratio`, at any size: without noise it has none."""
    gamma = _gamma("reached_tbt", ratio)
    eta = step_size_tbt(steps, gamma=gamma, sigma=sigma, signal=signal)
    return risk(eta, steps, gamma=gamma, sigma=sigma, signal=signal)


def reached_tbv(
    steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0, tuning: Tuning | None = None
) -> SignedLog:
    """Return the risk that train-by-validation reaches with n/d = `ratio`; `tuning` is a half split by default."""
    eta, gamma = _run_of_tbv("reached_tbv", steps, ratio, sigma, signal, tuning)
    return risk(eta, steps, gamma=gamma, sigma=sigma, signal=signal)


def risk_tbt(steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0) -> Floats:
    """Return `reached_tbt` as floats; OverflowError where it leaves their range."""
    return reached_tbt(steps, ratio=ratio, sigma=sigma, signal=signal).to_float()


def risk_tbv(
    steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0, tuning: Tuning | None = None
) -> Floats:
    """Return `reached_tbv` as floats; OverflowError where it leaves their range."""
    return reached_tbv(steps, ratio=ratio, sigma=sigma, signal=signal, tuning=tuning).to_float()


def gain_tbv(
    steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0, tuning: Tuning | None = None
) -> Floats:
    """Return signal - R_TbV, what train-by-validation gains over w = 0, to full accuracy also where it is small."""
    eta, gamma = _run_of_tbv("gain_tbv", steps, ratio, sigma, signal, tuning)
    return risk_gain(eta, steps, gamma=gamma, sigma=sigma, signal=signal).to_float()


def advantage(
    steps: int, *, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike = 1.0, tuning: Tuning | None = None
) -> Floats:
    """Return R_TbT - R_TbV: above 0 where train-by-validation wins; below the range of floats 0 or subnormal."""
    return _advantage(steps, ratio, sigma, signal, tuning).to_float(ieee=True)


def boundary(
    steps: int,
    *,
    sigma: ArrayLike,
    signal: float = 1.0,
    tuning: Tuning | None = None,
    span: tuple[float, float] = (0.05, 1000.0),
    points: int = 96,
) -> list[Floats]:
    """Return, for each sigma (k,), the values of n/d in `span` at which both ways reach the same risk, ascending.

    Sign changes of `advantage` on `points` ratios, evenly spaced in their logarithm, refined by bisection to 1e-12
    relative. An empty array: no crossing on that grid (a band narrower than its spacing is not seen). ValueError
    unless 0 < span[0] < span[1] and points >= 2.
    """
    levels = np.atleast_1d(checked_level("boundary", "sigma", sigma))
    if levels.ndim > 1:
        bad_value("boundary", "sigma", f"of shape {levels.shape}", "shape (k,)")
    if checked_level("boundary", "signal", signal).ndim:
        bad_value("boundary", "signal", f"of shape {np.shape(signal)}", "one number")
    ends, size = finite_floats("boundary", "span", span), count("boundary", "points", points, smallest=0)
    if ends.shape != (2,) or not (0 < ends[0] < ends[1] and size >= 2):
        bad_value("boundary", "span and points", (span, points), "0 < span[0] < span[1] and at least 2 points")
    ratios = np.geomspace(float(ends[0]), float(ends[1]), size)

    def wins(ratio: Floats, level: Floats) -> NDArray[np.bool_]:
        return np.asarray(_advantage(steps, ratio, level, signal, tuning).sign > 0)

    won = wins(ratios[:, None], levels)
    row, column = np.nonzero(won[1:] != won[:-1])
    low, high, below = ratios[row], ratios[row + 1], won[row, column]
    for _ in range(40 if len(row) else 0):
        middle = np.sqrt(low) * np.sqrt(high)
        same = wins(middle, levels[column]) == below
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return [np.sort(np.sqrt(low * high)[column == k]) for k in range(len(levels))]


def _advantage(steps: int, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike, tuning: Tuning | None) -> SignedLog:
    tbt = reached_tbt(steps, ratio=ratio, sigma=sigma, signal=signal)
    return tbt + -reached_tbv(steps, ratio=ratio, sigma=sigma, signal=signal, tuning=tuning)


def _run_of_tbv(
    function: str, steps: int, ratio: ArrayLike, sigma: ArrayLike, signal: ArrayLike, tuning: Tuning | None
) -> tuple[Floats, Floats]:
    """Return eta_TbV, and the d/n on which train-by-validation runs with it."""
    how, gamma = tuning_of(function, tuning), _gamma(function, ratio)
    eta = step_size_tbv(steps, gamma=gamma / how.split, sigma=sigma, signal=signal)
    return eta, gamma if how.retrain else gamma / how.split


def _brackets(steps: int, ratio: Floats, variance: Floats, power: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return all cells [low, high] of a grid in which R' turns from - to +, each with the point that it belongs to."""
    owners, lows, highs = [], [], []
    for gamma in np.unique(ratio):  # B' and C' of R' = signal B' + sigma^2 C' depend on gamma alone
        mine = np.flatnonzero(ratio == gamma)
        grid = _grid(steps, gamma, float(np.max(variance[mine] / power[mine])))
        bias, fitted = d_risk_parts(grid, steps, gamma=gamma)
        slope = (bias * power[mine, None] + fitted * variance[mine, None]).sign
        which, cell = np.nonzero((slope[:, :-1] < 0) & (slope[:, 1:] >= 0))
        owners.append(mine[which])
        lows.append(grid[cell])
        highs.append(grid[cell + 1])
    return np.concatenate(owners), np.concatenate(lows), np.concatenate(highs)


def _grid(steps: int, gamma: float, noise_to_signal: float) -> Floats:
    """Return step sizes from below which R' < 0 for certain to 4/s_+, evenly in eta and in log eta.

    For eta s_+ <= 1/(2t) the bias falls at a rate of at least 2t signal/4, and the fitted noise rises at a rate of at
    most 2t sigma^2 gamma eta t.
    """
    top = float(marchenko_pastur.edges(gamma)[1])
    low = 1 / (2 * steps * top)
    if noise_to_signal > 0:
        low = min(low, 1 / (4 * noise_to_signal * gamma * steps))
    return np.unique(np.concatenate([np.geomspace(low, 4 / top, _GRID), np.linspace(low, 4 / top, _GRID)]))


def _slope_sign(steps: int, eta: Floats, gamma: Floats, variance: Floats, power: Floats) -> Floats:
    """Return the sign of R' at points (k,)."""
    bias, fitted = d_risk_parts(eta, steps, gamma=gamma)
    return (bias * power + fitted * variance).sign


def _gamma(function: str, ratio: ArrayLike) -> Floats:
    samples = finite_floats(function, "ratio", ratio)
    if np.any(samples <= 0):
        bad_value(function, "ratio", f"{samples.min():.6g}", "n/d > 0")
    return np.asarray(1 / samples, np.float64)
