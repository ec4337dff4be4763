"""The calls of a user: the meta-gradient of a task, an update rule and a meta-objective, and their value alone."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any, Literal, cast

from metagrad import checks, parts
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.estimators import METHODS, Value
from metagrad.protocols import Estimate, Estimator, Joint, Objective, Rule, Task, Tree
from metagrad.xp import move, namespace_for

Method = Literal["reverse", "forward", "closed_form", "windows", "implicit", "reptile"]
Device = Literal["auto", "cpu", "gpu"]
_USUAL: dict[type, Estimator] = {}  # without options: they are frozen, and are made and checked once


def meta_gradient(  # noqa: PLR0913 - each of them named in a call
    task: Task,
    rule: Rule,
    objective: Objective,
    phi: Tree,
    *,
    steps: int,
    method: Method | Estimator = "reverse",
    device: Device | None = None,
    seed: int = 0,
    at: Any = None,
    run: int | None = None,
    **options: Any,
) -> Estimate:
    """Return the meta-objective and its gradient in the meta-parameters `phi` after `steps` steps.

    `phi`: what `rule` takes; for `GradientDescent` simply the step size, a float or an array. `Joint(rule=, task=)` has
    the meta-parameters of the task beside those of the rule: a learned start, a decay, weights of samples, data.
    `steps`: the horizon T, an integer of at least 1.
    `method`: "reverse" (backpropagation), "forward" (tangents), "windows" (truncated backpropagation), "closed_form"
    (theory, where there is one), "implicit" (at the inner optimum, for the task's own), "reptile" (no gradient: the way
    back to a learned start), or an `Estimator`. `device`: None leaves the arrays where they are, "cpu" and "gpu" move
    them, "auto" prefers a GPU. `seed`: of everything random in the task. `at`: the `Estimate.end` of a call before, to
    go on from there; `run`: the horizon of the whole run, where these steps are a part of it. `options`: those of the
    method, such as `gradient="stop_gradient"`, `scaling="none"`, `per_task=True`, `memory="64 MiB"`, `window=20`,
    `trust=True` for digits that are measured; see `Reverse`, `Forward`, `Windows`, `ClosedForm`, `Implicit`, `Reptile`.

    Returns an `Estimate` with Scaled numbers and one Status a task; `print` shows in a few lines whether it can be
    trusted, the value, the gradient by name and the digits. Bad arguments raise ValueError or TypeError; leaving the
    range of floating point and losing all digits to rounding do not: that is in the Status.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    >>> found = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 0.3, steps=10)
    >>> print(found.grad.eta.to_float().round(6), found.report())
    -2.857143 all numbers stayed within the range of the dtype
    """
    where = "meta_gradient"
    estimator = _estimator(where, method, options)
    return _asked(where, estimator, (task, rule, objective, phi), steps, device, {"seed": seed, "at": at, "run": run})


def value(  # noqa: PLR0913 - as above
    task: Task,
    rule: Rule,
    objective: Objective,
    phi: Tree,
    *,
    steps: int,
    device: Device | None = None,
    seed: int = 0,
    at: Any = None,
    run: int | None = None,
    **options: Any,
) -> Estimate:
    """Return the meta-objective after `steps` steps, without a gradient: `Estimate.grad` is None.

    The arguments are those of `meta_gradient`, the `options` those of `Value`: `scaling` and `per_task`. No state is
    kept, so that memory does not grow with the horizon.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    >>> print(mg.value(task, mg.GradientDescent(), mg.Final(), 0.1, steps=2).value.to_float())
    [0.58725]
    """
    _check_options("value", "value", list(Value.__dataclass_fields__), options)
    when = {"seed": seed, "at": at, "run": run}
    return _asked("value", Value(**options), (task, rule, objective, phi), steps, device, when)


def _asked(
    where: str,
    estimator: Estimator,
    given: tuple[Task, Rule, Objective, Tree],
    steps: int,
    device: Any,
    when: dict[str, Any],
) -> Estimate:
    task, rule, objective, phi = given
    for name, part, kind in (("task", task, Task), ("rule", rule, Rule), ("objective", objective, Objective)):
        parts.check_part(where, name, part, kind)
    steps = checks.count(where, "steps", steps)
    checks.count(where, "seed", when["seed"], 0)
    at, run = when["at"], when["run"]
    if run is not None:
        checks.count(where, "run", run, steps + getattr(at, "t", 0))
    if at is None or run is not None:
        phi = check_phi(where, task, rule, phi, steps if run is None else run)
    when = when if at is not None or run is not None else {"seed": when["seed"]}  # an estimator may know of neither
    if device is not None:
        target = namespace_for(device, where)
        task, rule, objective, phi = (move(part, target) for part in (task, rule, objective, phi))
    found = estimator(task, rule, objective, phi, steps=steps, **when)
    checks.instance(where, "what the method returns", found, Estimate)
    return found


def check_phi(where: str, task: Any, rule: Any, phi: Tree, steps: int) -> Tree:
    """Return the meta-parameters of both parts, completed and checked by them."""
    if not isinstance(phi, Joint):
        phi = parts.check_phi(rule, phi, where)
        parts.check_horizon(rule, phi, steps, where)
        return phi
    of_rule = check_phi(where, task, rule, phi.rule, steps)
    return Joint(of_rule, parts.check_given(task, phi.task, where))


def _estimator(where: str, method: Any, options: dict[str, Any]) -> Estimator:
    if not isinstance(method, str):
        if not callable(method) or isinstance(method, type):
            bad_type(where, "method", checks.shown(method), "a name or an Estimator", nearest("", list(METHODS)))
        if options:
            remedy = "Give them to the estimator itself."
            bad_type(where, "options", f"{sorted(options)} beside an Estimator", "no options", remedy)
        return cast(Estimator, method)
    if method not in METHODS:
        bad_value(where, "method", repr(method), "a known method", nearest(method, list(METHODS)))
    chosen = METHODS[method]
    if not options and chosen in _USUAL:
        return _USUAL[chosen]
    _check_options(where, method, list(chosen.__dataclass_fields__), options)
    for name, one in chosen.__dataclass_fields__.items():
        if one.default is MISSING and one.default_factory is MISSING and name not in options:
            bad_type(where, "options", f"no `{name}`", f"one for method {method!r}", f"Write {name}=20, say.")
    estimator = cast(Estimator, chosen(**options))
    if not options:
        _USUAL[chosen] = estimator
    return estimator


def _check_options(where: str, method: str, known: list[str], options: dict[str, Any]) -> None:
    for name in options:
        if name not in known:
            bad_type(where, "options", f"{name!r}", f"an option of method {method!r}", nearest(name, known))
