"""At which horizon backpropagation through gradient descent leaves the range of a float type.

Mode i has the state w_i a_i^k, |w_i| = sqrt(c_i), a_i = 1 - eta lambda_i. Backward from F = f(w_t) the adjoint is
v_k = (I - eta H)^{t-k} H w_t, of size lambda_i |w_i| |a_i|^{2t-k}, and the share of step k is -v_{k+1}'H w_k =
-c_i lambda_i^2 a_i^{2t-1}, the same for every k. Backward from G it is v_k/(t F): where the iteration contracts, the
state is mu^k and the adjoint mu^{-k}.

    state          sqrt(c_i) |a_i|^t                      `state_horizon`
    F              c_i lambda_i |a_i|^{2t} / 2            `loss_horizon`
    F'             t c_i lambda_i^2 |a_i|^{2t-1}          `gradient_horizon` (and v_1)
    t F            t c_i lambda_i |a_i|^{2t} / 2          `log_gradient_horizon`: the divisor in G'
    v_t/(t F)      2 / (t sqrt(c_i) |a_i|^t)              `log_adjoint_horizon`

Where some mode expands, the first mode to overflow decides; where all contract, the last one to underflow. An
overflow is one horizon. An underflow is an interval: digits are lost from the smallest normal number on, and all at
half of the smallest subnormal one. Only active modes count, and a mode with |a_i| = 1 stays for ever. What comes out
past the horizon of G' is NaN (contracting: F = 0), or 0 without any NaN (expanding: t F = inf). Derived; checked by
tests against plain arithmetic in each float type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, check_together, count, finite_floats, number
from metagrad.theory.numbers.modes import Factors
from metagrad.theory.quadratic.spectrum import Spectrum, log_eigenvalues


@dataclass(frozen=True)
class FloatRange:
    """The range of a binary float type: largest finite, smallest normal and subnormal number, and spacing at 1.

    >>> FloatRange.from_bits("float16", 5, 10).max
    65504.0
    """

    name: str
    max: float
    tiny: float
    smallest_subnormal: float
    eps: float

    def __post_init__(self) -> None:
        """Validate."""
        check_kind("FloatRange", "name", self.name, str)
        for name in ("max", "tiny", "smallest_subnormal", "eps"):
            if not number("FloatRange", name, getattr(self, name)) > 0:
                bad_value("FloatRange", name, getattr(self, name), "a number above 0")

    @classmethod
    def from_bits(cls, name: str, exponent_bits: int, mantissa_bits: int) -> FloatRange:
        """Return the range of the IEEE 754 pattern: bias 2^{e-1} - 1, subnormals, one exponent for inf and NaN."""
        for argument, bits in (("exponent_bits", exponent_bits), ("mantissa_bits", mantissa_bits)):
            count("FloatRange.from_bits", argument, bits)
        if exponent_bits > 11 or mantissa_bits > 52:
            came = f"{exponent_bits} with mantissa_bits {mantissa_bits}"
            bad_value("FloatRange.from_bits", "exponent_bits", came, "at most the 11 and 52 of float64")
        bias, eps = 2 ** (exponent_bits - 1) - 1, 2.0**-mantissa_bits
        tiny = 2.0 ** (1 - bias)
        return cls(name, (2.0 - eps) * 2.0**bias, tiny, tiny * eps, eps)


FLOAT16 = FloatRange.from_bits("float16", 5, 10)
BFLOAT16 = FloatRange.from_bits("bfloat16", 8, 7)
FLOAT32 = FloatRange.from_bits("float32", 8, 23)
FLOAT64 = FloatRange.from_bits("float64", 11, 52)
_DOUBLINGS = 64
RANGES = {each.name: each for each in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}


class Horizon(NamedTuple):
    """Numbers of steps: intact before `earliest`, broken from `latest` on; equal for an overflow, inf for never."""

    earliest: Floats
    latest: Floats


def state_horizon(spectrum: Spectrum, eta: ArrayLike, number: FloatRange) -> Horizon:
    """Return when the state w_t leaves the range; the shape is that of eta with the batch.

    The step eta H w inside of w - eta H w is (1 + mu)/mu times larger than w_t and may overflow one step before it.

    >>> state_horizon(Spectrum.diagonal([1.0], [1.0]), [0.5, 3.0], FLOAT16)
    Horizon(earliest=array([14., 16.]), latest=array([25., 16.]))
    """
    check_kind("state_horizon", "spectrum", spectrum, Spectrum)
    check_kind("state_horizon", "number", number, FloatRange)
    log_w, _, log_a, active = _modes(spectrum, eta)
    return _horizon(log_w, log_a, 0, number, active)


def loss_horizon(spectrum: Spectrum, eta: ArrayLike, number: FloatRange) -> Horizon:
    """Return when F = f(w_t) leaves the range; w'Hw, before it is halved, may overflow one step earlier."""
    check_kind("loss_horizon", "spectrum", spectrum, Spectrum)
    check_kind("loss_horizon", "number", number, FloatRange)
    log_w, log_lambda, log_a, active = _modes(spectrum, eta)
    return _horizon(2 * log_w + log_lambda - np.log(2.0), 2 * log_a, 0, number, active)


def gradient_horizon(spectrum: Spectrum, eta: ArrayLike, number: FloatRange) -> Horizon:
    """Return when F' by backpropagation leaves the range: its sum over the steps or, if earlier, the adjoint v_1.

    What underflows is each step's share. Where lambda > mu, the product H v inside of v - eta H v may overflow one
    step before the prediction.
    """
    check_kind("gradient_horizon", "spectrum", spectrum, Spectrum)
    check_kind("gradient_horizon", "number", number, FloatRange)
    log_w, log_lambda, log_a, active = _modes(spectrum, eta)
    adjoint = log_lambda + log_w - np.where(np.isneginf(log_a), 0.0, log_a)
    total = _horizon(adjoint + log_lambda + log_w, 2 * log_a, 1, number, active)
    first = _horizon(adjoint, 2 * log_a, 0, number, active)
    earliest = np.minimum(total.earliest, first.earliest)
    expands = np.any(active & (log_a > 0), axis=-1)
    return Horizon(earliest, np.where(expands, earliest, total.latest))


def log_gradient_horizon(spectrum: Spectrum, eta: ArrayLike, number: FloatRange) -> Horizon:
    """Return when G' by backpropagation breaks: F underflows, or its divisor t F overflows.

    An implementation that divides by t and by F in turn breaks at `loss_horizon` instead.
    """
    check_kind("log_gradient_horizon", "spectrum", spectrum, Spectrum)
    check_kind("log_gradient_horizon", "number", number, FloatRange)
    log_w, log_lambda, log_a, active = _modes(spectrum, eta)
    return _horizon(2 * log_w + log_lambda - np.log(2.0), 2 * log_a, 1, number, active)


def log_adjoint_horizon(spectrum: Spectrum, eta: ArrayLike, number: FloatRange) -> Floats:
    """Return the t at which the adjoint of G at w_t, about 2/(t sqrt(c_i) mu^t), overflows; inf unless mu < 1.

    F has underflowed at about half of this horizon: it is what remains to break once F is kept in range.
    """
    check_kind("log_adjoint_horizon", "spectrum", spectrum, Spectrum)
    check_kind("log_adjoint_horizon", "number", number, FloatRange)
    log_w, _, log_a, active = _modes(spectrum, eta)
    slowest = np.argmax(np.where(active, log_a, -np.inf), axis=-1)[..., None]
    log_w, log_mu = (np.take_along_axis(np.broadcast_to(x, log_a.shape), slowest, -1)[..., 0] for x in (log_w, log_a))
    return np.where(log_mu < 0, _first_overflow(np.log(2.0) - log_w, -log_mu, -1, number), np.inf)


def stagnation_floor(step: ArrayLike, number: FloatRange) -> Floats:
    """Return the |w| at which w <- w - h w gets stuck in round to nearest, h = eta lambda in (0, 2).

    w = k m_s stays (h <= 1) or flips its sign for ever (h > 1) for k up to the largest integer with
    k min(h, 2 - h) <= 1/2, because the rest rounds away: a spurious floor k m_s, where m_s is the smallest subnormal
    number. 0 where the iteration reaches 0; NaN outside of (0, 2).
    """
    check_kind("stagnation_floor", "number", number, FloatRange)
    h = finite_floats("stagnation_floor", "step", step)
    with np.errstate(divide="ignore", invalid="ignore"):
        k = np.floor(0.5 / np.minimum(h, 2 - h))
    return np.asarray(np.where((h > 0) & (h < 2), k * number.smallest_subnormal, np.nan), np.float64)


def _modes(spectrum: Spectrum, eta: ArrayLike) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return log|w_0i|, log lambda_i, log|a_i| and which modes are active, each (..., d)."""
    step_size = finite_floats("horizons", "eta", eta)
    check_together("horizons", spectrum=spectrum.batch_shape, eta=step_size.shape)
    log_a = Factors.of(step_size[..., None], spectrum.eigenvalues).log
    return spectrum.log_weights / 2, log_eigenvalues(spectrum), log_a, np.broadcast_to(spectrum.active, log_a.shape)


def _horizon(
    log_start: Floats, log_rate: Floats, t_power: int, number: FloatRange, active: NDArray[np.bool_]
) -> Horizon:
    """Return when t^{t_power} exp(log_start + t log_rate) leaves the range; a single step's share underflows."""
    expands = np.any(active & (log_rate > 0), axis=-1)
    overflow = np.min(np.where(active, _first_overflow(log_start, log_rate, t_power, number), np.inf), axis=-1)
    lost, gone = (
        np.max(np.where(active, _crossing(log_start, log_rate, limit), -np.inf), axis=-1)
        for limit in (np.log(number.tiny), np.log(number.smallest_subnormal) - np.log(2.0))
    )
    return Horizon(np.where(expands, overflow, lost), np.where(expands, overflow, gone))


def _crossing(log_start: Floats, log_rate: Floats, limit: float) -> Floats:
    """Return the real t >= 0 at which log_start + t log_rate falls to the limit; inf where it does not fall."""
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.maximum((limit - log_start) / log_rate, 0.0)
    return np.asarray(np.where(log_rate < 0, crossing, np.inf), np.float64)


def _first_overflow(log_start: Floats, log_rate: Floats, t_power: int, number: FloatRange) -> Floats:
    """Return the smallest t >= 1 with t^{t_power} exp(log_start + t log_rate) >= max; inf where log_rate <= 0."""

    def overflows(t: Floats) -> NDArray[np.bool_]:
        return np.asarray(log_start + t * log_rate + t_power * np.log(t) >= np.log(number.max))

    low, high = np.zeros_like(log_rate + log_start), np.ones_like(log_rate + log_start)
    for _ in range(_DOUBLINGS):
        within = ~overflows(high)
        low, high = np.where(within, high, low), np.where(within, 2 * high, high)
    for _ in range(_DOUBLINGS):
        middle = np.maximum(np.floor((low + high) / 2), 1.0)
        above = overflows(middle)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(np.where((log_rate > 0) & overflows(high), high, np.inf), np.float64)
