"""After how many steps numbers break in this dtype: in plain floats, and in the engine with its exponents.

Plain floats break where a state, an adjoint or the meta-gradient leaves the range: by theory on quadratics
(`theory.quadratic.horizons`), elsewhere where the measured sizes cross the limits, extrapolated with their rates to
20 times the horizon that was run. The engine has no limits for adjoints, nor for states where the step is homogeneous;
digits it loses as all do. With u the unit roundoff and r the rate of the tangent in decades a step,

    chaos      (log10(1/u) - c) / r   a tangent, 10^(c + r t) on its line, has grown a rounding to the size of the state
    floor      log10(1/u) / |r|       what is left to converge is below the rounding of a w that is not zero
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad import parts
from metagrad.diagnosis import known
from metagrad.diagnosis.case import Case
from metagrad.diagnosis.growth import SINCE, Rate, Sizes
from metagrad.xp import FloatInfo, float_info

_LOG10_2 = float(np.log10(2.0))


class Horizon(NamedTuple):
    """A number of steps, inf for never, what breaks then, and who says so: "theory" or "measured"."""

    steps: float
    what: str
    source: str


_FAR = 20  # horizons: no rate is believed for longer
_NEVER = Horizon(np.inf, "nothing", "measured")
_CHAOS, _FLOOR = "chaos takes the last digit", "w has converged to its last digit"


class Halves(NamedTuple):
    """log10 of the size of a number at T/2 and at T."""

    half: float
    whole: float

    @property
    def change(self) -> float:
        """How many decades the second half adds."""
        return self.whole - self.half


class Ends(NamedTuple):
    """What two runs of T/2 and T steps end with: the objective, the gradient, the largest and the least adjoint."""

    value: Halves
    gradient: Halves
    largest: Halves
    least: Halves


def plain(case: Case, dtype: Any, sizes: Sizes, state: Rate, ends: Ends) -> Horizon:
    """Return when plain floats break in the first task."""
    by_theory = known.plain_horizon(case, dtype)
    if by_theory is not None:
        return Horizon(by_theory, "the backpropagated meta-gradient leaves the range", "theory")
    info = float_info(dtype)
    found = [_crossing(sizes.state, state, info, "the state")]
    found.append(_extrapolated(ends.value, case.steps, info, "the meta-objective", 0))
    found.append(_extrapolated(ends.gradient, case.steps, info, "the meta-gradient", 1))  # a sum of t shares
    found += [_extrapolated(one, case.steps, info, "the adjoint", 0) for one in (ends.largest, ends.least)]
    return min(found, key=lambda one: one.steps)


def scaled(case: Case, dtype: Any, sizes: Sizes, rates: dict[str, Rate], regimes: tuple[str, ...]) -> Horizon:
    """Return when the engine breaks in the first task: the range of a state that is not rescaled, or digits."""
    if case.unroll().scale_state:
        return _NEVER._replace(source="theory")
    info, found, fixed = float_info(dtype), [_NEVER], not parts.is_random(case.task)
    digits, tangent, state = -np.log10(info.eps / 2), rates["tangent"].value, rates["state"]
    stays = ~((state.high < 0) & (state.value * (len(sizes.state) - 1) < -1))
    settles = (
        np.isin(regimes, ("floor", "contracting"))
        & stays
        & (rates["tangent"].high < 0)
        & (tangent * case.steps < -1)
        & fixed
    )
    if (mine := np.isin(regimes, ("chaotic",))).any():
        left = digits - _risen(sizes.tangent, tangent)[mine]
        found.append(Horizon(max(1.0, float(np.min(left / tangent[mine]))), _CHAOS, "measured"))
    if settles.any():
        found.append(Horizon(float(np.min(digits / -tangent[settles])), _FLOOR, "measured"))
    found.append(_crossing(sizes.state, state, info, "the state"))
    return min(found, key=lambda one: one.steps)


def _risen(logs: Any, slope: Any) -> Any:
    """Return by how many decades the line through the later part of each column begins above its start; at least 0."""
    tail = logs[int(SINCE["tangent"] * len(logs)) :]
    middle = len(logs) - (len(tail) + 1) / 2
    return np.maximum(0.0, np.mean(tail, axis=0) - slope * middle - logs[0])


def _limits(info: FloatInfo) -> tuple[float, float]:
    return info.min_exponent * _LOG10_2, info.max_exponent * _LOG10_2


def _crossing(logs: Any, rate: Rate, info: FloatInfo, what: str) -> Horizon:
    """Return when the first column of logs (T + 1, B) leaves the range, extrapolated beyond T with its rate."""
    low, high = _limits(info)
    out = ~((logs < high) & (logs > low) | np.isneginf(logs))
    times = np.where(out.any(axis=0), out.argmax(axis=0), np.inf)
    with np.errstate(all="ignore"):
        ahead = np.where(rate.value > 0, high - logs[-1], low - logs[-1]) / rate.value
    steady = (rate.low > 0) | (rate.high < 0)
    sure = steady & (np.abs(rate.value) * len(logs) / 2 > 1) & np.isfinite(ahead)  # less may be a transient
    each = np.minimum(times, len(logs) - 1 + np.where(sure, ahead, np.inf))
    first = int(np.argmin(each))
    if each[first] > _FAR * len(logs):
        return _NEVER
    down = rate.value[first] < 0
    return Horizon(float(each[first]), f"{what} {'underflows' if down else 'overflows'}", "measured")


def _extrapolated(halves: Halves, steps: int, info: FloatInfo, what: str, power: int) -> Horizon:
    """Return when a number t^power exp(r t) leaves the range, of which log10 is known at T/2 and T."""
    half, (low, high) = steps // 2, _limits(info)
    change = halves.change - power * np.log10(steps / half)
    if not np.isfinite(change) or abs(change) < 1:
        return _NEVER
    t = np.arange(1, _FAR * steps + 1)
    logs = halves.whole + power * np.log10(t / steps) + change / (steps - half) * (t - steps)
    out = (logs >= high) if change > 0 else (logs < low)
    verb = "overflows" if change > 0 else "underflows"
    return Horizon(float(t[out.argmax()]), f"{what} {verb}", "measured") if out.any() else _NEVER
