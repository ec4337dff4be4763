"""What is compared: a case, its meta-gradient as numbers of any size, and what is said where the two ways differ."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from metagrad import ad, checks, parts
from metagrad.diagnosis.convert import converted
from metagrad.estimators import Value
from metagrad.protocols import Estimate, Objective, Rule, Task, Tree
from metagrad.scaled import Scaled
from metagrad.system import Training
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import Array, to_host

WHERE = "assert_meta_gradient_matches"
SURE = 10.0  # digits are known to within one


class UnresolvedError(AssertionError):
    """The two ways could not be told apart from right or wrong: too few digits, or a run that left the range."""


@dataclass(frozen=True)
class Match:
    """What was compared: the way, to how many decimal digits the two agree at worst, and how many had to."""

    against: str
    digits: float
    asked: float

    def __str__(self) -> str:
        """Say it in a sentence."""
        return f"agrees with {self.against} to {self.digits:.1f} digits ({self.asked:.1f} had to)"


@dataclass(frozen=True)
class Case:
    """What was run, and how."""

    task: Task
    rule: Rule
    objective: Objective
    phi: Tree
    steps: int
    seed: int
    per_task: bool

    def value(self, phi: Tree) -> Scaled:
        """Return the values (B,), or their mean (1,) where phi is one for all tasks."""
        how = Value(per_task=self.per_task)
        found = how(self.task, self.rule, self.objective, phi, steps=self.steps, seed=self.seed).value
        return found if self.per_task else found.mean().reshape((1,))

    def __str__(self) -> str:
        """Say what was run, for whoever has to run it again."""
        shown = f"{self.objective!r}, steps={self.steps}, seed={self.seed}"
        per_task = ", per_task=True" if self.per_task else ""
        return f"{type(self.task).__name__}, {self.rule!r}, {shown}{per_task}, phi={checks.shown(self.phi)}"


def digits_of(one: Estimate, full: float, name: str) -> Any:
    """Return the digits of an estimate, (B,) where they are of tasks; one number where all are that one."""
    found = None if one.digits is None else getattr(one.digits, name)
    found = np.asarray(full if found is None else np.minimum(to_host(found), full), dtype=np.float64)
    return found if found.size and (found != found.flat[0]).any() else np.asarray(found.flat[0])


def axes_of_tasks(case: Case, grad: Tree) -> list[int | None]:
    """Return for each leaf which of its axes is that of the tasks; None where there is none."""
    if not case.per_task:
        return [None for _ in ad.leaves(grad)]
    entries = Training(case.task, case.rule, case.seed).entries(case.phi)
    led = [False for _ in ad.leaves(grad)] if entries is None else ad.leaves(entries)
    return [int(one) for one in led]


def length(grad: Tree, axes: list[int | None]) -> Scaled:
    """Return the Euclidean length of the gradient, (B,) where its leaves are task by task, else ()."""
    squares: Any = None
    for leaf, axis in zip(ad.leaves(grad), axes, strict=True):
        host = on_host(leaf)
        square = host * host
        over = tuple(k for k in range(square.ndim) if k != axis)
        square = square.sum(axis=over) if over else square
        squares = square if squares is None else squares + square
    return np.sqrt(squares)  # type: ignore[no-any-return]


def relative(x: Scaled, size: Scaled, axis: int | None) -> Array:
    """Return |x|/size as floats, 0 where x is; size is along the axis of tasks."""
    with np.errstate(all="ignore"):
        logs = to_host(size.log2abs())
        logs = along(logs, x.ndim, axis)
        ratio = np.exp2(np.minimum(to_host(x.log2abs()) - logs, 1000.0))
        return np.where(to_host(x.mantissa) == 0, 0.0, ratio)  # 0 of 0 too


def along(x: Any, ndim: int, axis: int | None) -> Any:
    """Return numbers (B,) with as many axes as needed to stand along the axis of tasks."""
    x = np.asarray(x)
    if axis is None or x.ndim == 0:
        return x
    return x.reshape(tuple(-1 if k == axis else 1 for k in range(ndim)))


def on_host(x: Scaled) -> Scaled:
    """Return the numbers on the host, in float64."""
    return Scaled.of(to_host(x.mantissa).astype(np.float64), to_host(x.exponent))


def dtype_of(task: Task, seed: int) -> np.dtype[Any]:
    """Return the dtype of the task's parameters."""
    first = next(x for x in ad.leaves(parts.start_of(task, seed)) if is_float_array(x))
    found: np.dtype[Any] = np.dtype(first.dtype)
    return found


def as_run(task: Task, seed: int, phi: Tree) -> Tree:
    """Return phi with Python's floats as the run takes them: rounded to the dtype of the task."""
    dtype = dtype_of(task, seed)
    return ad.tree_map(lambda x: float(dtype.type(x)) if type(x) is float else x, phi)


def widened(case: Case) -> Case:
    """Return the case in float64, where its code computes in it then; as it is where it does not, or at once."""
    if dtype_of(case.task, case.seed) == np.float64:
        return case
    task, rule, phi = (converted(part, np.float64) for part in (case.task, case.rule, case.phi))
    wide = dataclasses.replace(case, task=task, rule=rule, phi=phi)
    try:
        found = wide.value(phi)
    except Exception:  # code that takes its own dtype alone, whatever it raises
        return case
    return wide if found.dtype == np.float64 else case


def shown_number(x: Scaled) -> str:
    """Return one number with all of its digits, in decimal.

    >>> shown_number(Scaled.of(np.asarray(-1.5), 4000))
    '-1.97730614014641e+1204'
    """
    plain = float(x.to_float(out_of_range="ieee"))
    if np.isfinite(plain) and (plain or not float(to_host(x.mantissa))):
        return repr(plain)
    exact = Fraction(float(to_host(x.mantissa))) * Fraction(2) ** int(to_host(x.exponent))
    power = math.floor(float(to_host(x.log10abs())))
    return f"{float(exact / Fraction(10) ** power):.15g}e{power:+d}"


def differ(case: Case, found: Estimate, at: tuple[str, Any, Any], name: str, digits: float, asked: float) -> NoReturn:
    """Raise AssertionError: the two ways differ in a place, with the numbers of both."""
    place, ours, theirs = at
    what = place if place.startswith("the value") else f"the meta-gradient in {place}"
    raise AssertionError(
        f"{WHERE}: {what} is {ours}; expected {theirs}, by {name}. They agree to {max(digits, 0.0):.1f} digits, and "
        f"{asked:.1f} had to. Of {case}. {found.report()}"
    )


def unresolved(case: Case, what: str, least: float) -> NoReturn:
    """Raise UnresolvedError: too few digits can be compared."""
    raise UnresolvedError(
        f"{WHERE}: {what}; expected at least {least:g}. Take a shorter horizon, another phi, a wider dtype, "
        f"numbers of your own (against=...), or a smaller `least`. Of {case}."
    )
