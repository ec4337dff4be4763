"""What a check found: a table of what passed and what did not, what came, what was expected, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from metagrad.errors import bad_value

Verdict = Literal["passed", "FAILED", "not looked at"]


class Fault(Exception):  # noqa: N818 - what a check found, caught by `looked`
    """What came, what was expected, and what to do."""

    def __init__(self, came: str, expected: str = "", remedy: str = "") -> None:
        """Keep them."""
        super().__init__(came)
        self.came, self.expected, self.remedy = came, expected, remedy


class Skip(Exception):  # noqa: N818 - as above
    """Why something cannot be looked at."""


@dataclass(frozen=True)
class Finding:
    """One check: its name, its verdict, what came (or why it was not looked at), what was expected, what to do."""

    name: str
    verdict: Verdict
    came: str = ""
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Say it in a sentence or three."""
        text = f"{self.name}: {self.came}" if self.came else self.name
        return ". ".join(
            [text, *([f"Expected: {self.expected}"] if self.expected else []), *filter(None, [self.remedy])]
        )


@dataclass(frozen=True)
class CheckReport:
    """The findings of `metagrad.check`, in the order in which they were made; `print` it for a table."""

    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Those that did not pass."""
        return tuple(one for one in self.findings if one.verdict == "FAILED")

    @property
    def ok(self) -> bool:
        """Whether nothing failed; what was not looked at does not count."""
        return not self.failures

    def raise_if_failed(self) -> None:
        """Raise ValueError with all that failed, or do nothing."""
        if not self.ok:
            bad_value("check", "the task or the rule", "; ".join(map(str, self.failures)), "one that passes")

    def __str__(self) -> str:
        """Return the table, and below it what to do about what failed."""
        width = max((len(one.name) for one in self.findings), default=0)
        rows = [f"{one.name:<{width}}  {one.verdict:<13}  {one.came}".rstrip() for one in self.findings]
        told = [
            f"{one.name}\n    expected: {one.expected}\n    do: {one.remedy}" for one in self.failures if one.remedy
        ]
        count = len(self.findings), len(self.failures)
        return "\n".join([*rows, "", f"{count[0]} checks, {count[1]} failed.", *told])


class Findings:
    """Collects findings; a check that needs another one that failed is not made."""

    def __init__(self) -> None:
        """Begin with none."""
        self._made: list[Finding] = []
        self._broken: set[str] = set()  # what failed, and what could not be made for that

    def look(self, name: str, check: Callable[[], str | None], needs: tuple[str, ...] = ()) -> None:
        """Make a check: it returns a note, or raises Fault, Skip, or whatever the code that is checked raises."""
        missing = [one for one in needs if one in self._broken]
        if missing:
            self._broken.add(name)
            self._made.append(Finding(name, "not looked at", f"before it: {', '.join(missing)}"))
            return
        try:
            note = check()
        except Fault as fault:
            self._failed(name, fault.came, fault.expected, fault.remedy)
        except Skip as skip:
            self._made.append(Finding(name, "not looked at", str(skip)))
        except Exception as error:
            self._failed(name, *_parsed(error))
        else:
            self._made.append(Finding(name, "passed", note or ""))

    def _failed(self, name: str, came: str, expected: str, remedy: str) -> None:
        self._broken.add(name)
        self._made.append(Finding(name, "FAILED", came, expected, remedy))

    def report(self) -> CheckReport:
        """Return all that was found."""
        return CheckReport(tuple(self._made))


def _parsed(error: Exception) -> tuple[str, str, str]:
    """Return what came, what was expected and what to do: parts of the sentence of an error of ours, or a guess."""
    said = str(error).split("\n")[0] or "without a word"
    came, ours, rest = said.partition("; expected ")
    if not ours:
        return f"{type(error).__name__}: {said}", "no error", "Mend the line that raises it."
    expected, _, remedy = rest.partition(". ")
    return came, expected.rstrip("."), remedy or "Mend that."
