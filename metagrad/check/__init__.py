"""Whether a task and a rule of one's own are what metagrad takes them for: `mg.check(task, rule, phi)`."""

from __future__ import annotations

from metagrad.check.checking import check
from metagrad.check.report import CheckReport, Finding

__all__ = ["CheckReport", "Finding", "check"]
