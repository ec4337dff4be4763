"""Many cases, what became of them, and a table of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.fuzz.cases import Case, snippet
from tests.fuzz.draw import case_of
from tests.fuzz.judge import OUTCOMES, RAISED, UNSAID, WRONG, Verdict, judge
from tests.fuzz.shrink import shrunk

FAILURES = (WRONG, UNSAID, RAISED)


@dataclass(frozen=True)
class Failure:
    """A case that failed, and where it comes from."""

    seed: int
    index: int
    case: Case
    verdict: Verdict

    def smaller(self) -> Failure:
        """Return the smallest case found that fails in the same way."""
        case = shrunk(self.case, lambda one: judge(one).outcome == self.verdict.outcome)
        return Failure(self.seed, self.index, case, judge(case))

    def told(self) -> str:
        """Return the Python that asks for it, and what is right."""
        one = self.verdict.worst
        about = f"# case {self.index} of seed {self.seed}: {self.verdict.outcome}, {self.verdict.said}"
        if one is None:
            return f"{about}\n{snippet(self.case)}"
        right = f"# {one.name}: {one.found}, right {one.right} (off by {one.error:.2g}, allowed {one.allowed:.2g})"
        return f"{about}\n{right}\n{snippet(self.case)}"


@dataclass
class Found:
    """How many cases of a family had an outcome, the failures, and the seconds that all of it took."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    coarse: list[Failure] = field(default_factory=list)
    seconds: float = 0.0


def campaign(seed: int, indices: Iterable[int], longest: int) -> Found:
    """Run the cases and count."""
    found, begun = Found(), time.perf_counter()
    for index in indices:
        case = case_of(seed, index, longest)
        verdict = judge(case)
        found.counts[case.family, verdict.outcome] += 1
        if verdict.outcome in FAILURES:
            found.failures.append(Failure(seed, index, case, verdict))
        elif verdict.outcome in ("coarse",):
            found.coarse.append(Failure(seed, index, case, verdict))
    found.seconds = time.perf_counter() - begun
    return found


def table(found: Found) -> str:
    """Return families by outcomes."""
    families = sorted({family for family, _ in found.counts})
    lines = [f"{'':32s}" + "".join(f"{o:>10s}" for o in OUTCOMES)]
    for family in [*families, "all"]:
        row = [
            sum(n for (f, o), n in found.counts.items() if o == outcome and family in (f, "all"))
            for outcome in OUTCOMES
        ]
        lines.append(f"{family:32s}" + "".join(f"{n or '':>10}" for n in row))
    listed = ", ".join(f"{one.index} {one.verdict.outcome}" for one in [*found.failures, *found.coarse])
    return "\n".join([*lines, f"{found.seconds:.0f} s; {listed or 'none'}"])
