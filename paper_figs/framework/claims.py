"""What was measured for a claim, at one seed or at several: the numbers that captions and tables tell."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Claims:
    """The checks of one experiment and preset by seed, the seed that is drawn first.

    `checks[seed]` are those of its sidecar: key, what, measured, expected, holds (None: reported), interval.
    """

    name: str
    preset: str
    config: dict[str, Any]
    claim: str
    checks: dict[int, list[dict[str, Any]]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, the one that is drawn first."""
        return tuple(self.checks)

    @property
    def holds(self) -> bool:
        """Whether the claim holds at every seed."""
        return not self.failing

    @property
    def failing(self) -> dict[str, list[int]]:
        """The keys of the checks that fail, with the seeds at which they do."""
        found: dict[str, list[int]] = {}
        for seed, checks in self.checks.items():
            for check in checks:
                if check["holds"] is False:
                    found.setdefault(check["key"], []).append(seed)
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a check for tables of people: what, measured (with its range or interval), expected, holds, failing.

        `holds` is None for a number that is reported; `failing`: the seeds at which the check fails; `verdict`: both
        in words ("yes", "no, at seeds 1, 2", "reported").
        """
        first, found = self.checks[self.seeds[0]], []
        for check in first:
            failing = self.failing.get(check["key"], [])
            holds = None if check["holds"] is None else not failing
            about = {"what": check["what"], "expected": check["expected"], "holds": holds, "failing": failing}
            found.append(about | {"measured": self._shown(check), "verdict": self._verdict(holds, failing)})
        return found

    def _verdict(self, holds: bool | None, failing: list[int]) -> str:
        if holds is None:
            return "reported"
        if holds:
            return "yes"
        return "no" if len(self.seeds) == 1 else f"no, at seed{'s' * (len(failing) > 1)} {', '.join(map(str, failing))}"

    def _shown(self, check: dict[str, Any]) -> str:
        if len(self.seeds) == 1 and check["interval"]:
            low, high = check["interval"]
            return f"{check['measured']:.6g} ({low:.4g} to {high:.4g})"
        return self.told(check["key"], ".6g" if len(self.seeds) == 1 else ".4g")

    def all_measured(self, key: str) -> list[float]:
        """Return the measured values of a check, seed by seed; KeyError lists the known keys, the nearest first."""
        found = []
        for checks in self.checks.values():
            known = {check["key"]: check for check in checks}
            if key not in known:
                raise KeyError(f"{self.name}: there is no check {key!r}. Known, nearest first: {nearest(key, known)}.")
            found.append(float(known[key]["measured"]))
        return found

    def measured(self, key: str) -> float:
        """Return the measured value of a check at the first seed."""
        return self.all_measured(key)[0]

    def interval(self, key: str) -> tuple[float, float] | None:
        """Return the interval of a check at the first seed, or None where it has none; KeyError as `all_measured`."""
        self.all_measured(key)
        ends = next(check["interval"] for check in self.checks[self.seeds[0]] if check["key"] == key)
        return None if ends is None else (float(ends[0]), float(ends[1]))

    def told(self, key: str, spec: str = ".3g", of: Callable[[float], float] = float) -> str:
        """Return a measured value as text, and its range over seeds in brackets where there are several.

        `of` is taken of every value first, to change its unit.

        >>> checks = {seed: [{"key": "gain", "measured": x}] for seed, x in enumerate((0.31, 0.17, 0.4))}
        >>> Claims("invented", "quick", {}, "a claim", checks).told("gain", ".2f")
        '0.31 (0.17 to 0.40)'
        """
        values = [of(x) for x in self.all_measured(key)]
        first, low, high = (format(x, spec) for x in (values[0], min(values), max(values)))
        if lost := sum(map(math.isnan, values)):
            return f"{first} (not a number at {lost} of {len(values)} seeds)"
        return first if low == high else f"{first} ({low} to {high})"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known names as a list for a message, those most like `name` first."""
    return ", ".join(sorted(known, key=lambda one: -difflib.SequenceMatcher(None, name, one).ratio())) or "none"
