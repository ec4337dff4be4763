"""The one call: the meta-gradient of a task, an update rule and a meta-objective."""

from __future__ import annotations

from typing import Any, Literal, cast

from metagrad.errors import bad_type, bad_value, nearest
from metagrad.estimators import ClosedForm, Forward, Reverse
from metagrad.protocols import Estimate, Estimator, GradientKind, Objective, Optimizer, Task, Tree
from metagrad.unroll.carry import Scaling
from metagrad.xp import move, namespace_for

Method = Literal["reverse", "forward", "closed_form"]
_METHODS: dict[str, Any] = {"reverse": Reverse, "forward": Forward, "closed_form": ClosedForm}
_CHOICES = {"gradient": ["full", "stop_gradient"], "scaling": ["auto", "adjoint", "none"]}
_WHERE = "meta_gradient"


def meta_gradient(
    task: Task,
    optimizer: Optimizer,
    objective: Objective,
    phi: Tree,
    *,
    steps: int,
    method: Method | Estimator = "reverse",
    device: Literal["auto", "cpu", "gpu"] | None = None,
    seed: int = 0,
    **options: Any,
) -> Estimate:
    """Return the meta-objective and its gradient in the meta-parameters `phi` after `steps` steps.

    `phi`: what `optimizer` takes; for `GradientDescent` simply the step size, a float or an array.
    `steps`: the horizon T, an integer of at least 1.
    `method`: "reverse" (backpropagation), "forward" (tangents), "closed_form" (theory, where there is one), or an
    `Estimator`. `device`: None leaves the arrays where they are, "cpu" and "gpu" move them, "auto" prefers a GPU.
    `seed`: of everything random in the task. `options`: those of the method, such as `gradient="stop_gradient"`,
    `scaling="none"`, `per_task=True`, `memory=2**20`; see `Reverse`, `Forward`, `ClosedForm`.

    Returns an `Estimate` with Scaled numbers and one Status a task. Bad arguments raise ValueError or TypeError;
    leaving the range of floating point and losing all digits to rounding do not: that is in the Status.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    >>> found = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal(), 0.3, steps=10)
    >>> print(found.grad.eta.to_float().round(6), found.report())
    -2.857143 all numbers stayed within the range of the dtype
    """
    _check_parts(task, optimizer, objective)
    _check_integer("steps", steps, 1)
    _check_integer("seed", seed, 0)
    estimator = _estimator(method, options)
    check = getattr(optimizer, "check_phi", None)
    phi = phi if check is None else check(phi, _WHERE)
    check_horizon = getattr(optimizer, "check_horizon", None)
    if check_horizon is not None:
        check_horizon(phi, steps, _WHERE)
    if device is not None:
        target = namespace_for(device, _WHERE)
        task, optimizer, objective, phi = (move(part, target) for part in (task, optimizer, objective, phi))
    return estimator(task, optimizer, objective, phi, steps=steps, seed=seed)


def _check_parts(task: Any, optimizer: Any, objective: Any) -> None:
    parts = {"task": (task, Task), "optimizer": (optimizer, Optimizer), "objective": (objective, Objective)}
    for name, (part, protocol) in parts.items():
        if isinstance(part, type):
            bad_type(_WHERE, name, f"the class {part.__name__}", "an instance", f"Write {part.__name__}().")
        if not isinstance(part, protocol):
            missing = [m for m in sorted(_members(protocol)) if not hasattr(part, m)]
            came = f"a {type(part).__name__} without {', '.join(missing)}"
            bad_type(_WHERE, name, came, f"an object with the methods of metagrad.protocols.{protocol.__name__}")


def _members(protocol: type) -> set[str]:
    names = set(vars(protocol)) | set(protocol.__annotations__)
    return {name for name in names if not name.startswith("_")}


def _check_integer(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        bad_type(_WHERE, name, f"{value!r}, a {type(value).__name__}", "an integer", f"Use int({name}).")
    if value < least:
        bad_value(_WHERE, name, value, f"an integer of at least {least}")


def _estimator(method: Any, options: dict[str, Any]) -> Estimator:
    if not isinstance(method, str):
        if not callable(method) or isinstance(method, type):
            bad_type(_WHERE, "method", repr(method), "a name or an Estimator", nearest("", list(_METHODS)))
        if options:
            remedy = "Give them to the estimator itself."
            bad_type(_WHERE, "options", f"{sorted(options)} beside an Estimator", "no options", remedy)
        return cast(Estimator, method)
    if method not in _METHODS:
        bad_value(_WHERE, "method", repr(method), "a known method", nearest(method, list(_METHODS)))
    chosen = _METHODS[method]
    known = list(chosen.__dataclass_fields__)
    for name, value in options.items():
        if name not in known:
            bad_type(_WHERE, "options", f"{name!r}", f"an option of method {method!r}", nearest(name, known))
        if name in _CHOICES and value not in _CHOICES[name]:
            bad_value(_WHERE, name, repr(value), "a known choice", nearest(str(value), _CHOICES[name]))
    return cast(Estimator, chosen(**options))


__all__ = ["GradientKind", "Method", "Scaling", "meta_gradient"]
