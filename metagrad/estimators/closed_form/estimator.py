"""`ClosedForm`: which closed form it is, and what became of each task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metagrad import parts
from metagrad.errors import Status, bad_type, bad_value
from metagrad.estimators.closed_form._digits import digits
from metagrad.estimators.closed_form._shared import USE_REVERSE, WHERE, Solved
from metagrad.estimators.closed_form.momenta import Momenta
from metagrad.estimators.closed_form.quadratics import Quadratics
from metagrad.estimators.closed_form.regressions import Regressions
from metagrad.objectives import Final, LogExcess, LogFinal, Mean, MeanLog, WeightedSum
from metagrad.optimizers import GradientDescent, Momentum, Nesterov, Scheduled
from metagrad.protocols import Digits, Estimate, GradientKind, Joint, Objective, Position, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.tasks import DiagonalQuadratic, LeastSquares, Quadratic
from metagrad.unroll.carry import Ask, check_options
from metagrad.xp import Array, to_host

_USE_GRADIENTS = "Gradients are enough for `minimise` with method='BFGS'."
_LARGEST_STEPS = 2**52  # up to which 2 T - 1 is exact


@dataclass(frozen=True)
class ClosedForm:
    """The closed forms of `metagrad.theory`: `quadratic`, `momentum`, `least_squares`; in float64 on the host.

    Covers `Quadratic` and `DiagonalQuadratic` with `GradientDescent` and every objective; eta one for all or one a
    task. With `Scheduled`, and with eta per coordinate on `DiagonalQuadratic`: `Final` and `LogFinal`.
    `gradient="stop_gradient"`: `Final` and `LogFinal`, eta one for all or one a task.
    With `Momentum` and `Nesterov` on both: every objective but `MeanLog`, eta and mu one for all or one a task, up to
    2^27 steps. mu may be 1 here, where nothing is damped, and beyond it, but where |mu| > 1e12 |eta lambda| for a mode,
    as all digits cancel there; `meta_gradient` wants it in [0, 1).
    `LeastSquares`, full batch: `Final`, `LogFinal` and `LogExcess` of every measure, eta one for all or one a task;
    with `Scheduled` the train loss and its excess. Anything else is a ValueError.

    Eigenvalues of a dense H count as zero up to 4 d u times the largest, u the unit roundoff of float64, and up to d
    times that of a narrower dtype of H where they decide. Least squares whose targets are X w_star, or X w for some w,
    up to rounding count as noise-free. Every number is computed again on data that rounding cannot tell apart, at three
    to eight times the cost: Status.GRADIENT_ROUNDING where that leaves less than one digit of the value or of the
    meta-gradient. `hessian` has the second derivatives of `Final` and `LogFinal` on the two quadratics.

    >>> task = Quadratic(np.ones((3, 3)) / 3, np.array([1.0, 2.0, 0.0]))
    >>> found = ClosedForm()(task, GradientDescent(), LogFinal(), GradientDescent.Phi(0.7), steps=20)
    >>> found.ok, found.grad.eta.to_float().round(12)
    (True, np.float64(-6.666666666667))
    """

    gradient: GradientKind = "full"
    per_task: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_options("ClosedForm", self)

    def __call__(
        self,
        task: Task,
        rule: Rule,
        objective: Objective,
        phi: Tree,
        *,
        steps: int,
        seed: int = 0,
        at: Position | None = None,
        run: int | None = None,
    ) -> Estimate:
        """Return the value and the meta-gradient after `steps` steps; `seed` is not used, nothing is random.

        There is no `at`: a closed form begins where its task does (ValueError).
        """
        steps = Ask(task, rule, objective, phi, steps, seed, at, run).steps
        if at is not None:
            bad_value(WHERE, "at", f"the position at t = {at.t}", "None, the start of the task", USE_REVERSE)
        if isinstance(phi, Joint):
            if phi.task is not None:
                bad_value(WHERE, "phi", "a Joint with meta-parameters of the task", "those of the rule", USE_REVERSE)
            found = self(task, rule, objective, phi.rule, steps=steps, seed=seed)
            return replace(found, grad=Joint(found.grad, None))
        inner = rule.rule if type(rule) is Scheduled else rule
        if type(inner) not in (GradientDescent, Momentum, Nesterov):
            expected = "GradientDescent, Momentum or Nesterov"
            bad_value(WHERE, "rule", f"a {type(inner).__name__}", expected, USE_REVERSE)
        if steps > _LARGEST_STEPS:
            bad_value(WHERE, "steps", steps, "an integer from 1 to 2^52")
        phi = parts.complete_phi(rule, phi, WHERE)
        parts.check_horizon(rule, phi, steps, WHERE)
        problem = _problem_of(task, inner, objective, steps, self.gradient)
        scheduled = type(rule) is Scheduled
        eta = _checked(phi, "eta", task, steps if scheduled else None, self.per_task)
        both = isinstance(problem, Momenta)
        given = _with_momentum(eta, phi, task, self.per_task) if both else eta

        def solve(what: Quadratics | Regressions) -> Solved:
            return what.solve(given, scheduled=scheduled, per_task=self.per_task)

        problem = problem.settled(solve)
        value, slope = solve(problem)
        of_value, of_slope = digits((value, slope), problem.neighbours(), solve, problem.own_rounding(value))
        if not self.per_task:
            slope = slope.mean(axis=0)
        elif type(rule) is Scheduled:  # phi leads with time, the derivatives with the task
            slope = Scaled(slope.mantissa.swapaxes(0, 1), slope.exponent.swapaxes(0, 1))
        status, step = _status_of(value, np.minimum(of_value, of_slope), steps)
        if both:
            grad = type(phi)(*(_part(slope, k).reshape(np.shape(x)) for k, x in enumerate(phi)))
        else:
            grad = type(phi)(slope.reshape(eta.shape))
        return Estimate(value, grad, status, step, digits=Digits(of_value, of_slope))

    def hessian(self, task: Task, rule: Rule, objective: Objective, phi: Tree, *, steps: int) -> Scaled:
        """Return the second derivatives (P, P) of the mean over tasks in the P numbers of phi: eta, or eta and mu.

        Of `Final` and `LogFinal` on `Quadratic` and `DiagonalQuadratic`, for `GradientDescent` with one step size and
        for `Momentum` and `Nesterov` with one eta and mu. Anything else is a ValueError.

        >>> task = DiagonalQuadratic(np.array([1.0, 4.0]), np.ones(2))
        >>> ClosedForm().hessian(task, GradientDescent(), Final(), GradientDescent.Phi(0.3), steps=1).to_float()
        array([[65.]])
        """
        steps = Ask(task, rule, objective, phi, steps, 0, None, None).steps
        bare = phi.rule if isinstance(phi, Joint) and phi.task is None else phi
        self._check_second(task, rule, objective, bare)
        if steps > _LARGEST_STEPS:
            bad_value(WHERE, "steps", steps, "an integer from 1 to 2^52")
        given = parts.complete_phi(rule, bare, WHERE)
        eta = _checked(given, "eta", task, None, False)
        problem = _problem_of(task, rule, objective, steps, self.gradient)
        if eta.ndim:
            bad_value(WHERE, "phi", f"eta of shape {eta.shape}", "one for all, for second derivatives", _USE_GRADIENTS)
        at = _with_momentum(eta, given, task, False) if isinstance(problem, Momenta) else eta
        settled: Any = problem.settled(lambda what: what.solve(at, scheduled=False, per_task=False))
        found: Scaled = settled.curvature(at).mean(axis=0)
        return found

    def _check_second(self, task: Any, rule: Any, objective: Any, phi: Any) -> None:
        """Raise ValueError where there are no second derivatives."""
        for name, came, known in (
            ("task", task, (Quadratic, DiagonalQuadratic)),
            ("rule", rule, (GradientDescent, Momentum, Nesterov)),
            ("objective", objective, (Final, LogFinal)),
        ):
            if type(came) not in known:
                expected = f"{' or '.join(kind.__name__ for kind in known)}, for second derivatives"
                bad_value(WHERE, name, f"a {type(came).__name__}", expected, _USE_GRADIENTS)
        if isinstance(phi, Joint):
            bad_value(WHERE, "phi", "a Joint with meta-parameters of the task", "those of the rule", _USE_GRADIENTS)
        if self.gradient != "full":
            bad_value(WHERE, "gradient", repr(self.gradient), "'full', for second derivatives", _USE_GRADIENTS)
        if self.per_task:
            bad_value(WHERE, "per_task", True, "False, for second derivatives", _USE_GRADIENTS)


def _checked(phi: Any, name: str, task: Any, schedule: int | None, per_task: bool) -> Array:
    """Return the field of phi in float64: one for all or a coordinate, or one a task; each a step where scheduled."""
    found = getattr(phi, name, None)
    if isinstance(phi, type) or found is None:
        bad_type(WHERE, "phi", f"{phi!r}", "step sizes", "For example GradientDescent.Phi(0.1).")
    x = np.asarray(to_host(found))
    if x.dtype.kind not in "fiu":
        bad_type(WHERE, f"phi.{name}", f"of dtype {x.dtype}", "real numbers")
    if not np.isfinite(x).all():
        bad_value(WHERE, f"phi.{name}", "not finite everywhere", "finite numbers")
    count, d = task.w0.shape
    one = ((count,), (count, 1), (count, d)) if per_task else ((), (d,))
    known = one if schedule is None else ((schedule, *one[0]),)
    if x.shape not in known:
        shapes = " or ".join(str(shape) for shape in known)
        came = f"{name} of shape {x.shape} with per_task={per_task}"
        bad_value(WHERE, "phi", came, f"shape {shapes} for {count} tasks of {d} coordinates", USE_REVERSE)
    return x.astype(np.float64)


def _with_momentum(eta: Array, phi: Any, task: Any, per_task: bool) -> Array:
    """Return eta and mu along a first axis, (2,) or (2, B)."""
    pair = {"eta": eta, "mu": _checked(phi, "mu", task, None, per_task)}
    for name, x in pair.items():
        if x.ndim if not per_task else x.size != task.w0.shape[0]:
            came = f"{name} of shape {x.shape} with momentum"
            bad_value(WHERE, "phi", came, "one for all, or one a task with per_task=True", USE_REVERSE)
    return np.stack([x.reshape(-1) if per_task else x for x in pair.values()])


def _part(slope: Scaled, k: int) -> Scaled:
    return Scaled(slope.mantissa[..., k], slope.exponent[..., k])


def _problem_of(task: Any, rule: Any, objective: Any, steps: int, gradient: GradientKind) -> Quadratics | Regressions:
    """Return the closed forms for this very class of tasks: a subclass may have changed what its loss is."""
    if type(task) not in (Quadratic, DiagonalQuadratic, LeastSquares):
        expected = "a Quadratic, DiagonalQuadratic or LeastSquares"
        bad_value(WHERE, "task", f"a {type(task).__name__}", expected, USE_REVERSE)
    regression = type(task) is LeastSquares
    if type(rule) is not GradientDescent:
        if regression:
            expected = "a Quadratic or DiagonalQuadratic"
            bad_value(WHERE, "task", f"a LeastSquares with {type(rule).__name__}", expected, USE_REVERSE)
        return Momenta(task, rule, objective, steps, gradient)
    known = (Final, LogFinal, LogExcess) if regression else (Final, LogFinal, WeightedSum, Mean, MeanLog)
    if type(objective) not in known:
        expected = f"one of {', '.join(o.__name__ for o in known)} on a {type(task).__name__}"
        bad_value(WHERE, "objective", f"a {type(objective).__name__}", expected, USE_REVERSE)
    if regression:
        return Regressions(task, objective, steps, gradient)
    return Quadratics(task, objective, steps, gradient)


def _status_of(value: Scaled, trusted: Array, steps: int) -> tuple[Array, Array]:
    """Return what is wrong with each task, and the step T.

    LOG_OF_ZERO where a logarithm is -inf, LOG_OF_NEGATIVE where it is NaN, GRADIENT_ROUNDING below one digit.
    """
    code = np.where(trusted < 1, Status.GRADIENT_ROUNDING.code, 0)
    code = np.where(np.isneginf(value.mantissa), Status.LOG_OF_ZERO.code, code)
    code = np.where(np.isnan(value.mantissa), Status.LOG_OF_NEGATIVE.code, code)
    return code, np.where(code != 0, steps, -1)
