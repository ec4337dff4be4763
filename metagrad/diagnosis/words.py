"""The findings of a diagnosis in plain words, each with what to change; the serious ones come first."""

from __future__ import annotations

from collections import Counter

import numpy as np

from metagrad.diagnosis.bias import Bias
from metagrad.diagnosis.growth import Rate
from metagrad.diagnosis.horizons import Horizon
from metagrad.diagnosis.reach import USELESS
from metagrad.diagnosis.report import Diagnosis, Finding
from metagrad.errors import Status

_CHANGE = {
    "exploding": "Take a smaller step size, or fewer steps.",
    "chaotic": "Shorten the horizon or the windows, or smooth the objective over phi (evolution strategies).",
    "floor": "Take fewer steps, LogExcess(), a wider dtype, or task.centred() on least squares.",
}
_SERIOUS = ("exploding", "chaotic", "floor")
_MANY = 100.0  # times the full gradient: beyond that, decades say more


def findings(d: Diagnosis) -> tuple[Finding, ...]:
    """Return one finding a topic, the serious ones first."""
    topics = (_status, _regime, _rates, _trend, _plain, _scaled, _digits, _reach, _bias, _memory, _time, _validation)
    found = [topic(d) for topic in topics]
    return tuple(sorted(found, key=lambda one: not one.serious))


def _status(d: Diagnosis) -> Finding:
    codes = Counter(int(code) for code in d.status if code)
    if not codes:
        return Finding("status", False, Status.OK.message, "")
    said = [f"{Status.from_code(code).name} on {_of(n, len(d.status))}" for code, n in codes.items()]
    worst = Status.from_code(codes.most_common(1)[0][0])
    change = _AGAINST_CHAOS if worst.name.endswith("_ROUNDING") and "chaotic" in d.regimes else worst.message
    return Finding("status", True, "; ".join(said), f"{change[0].upper()}{change[1:]}.")


def _regime(d: Diagnosis) -> Finding:
    counts = Counter(d.regimes).most_common()
    said = ", ".join(f"{name} on {_of(n, len(d.regimes))}" for name, n in counts) if len(counts) > 1 else d.regimes[0]
    worst = next((name for name in _SERIOUS if name in d.regimes), "")
    found = f"{said}: {_meaning(worst or counts[0][0])}"
    if not worst and d.useful is not None:
        found += "; the reach says more"
    return Finding("regime", bool(worst), found, _CHANGE.get(worst, ""))


def _meaning(regime: str) -> str:
    return {
        "exploding": "the state grows without bound",
        "chaotic": "the state stays bounded while neighbouring runs part exponentially",
        "floor": "w has converged to its last digits, and what is left is rounding",
        "contracting": "neighbouring runs meet",
        "neutral": "neighbouring runs neither part nor meet at a rate that can be told from 0",
    }[regime]


def _rates(d: Diagnosis) -> Finding:
    said = [f"{name} {_rate(getattr(d, name))}" for name in ("state", "adjoint", "tangent")]
    lyapunov = float(np.nanmax(d.tangent.value)) * np.log(10) if np.isfinite(d.tangent.value).any() else np.nan
    found = f"{', '.join(said)}; largest Lyapunov number {lyapunov:.3g} a step"
    return Finding("decades a step", False, found, "")


def _rate(rate: Rate) -> str:
    """Return the rate of the task in which it is largest, with its interval."""
    if not np.isfinite(rate.value).any():
        return "unknown"
    b = int(np.nanargmax(rate.value))
    return f"{rate.value[b]:+.3g} [{rate.low[b]:+.3g}, {rate.high[b]:+.3g}]"


def _trend(d: Diagnosis) -> Finding:
    sizes = f"10^{d.gradient.half:.1f} at {max(1, d.steps // 2)} steps, 10^{d.gradient.whole:.1f} at {d.steps}"
    change = {
        "steady": "",
        "vanishing": "Take LogFinal() or MeanLog(), whose gradients do not shrink with the objective; see the floor "
        "first where there is one.",
        "exploding": _AGAINST_EXPLOSION,
        "no number": "See the status. scaling='auto' and diverged='skip' help where tasks leave the range.",
    }[d.trend]
    if d.trend == "exploding" and _is_wild(d):
        change = _AGAINST_CHAOS
    return Finding("meta-gradient", d.trend != "steady", f"{d.trend}, its size {sizes}", change)


_AGAINST_EXPLOSION = "Take LogFinal() or MeanLog(), whose gradients stay bounded, or a smaller step size."
_AGAINST_CHAOS = "Shorten the horizon or the windows, or smooth the objective over phi (evolution strategies)."


def _is_wild(d: Diagnosis) -> bool:
    """Whether it is chaos that makes the meta-gradient large: its size tells nothing of the objective then."""
    return "exploding" not in d.regimes and ("chaotic" in d.regimes or d.useful is not None)


def _plain(d: Diagnosis) -> Finding:
    breaks = d.plain.steps <= d.steps
    change = "Keep scaling='auto', which the engine takes by default." if breaks else ""
    return Finding("plain floats", False, _breaks(d.plain, d.dtype), change)


def _scaled(d: Diagnosis) -> Finding:
    breaks = d.scaled.steps <= d.steps
    change = f"Take fewer than {d.scaled.steps:.0f} steps, or a wider dtype." if breaks else ""
    return Finding("the engine", breaks, _breaks(d.scaled, d.dtype), change)


def _breaks(horizon: Horizon, dtype: str) -> str:
    if np.isinf(horizon.steps):
        return f"no horizon is known at which {dtype} breaks"
    return f"{horizon.what} in {dtype} at about step {horizon.steps:.0f} ({horizon.source})"


def _digits(d: Diagnosis) -> Finding:
    assert d.digits.gradient is not None
    value, gradient = (int(np.floor(np.min(x))) for x in (d.digits.value, d.digits.gradient))
    few = min(value, gradient) < 1
    change = "Take a shorter horizon; ask with dtype='float64' whether a wider dtype helps." if few else ""
    return Finding("digits", few, f"{value} of the value, {gradient} of the meta-gradient, in the worst task", change)


def _reach(d: Diagnosis) -> Finding:
    if np.isnan(d.reach):
        return Finding("reach", False, "unknown: the meta-gradient moves the objective by less than its rounding", "")
    found = f"the meta-gradient predicts relative changes of phi up to {d.reach:.1g}"
    if d.reach == 0:
        found = f"the meta-gradient predicts no change of phi that {d.dtype} can resolve"
    if d.useful is None:
        return Finding("reach", False, found, "")
    change = f"Take at most about {d.useful} steps, or a smoothed gradient (evolution strategies)."
    found += f": less than {USELESS:g}, so that an outer step of ordinary size goes astray, however exact it is"
    return Finding("reach", True, found, change)


def _bias(d: Diagnosis) -> Finding:
    said = "; ".join(_one_bias(one) for one in d.biases)
    if d.useful is not None:
        return Finding("bias", False, f"{said}; all against a full gradient that is of no use itself", "")
    wrong = [one.name for one in d.biases if one.cosine < 0]
    change = f"Do not descend along {' or '.join(wrong)}: it points away from the full gradient." if wrong else ""
    return Finding("bias", bool(wrong), said, change)


def _one_bias(one: Bias) -> str:
    if np.isnan(one.cosine):
        return f"{one.name} unknown"
    sign = "" if one.cosine > 0 else ", of the opposite direction" if one.cosine < 0 else ", orthogonal"
    if one.relative < _MANY:
        return f"{one.name} {_percent(one.relative)} off{sign}"
    return f"{one.name} 10^{one.log10_ratio:.1f} times the size{sign}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _memory(d: Diagnosis) -> Finding:
    said = [f"{name} {_bytes(plan.peak_bytes)}" for name, plan in d.cost.plans]
    last = d.cost.plans[-1][1]
    times = last.recomputations
    again = f" with each step redone {'once' if times == 1 else f'{times} times'}" if times else ""
    found = f"{_bytes(d.cost.state_bytes)} a state; {', '.join(said)}{again}"
    return Finding("memory", False, found, "Give memory=... to keep fewer states; the bits are the same.")


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _time(d: Diagnosis) -> Finding:
    micro = 1e6 * d.cost.seconds
    spent = f"{micro:.3g} microseconds" if micro < 1000 else f"{micro / 1000:.3g} milliseconds"
    found = f"{spent} a step, forwards and backwards, by {d.cost.kernel}"
    return Finding("time", False, found, "")


def _validation(d: Diagnosis) -> Finding:
    v, topic = d.validation, "validation objective"
    if v.verdict == "used":
        return Finding(topic, False, v.why, "")
    if v.verdict == "unknown":
        return Finding(topic, False, f"unknown: {v.why}", "")
    found = f"train-by-validation {_VERDICTS[v.verdict]} for {v.why}"
    if not np.isnan(v.train_risk):
        found += f", risk {v.validation_risk:.3g} against {v.train_risk:.3g} of the signal"
    if not np.isnan(v.boundary):
        found += f"; the boundary is near n/d = {v.boundary:.3g}"
    change = 'Split the samples (split_task) and take Final("validation").' if v.verdict == "yes" else ""
    return Finding(topic, v.verdict == "yes", found, change)


_VERDICTS = {"yes": "wins", "no": "does not win", "close": "is as good as train-by-train"}


def _of(count: int, total: int) -> str:
    return f"{count} of {total} tasks"
