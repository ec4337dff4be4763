"""Meta-parameters that minimise a meta-objective: SciPy's optimizers, fed with our gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from metagrad import ad, checks, files, parts
from metagrad.api import check_phi
from metagrad.errors import bad_type, bad_value
from metagrad.estimators import ClosedForm, Reptile, Reverse
from metagrad.fingerprint import named_parts
from metagrad.protocols import Estimator, Objective, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.scaled.ranges import shown
from metagrad.training._leaves import flat
from metagrad.training._newton import newton
from metagrad.training.coordinates import Coordinates
from metagrad.training.evaluated import Evaluated, Evaluation
from metagrad.xp import Array, to_host

_WHERE = "minimise"
Method = Literal["BFGS", "L-BFGS-B", "CG", "TNC", "SLSQP", "Newton"]
_METHODS: dict[str, str] = {method: "ftol" if method == "SLSQP" else "gtol" for method in get_args(Method)}


@dataclass(frozen=True, repr=False)
class Minimum:
    """Where a minimisation ended, and how it came there.

    `phi`: the best meta-parameters, a tree like those that it began with. `value`: the objective there, Scaled (1,),
    the mean over tasks. `slope`: the largest |d f/d x| there, f what was minimised (the log of the objective, where
    `logarithm`), x the coordinates `names`. `converged`: whether the optimizer says so, and the slope where it ended is
    within the tolerance (which for "SLSQP" is not one of the slope); `message`: its words.
    `iterations`; `evaluations` K. `path` (K, P): the coordinates of every evaluation, `value_log2`, `value_sign` (K,)
    the objective there, `status` (K,) how many tasks had a Status other than OK.
    """

    phi: Tree
    value: Scaled
    slope: float
    converged: bool
    message: str
    logarithm: bool
    names: tuple[str, ...]
    iterations: int
    path: Array
    value_log2: Array
    value_sign: Array
    status: Array

    @property
    def evaluations(self) -> int:
        """How often the objective and its gradient were computed."""
        return len(self.path)

    def __repr__(self) -> str:
        """Say whether it arrived, where, and after how much work."""
        end = "converged" if self.converged else f"NOT converged ({self.message})"
        many = f"{len(self.names)} meta-parameters"
        phi = repr(self.phi) if len(self.names) <= 4 else many
        value = shown(self.value.sign(), self.value.log10abs())
        work = f"{self.iterations} iterations, {self.evaluations} meta-gradients"
        bad = int((self.status > 0).sum())
        trouble = f"; a status other than OK in {bad} of them" if bad else ""
        return f"Minimum({end}; {phi}; objective {value}; largest slope {self.slope:.1e}; {work}{trouble})"


def minimise(  # noqa: PLR0913 - each of them named in a call
    task: Task,
    rule: Rule,
    objective: Objective,
    phi: Tree,
    *,
    steps: int,
    method: Method = "BFGS",
    estimator: Estimator | None = None,
    tolerance: float = 1e-8,
    most: int = 1000,
    logarithm: bool | None = None,
    ranges: bool = True,
    held: tuple[str, ...] = (),
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Minimum:
    """Return the meta-parameters, near `phi`, at which the meta-objective is least: its mean over tasks.

    `scipy.optimize.minimize` is given exact meta-gradients, by the `estimator`; None for `Reverse()`. One that leaves
    something out (`Windows`, `gradient="stop_gradient"`, `Implicit`) ends where what it gives vanishes, if it ends, and
    that need not be a minimum; what has a gradient of 0 by it stays where it is. The objective is
    always computed with the same `seed`, so that it is a function; of random tasks it is that of this sample.
    `ranges`: whether hyper-parameters are moved in coordinates that may be any numbers, those of `Unconstrained`: eta
    in its log, a decay in its logit, so that none leaves its range. Weights of networks and meta-parameters of the task
    are moved as they are. `held`: names of those that keep their value: ("mu",), or ("rule",) of a `Joint`.
    `logarithm`: whether the log of the objective is minimised, which has the same minimum and whose gradient neither
    explodes nor vanishes (Wang et al. 2021, section 3.1): None for yes where the objective is no logarithm and begins
    above 0. Values and gradients of any size are taken, as they are `Scaled`.
    `method`: "BFGS", "L-BFGS-B", "CG", "TNC", "SLSQP" or "Newton", which takes exact second derivatives besides and
    arrives in fewer steps, with more digits: Newton's method within trust regions (SciPy's "trust-exact"), for what
    `ClosedForm.hessian` covers; its estimator is `ClosedForm()`, which None stands for. "BFGS" and "SLSQP" hold a
    matrix (P, P): for thousands of meta-parameters take "L-BFGS-B". `tolerance`: of the largest
    slope (of the change of the function, for "SLSQP"); `most`: iterations. `progress(evaluations, f)` is called after
    every evaluation. `checkpoint`: a file that keeps all evaluations; started again, the run takes them from there, and
    goes on to the same bits. Where the objective is no number the optimizer is told inf, and looks elsewhere.

    ValueError where the objective is no number at `phi`, or not above 0 although its log is asked for, where a
    hyper-parameter is at the end of its range, for "Newton" without second derivatives, and for a file that is damaged
    or of another run.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    >>> rule = mg.Scheduled(mg.GradientDescent())
    >>> found = mg.minimise(task, rule, mg.Final(), np.array([0.3, 0.5]), steps=2)
    >>> np.sort(found.phi.eta).round(6)  # both eigenvalues are met
    array([0.25, 1.  ])
    """
    for name, part, kind in (("task", task, Task), ("rule", rule, Rule), ("objective", objective, Objective)):
        parts.check_part(_WHERE, name, part, kind)
    steps = checks.count(_WHERE, "steps", steps)
    checks.choice(_WHERE, "method", method, list(_METHODS))
    second = method == "Newton"
    if estimator is None:
        estimator = ClosedForm() if second else Reverse()
    parts.check_estimator(_WHERE, "estimator", estimator)
    if isinstance(estimator, Reptile):
        remedy = "MetaTrainer goes along it; for the start that is best for an objective take Reverse()."
        bad_value(_WHERE, "estimator", repr(estimator), "one of the objective's gradient", remedy)
    if second and not isinstance(estimator, ClosedForm):
        came = f"{estimator!r} with method='Newton'"
        bad_value(_WHERE, "estimator", came, "ClosedForm(), or None", "Every other method takes gradients alone.")
    checks.number(_WHERE, "tolerance", tolerance)
    if tolerance <= 0:
        bad_value(_WHERE, "tolerance", tolerance, "a number above 0")
    checks.count(_WHERE, "most", most)
    checks.count(_WHERE, "seed", seed, 0)
    checks.flag(_WHERE, "ranges", ranges)
    if logarithm is not None:
        checks.flag(_WHERE, "logarithm", logarithm)
    if progress is not None:
        checks.function(_WHERE, "progress", progress, 2, "a function of (evaluations, f)")
    path = None if checkpoint is None else checks.file_path(_WHERE, "checkpoint", checkpoint)
    phi = check_phi(_WHERE, task, rule, phi, steps)
    if second and isinstance(estimator, ClosedForm):
        estimator.hessian(task, rule, objective, phi, steps=steps)  # raises where there is none
    where = Coordinates.of(_WHERE, rule, phi, ranges=ranges, held=_names(held))
    given = {"task": task, "rule": rule, "objective": objective, "phi": phi, "steps": steps, "method": method}
    given |= {
        "estimator": estimator,
        "tolerance": tolerance,
        "logarithm": logarithm,
        "ranges": ranges,
        "held": held,
        "seed": seed,
    }
    with files.alone(path, _WHERE):
        kept = Evaluated(path, {} if path is None else named_parts(given), _WHERE)
        asked = _Asked((task, rule, objective), estimator, steps, seed, where, kept, logarithm, progress, second)
        try:
            return _searched(asked, phi, method, tolerance, most)
        finally:
            kept.save()


def _names(held: Any) -> tuple[str, ...]:
    if not isinstance(held, tuple | list) or not all(isinstance(one, str) for one in held):
        remedy = f"Write ({held!r},)." if isinstance(held, str) else "Write ('mu',) for a single one."
        bad_type(_WHERE, "held", checks.shown(held), "a tuple of names", remedy)
    return tuple(held)


@dataclass
class _Asked:
    """The function that SciPy calls."""

    given: tuple[Task, Rule, Objective]
    estimator: Estimator
    steps: int
    seed: int
    where: Coordinates
    kept: Evaluated
    logarithm: bool | None
    progress: Callable[[int, float], None] | None
    second: bool
    hessians: dict[bytes, Array] = field(default_factory=dict)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return f(x) and its gradient; inf and 0 where there is no number."""
        x = np.array(x, dtype=np.float64)
        found = self.kept.get(x)
        if found is not None:
            self._takes_log(found.value_sign, found.value_log2)
        else:
            found = self._found(x)
            self.kept.add(x, found)
            if self.progress is not None:
                self.progress(len(self.kept.found), found.f)
        return found.f, found.g.copy()

    def _found(self, x: Array) -> Evaluation:
        nothing = Evaluation(math.inf, np.zeros(x.shape), math.nan, math.nan, 0)
        try:
            phi = self.where.phi(x)
        except ValueError:  # rounded to the end of its range
            return nothing
        estimate = self.estimator(*self.given, phi, steps=self.steps, seed=self.seed)
        bad = int(np.count_nonzero(to_host(estimate.status)))
        mean = estimate.value.mean().reshape((1,))
        leaves = [Scaled.of(to_host(one.mantissa), to_host(one.exponent)) for one in ad.leaves(estimate.grad)]
        sign, log2 = float(to_host(mean.sign())[0]), float(to_host(mean.log2abs())[0])
        signs = np.concatenate([np.ravel(leaf.sign()) for leaf in leaves]).astype(np.float64)
        logs = np.concatenate([np.ravel(leaf.log2abs()) for leaf in leaves]).astype(np.float64)
        with np.errstate(all="ignore"):
            signs, logs = signs[self.where.moved], logs[self.where.moved]
            moved = signs * self.where.slopes(x)
            if self._takes_log(sign, log2):
                f, g = math.log(2.0) * log2 if sign > 0 else math.nan, moved * np.exp2(logs - log2)
            else:
                f, g = sign * float(np.exp2(log2)), moved * np.exp2(logs)
        if not math.isfinite(f) or not np.isfinite(g).all():
            return nothing._replace(value_log2=log2, value_sign=sign, status=bad)
        found = Evaluation(f, g, log2, sign, bad)
        if self.second and not np.isfinite(self._curvature(x, found)).all():
            return nothing._replace(value_log2=log2, value_sign=sign, status=bad)
        return found

    def hessian(self, x: Array) -> Array:
        """Return the second derivatives of f (P, P) at an x where f was found."""
        x = np.array(x, dtype=np.float64)
        self(x)
        found = self.kept.get(x)
        assert found is not None
        if not math.isfinite(found.f):
            return np.zeros((x.size, x.size))  # nothing is told of it
        return self._curvature(x, found)

    def _curvature(self, x: Array, found: Evaluation) -> Array:
        """Return d^2 f/d x^2: slopes' F'' slopes + F' bends, and of log F all over F, less the square of f'."""
        key = x.tobytes()
        if key not in self.hessians:
            assert isinstance(self.estimator, ClosedForm)
            free = np.ix_(self.where.moved, self.where.moved)
            second = self.estimator.hessian(*self.given, self.where.phi(x), steps=self.steps)[free]
            slopes, shift = self.where.slopes(x), found.value_log2 if self.logarithm else 0.0
            with np.errstate(all="ignore"):
                curved = second.sign() * np.exp2(second.log2abs() - shift) * np.outer(slopes, slopes)
                bent = np.where(slopes == 0, 0.0, found.g / slopes * self.where.bends(x))
                self.hessians[key] = curved + np.diag(bent) - (np.outer(found.g, found.g) if self.logarithm else 0.0)
        return self.hessians[key].copy()

    def _takes_log(self, sign: float, log2: float) -> bool:
        """Tell whether f is the log of the objective: decided where the search begins."""
        if self.logarithm is None:
            self.logarithm = not parts.takes_a_logarithm(self.given[2]) and sign > 0 and math.isfinite(log2)
        return self.logarithm


def _searched(asked: _Asked, phi: Tree, method: str, tolerance: float, most: int) -> Minimum:
    from scipy.optimize import minimize

    where, kept = asked.where, asked.kept
    x0 = where.at(phi)
    first = asked(x0)[0]
    if not math.isfinite(first):
        _refuse_start(asked, kept.get(x0))
    options = {"maxiter": most, _METHODS[method]: tolerance}
    if method == "TNC":
        options["maxfun"] = 20 * options.pop("maxiter")
    if method == "L-BFGS-B":
        options["ftol"] = 0.0
    with np.errstate(all="ignore"):  # inf is an answer
        if method == "Newton":
            ended: Any = newton(asked, asked.hessian, x0, tolerance, most)
        else:
            ended = minimize(asked, x0, jac=True, method=method, options=options)
    best = min(range(len(kept.found)), key=lambda k: kept.found[k].f)
    if method == "Newton":  # the end may be above it by rounding
        best = next(k for k, x in enumerate(kept.points) if np.array_equal(x, ended.x))
    found, last = kept.found[best], kept.get(np.asarray(ended.x, np.float64))
    slopes = [float(np.abs(one.g).max()) for one in (found, last) if one is not None]
    is_flat = method == "SLSQP" or min(slopes) <= tolerance  # L-BFGS-B and TNC also stop where f does not fall
    said = str(ended.message)
    if ended.success and not is_flat:
        said = f"The slope is {min(slopes):.1e}, above the tolerance. {said}"
    return Minimum(
        phi=where.phi(kept.points[best]),
        value=Scaled.from_log(np.array([found.value_sign]), np.array([found.value_log2 * math.log(2.0)])),
        slope=slopes[0],
        converged=bool(ended.success) and is_flat,
        message=said,
        logarithm=bool(asked.logarithm),
        names=where.names,
        iterations=int(ended.nit),
        path=np.stack(kept.points),
        value_log2=np.array([one.value_log2 for one in kept.found]),
        value_sign=np.array([one.value_sign for one in kept.found]),
        status=np.array([one.status for one in kept.found]),
    )


def _refuse_start(asked: _Asked, found: Evaluation | None) -> None:
    """Raise ValueError: there is nothing to begin from."""
    if found is not None and asked.logarithm and found.value_sign <= 0:
        came = "True, and the objective at phi is not above 0"
        bad_value(_WHERE, "logarithm", came, "an objective above 0", "Leave it out to minimise the objective itself.")
    if found is not None and math.isfinite(found.value_log2):
        came = f"phi, where the objective or a derivative is out of the range of floats (2^{found.value_log2:.0f})"
        bad_value(_WHERE, "phi", came, "one to begin from", "Minimise its log (LogFinal, say), or begin elsewhere.")
    remedy = "`meta_gradient(...).report()` there says what happened."
    bad_value(_WHERE, "phi", flat(asked.where.template), "a phi at which the objective is a number", remedy)
