"""What happened to a number, and what to do about it.

Bad arguments are exceptions (`ValueError` for values, `TypeError` for kinds) that say which function, which
argument, what came, what was expected and what to do. Leaving the range of floating point in the middle of an
unroll, or losing all digits to rounding, is not an exception: one task of a batch may overflow while the others are
fine. It is a `Status` per task, with the step at which it was first seen.
"""

from __future__ import annotations

from enum import Enum
from typing import NoReturn


class Status(Enum):
    """What became of one task's value and meta-gradient; the value of each member is its message."""

    OK = "all numbers stayed within the range of the dtype"
    STATE_ZERO = (
        "the state became exactly zero: it was solved exactly or fell through the whole subnormal range in one "
        "step; scaling='auto' tells the two apart on homogeneous problems"
    )
    STATE_UNDERFLOW = (
        "a state fell below the smallest normal number, where digits are lost and steps stagnate; use "
        "scaling='auto' where the step is homogeneous, a wider dtype, or a shorter horizon"
    )
    STATE_OVERFLOW = (
        "a state exceeded the largest finite number; use scaling='auto' where the step is homogeneous, a wider "
        "dtype, a smaller step size, or a shorter horizon"
    )
    STATE_NAN = "a state became NaN; look at the loss and the update at that step"
    OBJECTIVE_UNDERFLOW = (
        "the meta-objective fell below the smallest normal number; use scaling='auto' or a wider dtype"
    )
    OBJECTIVE_OVERFLOW = "the meta-objective exceeded the largest finite number; use scaling='auto' or a wider dtype"
    OBJECTIVE_NAN = "the meta-objective is NaN"
    LOG_OF_ZERO = (
        "the logarithm of a zero loss was asked for: the log objective is -inf and its gradient undefined; use a "
        "plain objective at this step size"
    )
    LOG_OF_NEGATIVE = "the logarithm of a negative loss was asked for; the log objectives need a loss that is positive"
    ADJOINT_UNDERFLOW = (
        "an adjoint fell below the smallest normal number: what it still had to add is lost; use scaling='auto'"
    )
    ADJOINT_OVERFLOW = "an adjoint exceeded the largest finite number; use scaling='auto'"
    ADJOINT_NAN = "an adjoint became NaN; a rule was differentiated where it has no derivative"
    ENTRIES_LOST = (
        "entries of the state or of its adjoint fell out of the range of floats beside others, and may have counted; "
        "use scaling='auto' and rescue='always', a wider dtype, or a shorter horizon"
    )
    GRADIENT_UNDERFLOW = "the meta-gradient fell below the smallest normal number; use scaling='auto' or a wider dtype"
    GRADIENT_OVERFLOW = "the meta-gradient exceeded the largest finite number; use scaling='auto' or a wider dtype"
    GRADIENT_NAN = "the meta-gradient is NaN"
    GRADIENT_ROUNDING = (
        "the meta-gradient is rounding, with few digits or none: the state had converged to its last digits, or what "
        "the steps give cancels; use task.centred() on least squares, method='closed_form', a wider dtype, or a "
        "shorter horizon"
    )
    VALUE_ROUNDING = (
        "rounding decides the value of the meta-objective: what is left of it is below what one rounding of the "
        "parameters moves; use method='closed_form' where there is one, a wider dtype, or a measure with a floor"
    )
    CHAOTIC = (
        "the run is chaotic: roundings grow along it until they decide the numbers, and no digit of them can be "
        "trusted; use a shorter horizon, windows (method='windows'), or an estimator that smooths the objective; "
        "a wider dtype only moves the horizon at which this happens"
    )
    INNER_NOT_STATIONARY = (
        "the inner gradient has not vanished at the end of the run, so that it is no optimum, and the implicit "
        "gradient is that of another point; take more steps, a better step size or rule, or method='reverse'"
    )
    INNER_INDEFINITE = (
        "the Hessian of the inner loss is not positive definite at the end of the run: a saddle, or a flat direction, "
        "along which the optimum is not a single point; add a penalty, or use method='reverse'"
    )
    INNER_UNSOLVED = (
        "the linear system of the implicit gradient was not solved to its tolerance; raise the limit, use "
        "solver='dense', a larger tolerance, or a penalty that conditions it better; for a Neumann series, its step "
        "size has to be below 2 over the largest curvature"
    )

    @property
    def code(self) -> int:
        """The small integer that stands for this status in an array (0 is OK)."""
        return _CODES[self]

    @property
    def message(self) -> str:
        """What happened and what to do."""
        return str(self.value)

    @classmethod
    def from_code(cls, code: int) -> Status:
        """Return the status that `code` stands for in an array."""
        return _MEMBERS[int(code)]


_MEMBERS = tuple(Status)
_CODES = {member: code for code, member in enumerate(_MEMBERS)}


class RangeError(OverflowError):
    """A number is outside the range of the float type that was asked for."""


def bad_value(function: str, argument: str, came: object, expected: str, remedy: str = "") -> NoReturn:
    """Raise the ValueError of this project: function, argument, what came, what was expected, what to do.

    >>> bad_value("meta_gradient", "steps", 0, "an integer of at least 1")
    Traceback (most recent call last):
    ValueError: meta_gradient: steps is 0; expected an integer of at least 1.
    """
    raise ValueError(_compose(function, argument, came, expected, remedy))


def bad_type(function: str, argument: str, came: object, expected: str, remedy: str = "") -> NoReturn:
    """Raise the TypeError of this project; the arguments are those of `bad_value`."""
    raise TypeError(_compose(function, argument, came, expected, remedy))


def _compose(function: str, argument: str, came: object, expected: str, remedy: str) -> str:
    text = f"{function}: {argument} is {came}; expected {expected}."
    return f"{text} {remedy}" if remedy else text


def nearest(name: str, known: list[str]) -> str:
    """Say which of the known names was probably meant, or list them all."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(repr(k) for k in known)
    return f"Did you mean {close[0]!r}? Known: {listed}." if close else f"Known: {listed}."
