"""What became of a case: what metagrad found, held against the reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import metagrad as mg
from tests.fuzz import digits
from tests.fuzz.cases import Case, run
from tests.fuzz.reference import Answer, answer

# Roundings move a number by so many times the largest of three samples at most; half precision has few digits to spare.
FACTOR = {"float16": 10.0, "float32": 30.0, "float64": 30.0}
HALF_A_DIGIT, TWO_DIGITS = 0.3, 0.01

RIGHT = "right"  # within what roundings allow, or right to a digit, and Status OK
SAID = "said"  # a Status, and the numbers are off or undefined
NEEDLESS = "needless"  # a Status, though all numbers are right to two digits
FAINT = "faint"  # as unsaid, of an entry whose error is small beside the whole gradient: it is right as a vector
UNSAID = "unsaid"  # Status OK, and conditioning has left no digit: another order of operations would give another one
MEASURED = "measured"  # unsaid or wrong, but `trust=True` says so
COARSE = "coarse"  # Status OK, beyond what roundings allow, and right to half a digit
WRONG = "wrong"  # Status OK, and beyond what roundings allow
RAISED = "raised"
OUTCOMES = (RIGHT, FAINT, SAID, NEEDLESS, MEASURED, UNSAID, COARSE, WRONG, RAISED)
REFUSED = "indefinite"  # a matrix of half precision, whose roundings are none to the closed forms in float64
_WORST = (RIGHT, FAINT, COARSE, UNSAID, WRONG)


@dataclass(frozen=True)
class Number:
    """One number of the answer: its name, what was found, what is right, and how wrong it is."""

    name: str
    found: str
    right: str
    error: float  # relative, inf where something else than a number was found or expected
    allowed: float  # the relative error that the roundings of the dtype allow
    outcome: str  # without regard to Status


@dataclass(frozen=True)
class Verdict:
    """The outcome of a case, its worst number, and what metagrad said."""

    outcome: str
    worst: Number | None
    said: str


def judge(case: Case) -> Verdict:
    """Return what became of the case."""
    try:
        found = run(case)
    except ValueError as error:
        return Verdict(SAID if REFUSED in str(error) else RAISED, None, f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict(RAISED, None, f"{type(error).__name__}: {error}")
    with np.errstate(all="ignore"):  # NumPy looks at the processor's flags, whoever raised them
        numbers = compare(case, found, answer(case))
    worst = max(numbers, key=lambda n: (_WORST.index(n.outcome), n.error))
    status = np.asarray(found.status)
    said = "" if not status.any() else found.report()
    said = said or _few_digits(found, worst)
    if not said:
        measured = "" if worst.outcome not in (UNSAID, WRONG) else _said_by_neighbours(case, worst)
        return Verdict(MEASURED, worst, measured) if measured else Verdict(worst.outcome, worst, "OK")
    right = all(n.error <= TWO_DIGITS for n in numbers)
    return Verdict(NEEDLESS if right else SAID, worst, said)


def _few_digits(found: Any, worst: Number) -> str:
    """Return what the estimate says of its digits where that is fewer than one, for the number at hand."""
    digits_of = getattr(found, "digits", None)
    if digits_of is None or worst.outcome in (RIGHT, FAINT):
        return ""
    few = digits_of.value if worst.name.startswith("value") else digits_of.gradient
    least = np.inf if few is None else float(np.min(few))
    return f"{least:.1f} digits" if least < 1 else ""


def _said_by_neighbours(case: Case, worst: Number) -> str:
    """Return what `trust=True` says of the number, where the method offers it."""
    offered = {"reverse": mg.Reverse, "forward": mg.Forward, "windows": mg.Windows, "value": mg.Value}.get(case.method)
    if "trust" not in getattr(offered, "__dataclass_fields__", {}):
        return ""
    found = run(replace(case, options={**case.options, "trust": True}))
    return found.report() if np.asarray(found.status).any() else _few_digits(found, worst)


def compare(case: Case, found: Any, right: Answer) -> list[Number]:
    """Return every number of the answer beside what was found.

    A field of one number may be off by the last digits of the whole gradient; the entries of an array are asked for
    digits of their own.
    """
    with digits.digits(420):
        numbers = [
            _number(case, f"value[{b}]", found.value[b], right.value[b], right.value_spread[b])
            for b in range(case.batch)
        ]
        for row, (field, index) in enumerate(right.entries):
            leaf = getattr(found.grad, field)
            for b in range(case.batch if case.per_task else 1):
                at = (*index, b) if case.per_task and leaf.shape[len(index) :] else index
                one = leaf[at] if at else leaf
                truth, spread = right.grad[row][b], right.grad_spread[row][b]
                whole = max(abs(r[b]) for r in right.grad)
                floor = 0 if index else 4 * _unit(case) * whole
                numbers.append(_number(case, f"grad.{field}{list(at) if at else ''}", one, truth, spread, whole, floor))
        return numbers


def _number(case: Case, name: str, found: Any, right: Any, spread: Any, whole: Any = 0, floor: Any = 0) -> Number:
    mantissa = float(np.asarray(found.mantissa).reshape(()))
    shown, truth = str(found)[7:-1], digits.shown(right)
    if not digits.is_finite(right):
        is_same = not np.isfinite(mantissa)
        outcome = UNSAID if is_same else WRONG  # it must have a Status all the same
        return Number(name, shown, truth, np.inf, 0.0, outcome)
    if not np.isfinite(mantissa):
        return Number(name, shown, truth, np.inf, 0.0, WRONG)
    distance = abs(digits.number(mantissa, int(np.asarray(found.exponent).reshape(()))) - right)
    if distance == 0:
        return Number(name, shown, truth, 0.0, 0.0, RIGHT)
    if not digits.is_finite(spread):  # a copy left the range of all numbers: anything is allowed
        return Number(name, shown, truth, np.inf, np.inf, UNSAID)
    allowed = max(floor, FACTOR[case.dtype] * spread + 16 * _unit(case) * abs(right))
    lost = FAINT if distance <= HALF_A_DIGIT / 3 * whole else UNSAID
    if right == 0:
        return Number(name, shown, truth, np.inf, np.inf, lost if distance <= allowed else WRONG)
    error, limit = (_as_float(x / abs(right)) for x in (distance, allowed))
    close, far = (RIGHT, lost) if distance <= allowed else (COARSE, UNSAID if limit >= 1 else WRONG)
    outcome = close if error <= HALF_A_DIGIT else far
    return Number(name, shown, truth, error, limit, outcome)


def _unit(case: Case) -> float:
    return float(np.finfo("float64" if case.method == "closed_form" else case.dtype).eps)


def _as_float(x: Any) -> float:
    return float(x) if x < 1e300 else np.inf
