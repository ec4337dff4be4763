"""Whether a task and a rule of one's own are what metagrad takes them for: `mg.check(task, rule, phi)`.

What makes the checks loads when the first one is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metagrad.protocols import Rule, Task, Tree

if TYPE_CHECKING:
    from metagrad.checkup.report import CheckReport, Finding

__all__ = ["CheckReport", "Finding", "check"]


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

    >>> import numpy as np, metagrad as mg
    >>> report = mg.check(mg.FunctionTask(lambda w: np.sum(w**2, axis=-1) / len(w), w0=np.ones((2, 3))))
    >>> print(report.failures[0].came)
    the first task has a loss of 1.5 in a batch of 2, 3 alone
    """
    from metagrad.checkup.checking import checked  # later: it takes 10 ms

    return checked(task, rule, phi, steps=steps, seed=seed)


def __getattr__(name: str) -> Any:
    """Return the kinds of report, which load when they are asked for."""
    if name in ("CheckReport", "Finding"):
        return getattr(import_module("metagrad.checkup.report"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
