"""What the tape takes for a constant, and how it keeps one: with the entries that it had when the tape met it.

A pullback uses the constants of a function long after they were met, and a loss may refill an array in between: a
buffer, a mask, an index. So small arrays that could be written are copied. Large ones are made read-only until the
function that is traced returns, and NumPy refuses to write into them. On a device nothing is read-only: there, arrays
must not be written into while the tape keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from threading import get_ident
from typing import Any

import numpy as np

from metagrad.ad.refusals import is_refusal, last_refusal
from metagrad.ad.remedies import remedy_for
from metagrad.errors import bad_type

_SMALL = 1 << 12  # bytes up to which a copy is cheaper than anything else
NUMBERS = frozenset({float, int, bool, np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_})
_NOTE = (
    "metagrad.ad made the array read-only while it is being differentiated through: the pullback needs the entries "
    "that it had. Build a new array instead of refilling one."
)

_TRUTH = (
    "A chain, 0 < x < 1, asks for the truth of an array: write np.logical_and(0 < x, x < 1). Write "
    "np.where(mask, x, y) for a branch that each entry takes by itself, (x > 0).all() for one that all take."
)


# How complex operands are taken, once `metagrad.ad.complex_pair` has entered it: by a "binary" operation, a "function".
COMPLEX: dict[str, Callable[..., Any]] = {}


class ComplexOperandError(TypeError):
    """An operand is complex: what caught this takes the operation to `COMPLEX`."""


class _Trace:
    """What the tape is doing, in one thread."""

    __slots__ = ("depth", "frozen", "sweeping", "thread")

    def __init__(self, thread: int | None) -> None:
        self.depth = 0  # of the functions that are traced
        self.sweeping = False  # the tape's own code is at work: nobody writes into what it makes
        self.frozen: list[Any] = []  # the arrays that are read-only until the outermost traced function returns
        self.thread = thread


IDLE = _Trace(None)
TRACE: ContextVar[_Trace] = ContextVar("trace", default=IDLE)


def traced(f: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Return f(*args), a function that is traced; large constants can be written again once the outermost returns."""
    trace, thread = TRACE.get(), get_ident()
    if trace.thread != thread:
        trace = _Trace(thread)
        TRACE.set(trace)
    if not trace.depth:
        last_refusal()
    trace.depth += 1
    before, trace.sweeping = trace.sweeping, False
    try:
        return f(*args)
    except Exception as error:
        _explain(error, trace)
        raise
    finally:
        trace.depth -= 1
        trace.sweeping = before
        if trace.frozen and not trace.depth:
            for x in trace.frozen:
                x.setflags(True)  # by position: ten times faster than flags.writeable
            trace.frozen = []


def _explain(error: Exception, trace: _Trace) -> None:
    """Add to an error of the function that is traced what it comes from; raise the one that it hides."""
    refused = last_refusal()
    if refused and isinstance(error, ValueError | SystemError) and is_refusal(error.__cause__):
        raise error.__cause__ from None  # type: ignore[misc]
    if refused and not is_refusal(error):
        error.add_note(refused)
    elif isinstance(error, ValueError) and trace.frozen and "read-only" in str(error):
        error.add_note(_NOTE)
    elif isinstance(error, ValueError) and "truth value of an array" in str(error):
        error.add_note(_TRUTH)


def kept(x: Any) -> Any:
    """Return a NumPy array that has the entries of x, whatever is done to x."""
    base = x.base
    owner = base if isinstance(base, np.ndarray) and base.flags.writeable else None
    if owner is None and not x.flags.writeable:
        return x
    if x.nbytes <= _SMALL or not (base is None or isinstance(base, np.ndarray)):  # or owned by another library
        return x.copy("K")  # in the order of memory that it has: sums depend on it
    trace = TRACE.get()
    if trace.depth:
        for array in (owner, x):  # in this order they can be made writeable again
            if array is not None and array.flags.writeable:
                array.setflags(False)  # type: ignore[call-arg]
                trace.frozen.append(array)
    return x


def kept_arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a primitive with their NumPy arrays as `kept` returns them."""
    for a in args:
        if type(a) is np.ndarray:
            return tuple([kept(x) if type(x) is np.ndarray else x for x in args])
    return args


def kept_index(index: Any) -> Any:
    """Return an index whose arrays and lists stay as they are."""
    if TRACE.get().sweeping:
        return index
    if type(index) is tuple:
        return tuple([kept_index(i) if type(i) is np.ndarray or type(i) is list else i for i in index])
    return kept(index) if type(index) is np.ndarray else list(index) if type(index) is list else index


def constant(x: Any, where: str) -> Any:
    """Return x as the tape keeps it beside traced values; see `operand` and `kept`."""
    if type(x) is np.ndarray and x.dtype.kind in "fbiu":
        return kept(x)
    found = operand(x, where)
    return kept(found) if type(found) is np.ndarray else found


def operand(x: Any, where: str) -> Any:
    """Return x as an array of real numbers, or what is no array as it is.

    Lists, tuples and pandas objects are converted. TypeError, which says what to do, for masked arrays, matrices,
    sparse matrices, complex numbers, and entries that are no numbers.
    """
    if type(x) is np.ndarray:
        return x if x.dtype.kind in "fbiu" else _real(x, where)
    if type(x) in NUMBERS:
        return x
    if isinstance(x, complex | np.complexfloating):
        _refuse_complex(where, f"the complex number {x}")
    if getattr(getattr(x, "dtype", None), "kind", "") == "c" and not isinstance(x, np.ndarray):
        _refuse_complex(where, f"a {type(x).__name__} of {x.dtype}")
    if isinstance(x, np.ndarray):
        return _real(_plain(x, where), where)
    if hasattr(x, "nnz") and hasattr(x, "toarray"):
        remedy = remedy_for("scipy.sparse", "")
        bad_type(where, "an operand", f"a sparse {type(x).__name__}", "an array or a number", remedy)
    if type(x) is list or type(x) is tuple or (hasattr(x, "__array__") and hasattr(x, "iloc")):
        return _real(np.asarray(x), where)
    return x


def _plain(x: Any, where: str) -> Any:
    """Return an array of a subclass as a plain one, where that means the same."""
    if isinstance(x, np.ma.MaskedArray):
        came, expected = "a masked array", "a plain array"
        remedy = "Fill it, x.filled(0.0), and give the entries the weight (~np.ma.getmaskarray(x)).astype(x.dtype)."
        bad_type(where, "an operand", came, expected, remedy)
    if isinstance(x, np.matrix) or type(x).__array_ufunc__ is not np.ndarray.__array_ufunc__:
        bad_type(where, "an operand", f"a {type(x).__name__}", "a plain array", "Take np.asarray(x).")
    return x.view(np.ndarray)


def _real(x: Any, where: str) -> Any:
    kind = x.dtype.kind
    if kind in "fbiu" or x.dtype.name == "bfloat16":
        return x
    if kind == "c":
        _refuse_complex(where, f"an array of {x.dtype}")
    if kind == "O":
        try:
            return x.astype(np.float64)
        except (TypeError, ValueError):
            pass
    return bad_type(where, "an operand", f"an array of {x.dtype}", "real numbers", "Convert it with x.astype(float).")


def _refuse_complex(where: str, came: str) -> None:
    remedy = (
        "Write real and imaginary part apart: for np.abs(F @ w) take np.sqrt((F.real @ w)**2 + (F.imag @ w)**2), for "
        "the product of complex numbers their four real ones."
    )
    raise ComplexOperandError(f"{where}: an operand is {came}; expected real numbers. {remedy}")
