"""The call: every check of a task, and of a rule on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import parts
from metagrad.check.of_rule import RuleChecks
from metagrad.check.of_task import TaskChecks
from metagrad.check.report import CheckReport, Findings
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Joint, Rule, Task, Tree
from metagrad.xp import rng


def check(task: Task, rule: Rule | None = None, phi: Tree = None, *, steps: int = 3, seed: int = 0) -> CheckReport:
    """Return what holds of a task, and of a rule with phi on it, of all that a right meta-gradient needs.

    Of the task: a finite start; a loss of shape (B,) in the dtype of w; that it is a function of its arguments, writes
    into none of them nor into its data, and keeps the tasks apart; its own `gradient` and `degree`, where it has them;
    its first and second derivatives against differences; how many digits it loses inside. Of the rule: the kinds and
    ranges of phi; the shapes of a step; purity, independence of tasks, `homogeneous`; and the meta-gradient of a run of
    `steps` steps, by reverse and forward mode and by differences. Steps and tolerances fit the dtype. What cannot be
    looked at is said, and is no failure.
    `report.ok`, `report.failures`, `print(report)`, `report.raise_if_failed()`. TypeError for what is neither a task
    nor a rule, and for a rule without phi.

    >>> from metagrad import FunctionTask
    >>> report = check(FunctionTask(lambda w: np.sum(w**2, axis=-1) / len(w), w0=np.ones((2, 3))))
    >>> print(report.failures[0].came)
    the first task has a loss of 1.5 in a batch of 2, 3 alone
    """
    _refuse_others("task", task, Task)
    if rule is not None:
        _refuse_others("rule", rule, Rule)
        if phi is None:
            bad_type("check", "phi", "None beside a rule", "the meta-parameters", "Give what meta_gradient is given.")
    elif phi is not None:
        bad_type("check", "rule", "None beside phi", "the rule that phi is of", "Write check(task, rule, phi).")
    if isinstance(steps, bool) or not hasattr(steps, "__index__"):
        bad_type("check", "steps", f"{steps!r}, a {type(steps).__name__}", "an integer")
    if steps < 1:
        bad_value("check", "steps", steps, "an integer of at least 1")
    rng(seed)  # says what a seed may be
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
