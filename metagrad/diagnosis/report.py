"""What a diagnosis found: numbers, one sentence each with what to change, and a figure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metagrad import files
from metagrad.diagnosis import figure
from metagrad.diagnosis.bias import Bias
from metagrad.diagnosis.cost import Cost
from metagrad.diagnosis.growth import Rate, Sizes
from metagrad.diagnosis.horizons import Halves, Horizon
from metagrad.diagnosis.known import Validation
from metagrad.errors import bad_value
from metagrad.protocols import Digits


class Finding(NamedTuple):
    """One thing that was looked at: `topic`, whether it is `serious`, what was found, and what to change."""

    topic: str
    serious: bool
    found: str
    change: str


@dataclass(frozen=True)
class Diagnosis:
    """The numbers of `diagnose`; `str` puts them in words.

    `about`: what was run. `regimes`: a word a task (`diagnosis.regimes`). `state`, `adjoint`, `tangent`: growth in
    decades a step, task by task, forwards, backwards, and of a random tangent with phi held (the Lyapunov number over
    log 10). `trend` and `gradient`: what the meta-gradient does as the horizon grows, log10 of its size at T/2 and T.
    `plain`, `scaled`: the horizons at which plain floats and the engine break. `digits` of value and meta-gradient.
    `reach`: the largest relative change of phi that the meta-gradient predicts; `useful` the horizon up to which it
    predicts one of 0.001, where that is less than T. `biases`, `cost`, `validation`: see their types. `status`: a code
    a task (`Status.from_code`). `findings`: sentences, the serious ones first.
    """

    about: str
    steps: int
    dtype: str
    regimes: tuple[str, ...]
    state: Rate
    adjoint: Rate
    tangent: Rate
    trend: str
    gradient: Halves
    plain: Horizon
    scaled: Horizon
    digits: Digits
    reach: float
    useful: int | None
    biases: tuple[Bias, ...]
    cost: Cost
    validation: Validation
    status: Any
    findings: tuple[Finding, ...] = ()
    sizes: Sizes = field(repr=False, default=Sizes(None, None, None))

    @property
    def ok(self) -> bool:
        """Whether nothing serious was found."""
        return not any(one.serious for one in self.findings)

    def __str__(self) -> str:
        """Say in words what was found, the serious things first, each with what to change."""
        lines = [self.about]
        for one in self.findings:
            lines.append(f"{'!' if one.serious else ' '} {one.topic}: {one.found}")
            if one.change:
                lines.append(f"    -> {one.change}")
        return "\n".join(lines)

    def figure(self, path: str | Path) -> None:
        """Write the sizes of state, adjoint and tangent along the run to an image file, in one step.

        ValueError for a suffix that is none of .png, .pdf and .svg.
        """
        path = Path(path)
        if path.suffix[1:] not in figure.KINDS:
            bad_value("figure", "path", path, f"a file with one of the suffixes .{', .'.join(figure.KINDS)}")
        files.write(path, self.image(path.suffix[1:]))

    def image(self, kind: str = "png") -> bytes:
        """Return the figure as the bytes of an image file: "png", "pdf" or "svg"."""
        chaotic = "chaotic" in self.regimes
        return figure.image(figure.Drawn(self.sizes, self.dtype, self.about, self._caption(), chaotic), kind)

    def _caption(self) -> str:
        named = " and ".join(sorted(set(self.regimes), key=self.regimes.count, reverse=True))
        predicts = "" if math.isnan(self.reach) else f", predicts changes of phi up to {self.reach:.0e}"
        predicts = ", predicts no change of phi" if self.reach == 0 else predicts
        thick = " Thick: the median task, thin: the least and the most." if len(self.regimes) > 1 else ""
        return f"{named}; meta-gradient {self.trend}{predicts}.\nDotted: fitted rates.{thick}"

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers and sentences as plain dicts, lists, numbers and strings, None for inf and NaN."""
        names = [name for name in self.__dataclass_fields__ if name != "sizes"]
        plain: dict[str, Any] = _plain({name: getattr(self, name) for name in names})
        return plain


def _plain(x: Any) -> Any:
    if hasattr(x, "_asdict"):
        return _plain(x._asdict())
    if hasattr(x, "__dataclass_fields__"):
        return _plain({name: getattr(x, name) for name in x.__dataclass_fields__})
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, tuple | list):
        return [_plain(item) for item in x]
    if isinstance(x, np.ndarray | np.generic):
        return _plain(x.tolist())
    return None if isinstance(x, float) and not math.isfinite(x) else x
