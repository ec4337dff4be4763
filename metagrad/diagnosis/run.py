"""The call of a user: everything that is looked at, in one `Diagnosis`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from metagrad import ad, checks, parts
from metagrad.api import check_phi
from metagrad.diagnosis import horizons, known, words
from metagrad.diagnosis.bias import biases, default_windows
from metagrad.diagnosis.case import Case, log10_norm
from metagrad.diagnosis.convert import check_dtype, converted
from metagrad.diagnosis.cost import cost
from metagrad.diagnosis.growth import SINCE, Sizes, log10_sizes, rate, tangent_sizes
from metagrad.diagnosis.horizons import Ends, Halves
from metagrad.diagnosis.reach import USELESS, reach, useful_horizon
from metagrad.diagnosis.regimes import regimes, stands_still, trend
from metagrad.diagnosis.report import Diagnosis
from metagrad.errors import bad_type
from metagrad.protocols import Digits, Estimate, Objective, Rule, Task, Tree
from metagrad.system import Training
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import to_host

_WHERE = "diagnose"
_COPIES = 3


def diagnose(
    task: Task,
    rule: Rule,
    objective: Objective,
    phi: Tree,
    *,
    steps: int,
    dtype: Any = None,
    seed: int = 0,
    windows: tuple[int, ...] | None = None,
) -> Diagnosis:
    """Return what can go wrong with a meta-gradient here, in numbers and words, each with what to change.

    `task`, `rule`, `objective`, `phi`, `steps`, `seed`: those of `meta_gradient`. `dtype`: "float16", "float32" or
    "float64", in which all is run, by default that of the task; the arrays of task, rule and phi are converted, and a
    task whose function holds data of another dtype is a TypeError. `windows`: lengths of truncated backpropagation
    whose bias is measured, by default a twentieth, a fifth and a half of the steps.

    Takes the time of 15 to 40 meta-gradients and the memory of the default plan. ValueError and TypeError for bad
    arguments; what goes wrong in the run is what this is about, and raises nothing.

    >>> import numpy as np, metagrad as mg
    >>> task = mg.DiagonalQuadratic(np.array([1.0, 4.0]), np.ones(2))
    >>> found = mg.diagnose(task, mg.GradientDescent(), mg.LogFinal(), 0.55, steps=100, dtype="float32")
    >>> found.regimes, found.state.value.round(4), found.plain.steps, found.scaled.steps
    (('exploding',), array([0.0792]), 227.0, inf)
    """
    case, kind = _checked(task, rule, objective, phi, steps, dtype, seed)
    with np.errstate(all="ignore"):  # what leaves the range is in the findings
        found = _measured(case, kind, default_windows(steps) if windows is None else _lengths(windows))
    return replace(found, findings=words.findings(found))


def _lengths(windows: Any) -> tuple[int, ...]:
    if not isinstance(windows, tuple | list):
        remedy = "Write windows=(10, 50), or leave it out."
        bad_type(_WHERE, "windows", checks.shown(windows), "a tuple of numbers of steps", remedy)
    return tuple(checks.count(_WHERE, "windows", one) for one in windows)


def _measured(case: Case, kind: Any, windows: tuple[int, ...]) -> Diagnosis:
    full = case.gradient(record=True, trust=_COPIES)
    half = case.gradient(steps=max(1, case.steps // 2), record=True)
    assert full.record is not None
    assert full.digits is not None
    sizes = Sizes(log10_sizes(full.record.state), log10_sizes(full.record.adjoint), tangent_sizes(case))
    directed = {"state": sizes.state, "adjoint": sizes.adjoint[::-1], "tangent": sizes.tangent}
    rates = {name: rate(logs, SINCE[name]) for name, logs in directed.items()}
    ends = Ends(*(Halves(*pair) for pair in zip(_ends(half), _ends(full), strict=True)))
    status = np.asarray(to_host(full.status))
    stands = None if case.unroll().scale_state else stands_still(case)
    named = regimes(rates["state"], rates["tangent"], status, stands, case.steps)
    reached = reach(case, full.grad, kind)
    return Diagnosis(
        about=_about(case, kind, len(status)),
        steps=case.steps,
        dtype=kind.name,
        regimes=named,
        **rates,
        trend=trend(ends.gradient.change),
        gradient=ends.gradient,
        plain=horizons.plain(case, kind, sizes, rates["state"], ends),
        scaled=horizons.scaled(case, kind, sizes, rates, named),
        digits=Digits(*(np.asarray(to_host(x)) for x in full.digits)),
        reach=reached,
        useful=useful_horizon(case, kind) if reached < USELESS else None,
        biases=biases(case, full.grad, windows),
        cost=cost(case),
        validation=known.validation(case),
        status=status,
        sizes=sizes,
    )


def _ends(found: Estimate) -> tuple[float, ...]:
    assert found.record is not None
    adjoint = log10_sizes(found.record.adjoint)
    return log10_norm(found.value.mean()), log10_norm(found.grad), float(adjoint.max()), float(adjoint.min())


def _checked(
    task: Task, rule: Rule, objective: Objective, phi: Tree, steps: int, dtype: Any, seed: int
) -> tuple[Case, Any]:
    """Return the case and its dtype, once everything has been checked and converted."""
    for name, part, kind in (("task", task, Task), ("rule", rule, Rule), ("objective", objective, Objective)):
        parts.check_part(_WHERE, name, part, kind)
    steps, seed = checks.count(_WHERE, "steps", steps, 2), checks.count(_WHERE, "seed", seed, 0)
    phi = check_phi(_WHERE, task, rule, phi, steps)
    if dtype is not None:
        wanted = checks.float_dtype(_WHERE, "dtype", dtype)
        task, rule, phi = (converted(part, wanted) for part in (task, rule, phi))
        check_dtype(task, rule, phi, seed, wanted)
    case = Case(task, rule, objective, phi, steps, seed)
    start = Training(task, rule, seed).example()  # half precision is carried in a wider dtype by the unroll
    return case, next(leaf.dtype for leaf in ad.leaves(start) if is_float_array(leaf))


def _about(case: Case, dtype: Any, batch: int) -> str:
    parts = [type(part).__name__ for part in (case.task, case.rule, case.objective)]
    tasks = "one task" if batch == 1 else f"{batch} tasks"
    return f"{parts[1]} on {parts[0]} ({tasks}), {parts[2]}, {case.steps} steps in {dtype}"
