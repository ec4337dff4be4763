"""A meta-gradient against an independent way to it: theory, differences of values, or numbers that are given."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.api import check_phi, meta_gradient
from metagrad.errors import bad_value
from metagrad.estimators import METHODS
from metagrad.protocols import Digits, Estimate, Objective, Rule, Task, Tree
from metagrad.testing.by_differences import same_slopes
from metagrad.testing.by_numbers import given, same_numbers
from metagrad.testing.by_theory import closed_form
from metagrad.testing.cases import WHERE, Case, Match, UnresolvedError, as_run
from metagrad.xp import to_host

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
    of phi where there are at most 8, else along 4 lines of random lengths in each entry, the first with the gradient's
    own signs), or numbers of your own, built like the gradient: a tree of floats, arrays or `Scaled`. None takes the
    closed form where there is one, else differences. `method`, `seed`, `options`: as `meta_gradient` takes them,
    `per_task=True` too.

    Tolerances are not chosen. Relative to the length of the meta-gradient the two may differ by 10 times 10^-digits,
    with the fewer of `Estimate.digits` as the sweep knows them and as `trust=True` measures them, and those of the
    closed form; numbers of your own count as exact. What differences are off by is allowed beside that: ten times the
    distance of neighbouring steps. Tasks in float16 and float32 are differenced in float64 where their arrays can be
    widened.

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
    with np.errstate(all="ignore"):  # what left the range is in the Status, which is looked at
        run = partial(meta_gradient, task, rule, objective, phi, steps=steps, method=method, seed=seed)
        found = run(**options)
        if "trust" not in options and isinstance(method, str) and _takes(method, "trust"):
            found = _with_fewest_digits(run(**options, trust=True), found)
    full = as_run(task, seed, check_phi(WHERE, task, rule, phi, steps))
    per_task = bool(_option("per_task", method, options, False))
    case = Case(task, rule, objective, full, steps, seed, per_task)
    if not found.ok:
        raise UnresolvedError(f"{WHERE}: the meta-gradient says of itself: {found.report()}")
    if against is not None and not isinstance(against, str):
        return same_numbers(case, found, given(found, against), least)
    checks.choice(WHERE, "against", against, (None, *_WAYS))
    kind = _option("gradient", method, options, "full")
    window = _option("window", method, options, None)
    if window is not None and window < steps:
        came = f"{'None' if against is None else repr(against)} for windows of {window} of {steps} steps"
        bad_value(WHERE, "against", came, "a way to the same number", "Give numbers of your own, or a longer window.")
    theory = None if against == "differences" else _closed_form(case, kind, needed=against is not None)
    if theory is not None:
        return same_numbers(case, found, theory, least)
    if kind == "stop_gradient":
        remedy = "Give numbers of your own: there is no closed form of this."
        came = f"{'None' if against is None else repr(against)} for gradient='stop_gradient'"
        bad_value(WHERE, "against", came, "a way to the same number", remedy)
    return same_slopes(case, found, least)


def _with_fewest_digits(measured: Estimate, found: Estimate) -> Estimate:
    """Return the estimate with the fewer digits of the two ways to know them: each is blind to what the other sees.

    Neighbouring runs do not see what a step loses where w nearly cancels, and the sweep knows nothing of learned rules.
    """
    pairs = [] if measured.digits is None or found.digits is None else zip(measured.digits, found.digits, strict=True)
    fewest = [a if b is None else np.minimum(to_host(a), to_host(b)) for a, b in pairs]
    return replace(measured, digits=Digits(*fewest)) if fewest else measured


def _takes(method: str, option: str) -> bool:
    return method in METHODS and option in METHODS[method].__dataclass_fields__


def _option(name: str, method: Any, options: dict[str, Any], default: Any) -> Any:
    """Return an option of the method, whether it came by name or in an estimator that is made."""
    return options.get(name, default if isinstance(method, str) else getattr(method, name, default))


def _closed_form(case: Case, kind: str, *, needed: bool) -> Estimate | None:
    """Return what theory says; None where it has nothing to say of such a case, or ValueError where it is `needed`."""
    try:
        found = closed_form(case, kind)
    except ValueError:
        if needed:
            raise
        return None
    return found if found.ok or needed else None
