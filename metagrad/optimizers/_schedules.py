"""What a schedule is, and what schedules share: trees of parameters, and how far a run has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from metagrad.ad import is_branch, tree_map
from metagrad.errors import bad_type
from metagrad.protocols import Tree


@runtime_checkable
class Schedule(Protocol):
    """A number as a function of the time of a run, with parameters.

    `Phi`: the NamedTuple of the parameters. At t = 0 it has a value for `steps=None` too: a rule may need it before
    the run begins. Optional: `project(phi)`, as that of a rule.
    """

    Phi: Any

    def __call__(self, phi: Any, t: int, steps: int | None) -> Tree:
        """Return the value at time t = 0, 1, ... of a run of so many steps, in differentiable NumPy-style code."""
        ...

    def check_phi(self, phi: Any, where: str) -> Any:
        """Return the parameters, completed and checked, or raise."""
        ...


def each(formula: Callable[..., Any], phi: Any) -> Tree:
    """Return formula(*phi), where fields of phi may be trees: then for each leaf, with what is no tree beside all."""
    trees = [x for x in phi if is_branch(x)]
    if not trees:
        return formula(*phi)
    columns = [x if is_branch(x) else tree_map(lambda _, x=x: x, trees[0]) for x in phi]
    return tree_map(formula, *columns)


def fraction(t: int, steps: int | None, where: str) -> float:
    """Return t/steps, at most 1: how much of the run is over. It is 0 at t = 0, whether the horizon is known or not."""
    if steps is not None:
        return min(1.0, t / steps)
    if t == 0:
        return 0.0
    remedy = "Give it: Stepper(rule, phi, steps=T), FixedGradient(g, t, steps), or TaskView(task, sample, t, steps)."
    return bad_type(where, "steps", f"None at t = {t}", "a horizon, the number of steps of the run", remedy)


def beside(number: Any, like: Any) -> Any:
    """Return a number of the time, in float64, as it stands beside a parameter: a Python float, which promotes nothing.

    Where the time is recorded (`metagrad.replay`), in the dtype of the parameter, which is the same.
    """
    return float(number) if isinstance(number, float) else number.astype(like.dtype)
