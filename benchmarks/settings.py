"""How much to measure: shared by every benchmark."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """`repetitions` of each timing, `full` to measure completely what is extrapolated otherwise, `seed` of problems.

    `threads` is for the report; it has been put into effect before any array module was imported.
    """

    repetitions: int = 9
    full: bool = False
    seed: int = 0
    threads: int = 1
