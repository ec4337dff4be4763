"""A meta-gradient against an independent way to it: theory, differences of values, or numbers that are given."""

from __future__ import annotations

from typing import Any

from metagrad import checks, parts
from metagrad.api import check_phi, meta_gradient
from metagrad.errors import bad_value
from metagrad.estimators import METHODS
from metagrad.protocols import Estimate, Objective, Rule, Task, Tree
from metagrad.testing.by_differences import same_slopes
from metagrad.testing.by_numbers import given, same_numbers
from metagrad.testing.by_theory import closed_form
from metagrad.testing.cases import WHERE, Case, Match, UnresolvedError

_WAYS = ("closed_form", "differences")


def assert_meta_gradient_matches(  # noqa: PLR0913 - those of meta_gradient, and of the comparison
    task: Task,
    rule: Rule,
    objective: Objective,
    phi: Tree,
    steps: int,
    *,
    against: Any = None,
    method: Any = "reverse",
    seed: int = 0,
    least: float = 3.0,
    **options: Any,
) -> Match:
    """Raise AssertionError unless `metagrad.meta_gradient` gives what an independent way to it gives.

    `against`: "closed_form" (`metagrad.ClosedForm`: theory, which shares no code with the engine; value and gradient
    are compared), "differences" (of values alone, for any task, rule and objective that are smooth at phi; each entry
    of phi where there are at most 8, else along 4 lines, the first of which is the gradient's own signs), or numbers of
    your own, built like the gradient: a tree of floats, arrays or `Scaled`. None takes the closed form where there is
    one, else differences. `method`, `seed`, `options`: as `meta_gradient` takes them, `per_task=True` too.

    Tolerances are not chosen: relative to the length of the meta-gradient, the two may differ by 10 times 10^-digits,
    with `Estimate.digits` of the run, measured by `trust=True`, and those of the closed form; numbers of your own count
    as exact; and by what differences are off by, ten times the distance of neighbouring steps. Tasks in float16 and
    float32 are differenced in float64 where their arrays can be widened.

    `least`: how many digits the comparison has to have (3; 1 for float16, say). Below that, and where the run has
    another Status than OK, nothing is shown either way: `UnresolvedError`, an AssertionError. A property test may catch
    it and call `hypothesis.reject()`. Returns the `Match`. ValueError and TypeError as `meta_gradient`; ValueError
    where `against` and `options` do not fit: differences are those of the full gradient, without windows.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    >>> match = assert_meta_gradient_matches(task, mg.GradientDescent(), mg.LogFinal(), 0.3, steps=10)
    >>> match.against, match.digits > 13
    ('closed_form', True)
    """
    checks.number(WHERE, "least", least, least=0.0)
    if "trust" not in options and isinstance(method, str) and _takes(method, "trust"):
        options = {**options, "trust": True}
    found = meta_gradient(task, rule, objective, phi, steps=steps, method=method, seed=seed, **options)
    full = check_phi(WHERE, task, rule, phi, steps)
    case = Case(task, rule, objective, full, steps, seed, bool(options.get("per_task", False)))
    if not found.ok:
        raise UnresolvedError(f"{WHERE}: the meta-gradient says of itself: {found.report()}")
    if against is None:
        against = _closed_form(case, options) or "differences"
    elif isinstance(against, str):
        checks.choice(WHERE, "against", against, _WAYS)
        against = _closed_form(case, options, needed=True) if against == "closed_form" else against
    if isinstance(against, Estimate):
        return same_numbers(case, found, against, least)
    if isinstance(against, str):
        _check_comparable(method, options, steps)
        return same_slopes(case, found, least)
    return same_numbers(case, found, given(found, against), least)


def _takes(method: str, option: str) -> bool:
    return method in METHODS and option in METHODS[method].__dataclass_fields__


def _closed_form(case: Case, options: dict[str, Any], *, needed: bool = False) -> Estimate | None:
    """Return what theory says; None where it says nothing of such a case, or ValueError where it is `needed`."""
    if "window" in options:
        if needed:
            bad_value(WHERE, "against", "'closed_form' beside windows", "a way to the same number", _WHOLE)
        return None
    try:
        found = closed_form(case, options.get("gradient", "full"))
    except ValueError:
        if needed:
            raise
        return None
    if found.ok or needed:
        return found
    return None


_WHOLE = "Give numbers of your own, or a window of all steps."


def _check_comparable(method: Any, options: dict[str, Any], steps: int) -> None:
    kind = options.get("gradient", parts.gradient_kind(method) if not isinstance(method, str) else None)
    if kind == "stop_gradient":
        remedy = "Take against='closed_form', numbers of your own, or the full gradient."
        bad_value(WHERE, "against", "'differences' for gradient='stop_gradient'", "a way to the same number", remedy)
    window = options.get("window", getattr(method, "window", None))
    if window is not None and window < steps:
        came = f"'differences' for windows of {window} of {steps} steps"
        bad_value(WHERE, "against", came, "a way to the same number", _WHOLE)
