"""Every check of a task, and of a rule on it, in one report."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import checks, parts
from metagrad.checkup.of_rule import RuleChecks
from metagrad.checkup.of_task import TaskChecks
from metagrad.checkup.report import CheckReport, Findings
from metagrad.errors import bad_type
from metagrad.protocols import Joint, Rule, Task, Tree


def checked(task: Task, rule: Rule | None, phi: Tree, *, steps: int, seed: int) -> CheckReport:
    """Return what `metagrad.check` returns."""
    _refuse_others("task", task, Task)
    if rule is not None:
        _refuse_others("rule", rule, Rule)
        if phi is None:
            bad_type("check", "phi", "None beside a rule", "the meta-parameters", "Give what meta_gradient is given.")
    elif phi is not None:
        bad_type("check", "rule", "None beside phi", "the rule that phi is of", "Write check(task, rule, phi).")
    steps, _ = checks.count("check", "steps", steps), checks.count("check", "seed", seed, 0)
    found = Findings()
    with np.errstate(all="ignore"):
        of_task = TaskChecks(task, seed, phi.task if isinstance(phi, Joint) else None)
        of_task.into(found)
        if rule is not None:
            RuleChecks(of_task, rule, phi, steps).into(found)
    return found.report()


def _refuse_others(name: str, part: Any, protocol: Any) -> None:
    if isinstance(part, type):
        bad_type("check", name, f"the class {part.__name__}", "an instance", f"Write {part.__name__}(...).")
    if not isinstance(part, protocol):
        came = f"a {type(part).__name__} without {', '.join(parts.missing(part, protocol))}"
        bad_type("check", name, came, f"an object with the methods of metagrad.protocols.{protocol.__name__}")
