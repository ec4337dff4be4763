"""How a call of NumPy's or SciPy's function with traced values reaches its differentiable form.

NumPy passes calls on by its protocols (NEP 13 for ufuncs, NEP 18 for functions). Arguments are taken as the function's
own signature has them, by place or by name; an option that the differentiable form lacks is refused by name.
"""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, NoReturn

import numpy as np

from metagrad.ad.constants import COMPLEX, NUMBERS, ComplexOperandError, operand
from metagrad.ad.functions.vectorize import OBJECTS, of_objects
from metagrad.ad.refusals import called_within
from metagrad.ad.table import CONSTANT, FUNCTIONS, REFUSED, find
from metagrad.ad.tape import Var, value_of
from metagrad.ad.ufuncs import METHODS, with_options

REMEDY = (
    "Write it with supported functions (docs/operations.md), bring your own with metagrad.ad.primitive and "
    "metagrad.ad.register, or apply it to metagrad.ad.stop_gradient(x) if no derivative is meant."
)
# Parameters that count or place: NumPy's integers are as good as Python's.
_INTEGERS = frozenset(
    {
        *("axis", "axes", "axis1", "axis2", "axisa", "axisb", "axisc", "source", "destination"),
        *("offset", "k", "n", "m", "repeats", "shift"),
    }
)


def name_of(function: Any) -> str:
    """Return the name under which people call a function."""
    module = getattr(function, "__module__", None)
    if isinstance(function, np.ufunc):
        is_numpys = getattr(np, function.__name__, None) is function or of_objects(function)
        module = "numpy" if is_numpys else "scipy.special"
    public = ".".join(part for part in (module or "numpy").split(".") if not part.startswith("_"))
    return f"{public}.{function.__name__.lstrip('_')}"  # SciPy calls ufuncs behind some functions, as _zeta


def unsupported(function: Any, what: str = "") -> TypeError:
    """Return the error that says what cannot be traced, and what to write."""
    name, remedy = name_of(function), OBJECTS if of_objects(function) else REFUSED.get(function, REMEDY)
    return TypeError(f"{name}{what} cannot be traced by metagrad.ad{called_within(name)}. {remedy}")


def refuse_out(function: Any) -> NoReturn:
    """Refuse to write into an array that was given."""
    raise TypeError(f"{name_of(function)}: a traced value cannot be written in place. Write x = x + y for x += y.")


class _Signature(NamedTuple):
    """How NumPy's function is called, and what of it is supported."""

    ours: frozenset[str]
    theirs: dict[str, Any]  # the defaults of its parameters by name; empty where NumPy does not tell
    shared: int  # how many parameters come in the same place
    integers: tuple[int, ...]  # the places of those that count or place


@cache
def _signature(function: Any, traced: Any) -> _Signature:
    parameters = inspect.signature(traced).parameters
    ours = tuple(parameters)
    try:
        given = list(inspect.signature(function).parameters.values())
    except ValueError:
        given = []
    integers = tuple(i for i, name in enumerate(ours) if name in _INTEGERS)
    theirs = {p.name: p.default for p in given if p.kind is not p.VAR_POSITIONAL}
    if len(theirs) < len(given) or not given or isinstance(function, np.ufunc):
        return _Signature(frozenset(ours), theirs, sys.maxsize, integers)  # any number, or NumPy does not tell
    same = [mine == name for mine, name in zip(ours, theirs, strict=False)]
    return _Signature(frozenset(ours), theirs, same.index(False) if False in same else len(same), integers)


_SIMPLE = frozenset({int, bool, float, type(None), Var, np.ndarray})  # what has no integer of NumPy's in it
_SURE = frozenset({Var, type(None), str, slice, *NUMBERS})


def _operands(args: Any, where: str) -> list[Any]:
    """Return the arguments of a function, and what is in lists of them, as real arrays; TypeError for others."""
    return [a if type(a) in _SURE else _operand(a, where) for a in args]


def _operand(a: Any, where: str) -> Any:
    return type(a)(_operands(a, where)) if type(a) in (list, tuple) else operand(a, where)


def _plain_integers(x: Any) -> Any:
    """Return NumPy's integers, also in tuples and lists, as Python's."""
    if isinstance(x, np.integer):
        return operator.index(x)
    return type(x)(map(_plain_integers, x)) if type(x) in (tuple, list) else x


def values_of(x: Any) -> Any:
    """Return plain values, also of what is in tuples and lists."""
    return type(x)(map(values_of, x)) if type(x) in (tuple, list) else value_of(x)


def _by_name(signature: _Signature, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return arguments that our function takes for what they are: those in another place by name, defaults left out."""
    ours, theirs, shared = signature.ours, signature.theirs, signature.shared
    if len(args) > shared:
        kwargs = {**dict(zip(list(theirs)[shared:], args[shared:], strict=False)), **kwargs}
        args = args[:shared]
    left = {name: x for name, x in kwargs.items() if name in ours or name not in theirs or x is not theirs[name]}
    return args, left


def _taken(signature: _Signature, where: str, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return arguments as the tape takes them: real arrays, and what counts or places as Python's integers."""
    if len(args) != 1 or type(args[0]) is not Var:
        args = _operands(args, where)
        for i in signature.integers:
            if i < len(args) and type(args[i]) not in _SIMPLE:
                args[i] = _plain_integers(args[i])
    for name, x in kwargs.items():
        if name in _INTEGERS:
            kwargs = kwargs if type(x) in _SIMPLE else {**kwargs, name: _plain_integers(x)}
        elif type(x) not in _SURE:
            kwargs = {**kwargs, name: _operand(x, where)}
    return args, kwargs


def call_function(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what NumPy's `function` gives for traced arguments; TypeError where it or an option is not supported."""
    traced = FUNCTIONS.get(function)
    if traced is None:
        traced = None if function in CONSTANT else find(function)
        if function in CONSTANT:  # maybe of a family that has just been loaded
            return function(*map(values_of, args), **{name: values_of(x) for name, x in kwargs.items()})
        if traced is None:
            raise unsupported(function)
    signature = _signature(function, traced)
    try:
        args, kwargs = _taken(signature, function.__name__, args, kwargs)
    except ComplexOperandError:
        return COMPLEX["function"](function, args, kwargs)
    if len(args) <= signature.shared and kwargs.keys() <= signature.ours:
        return traced(*args, **kwargs)
    args, kwargs = _by_name(signature, args, kwargs)
    unknown = kwargs.keys() - (kwargs.keys() if "kwargs" in signature.ours else signature.ours)
    if "out" in unknown:
        refuse_out(function)
    if unknown:
        raise unsupported(function, f" with {', '.join(sorted(unknown))}=")
    return traced(*args, **kwargs)


def call_ufunc(ufunc: Any, method: str, inputs: Any, kwargs: dict[str, Any]) -> Any:
    """Return what a ufunc, or a method of it, gives for traced arguments."""
    if method != "__call__":
        return _call_method(ufunc, method, inputs, kwargs)
    if not kwargs:
        traced = FUNCTIONS.get(ufunc)
        if traced is not None:
            return traced(*inputs)
    elif ufunc not in CONSTANT:
        inputs, kwargs = with_options(name_of(ufunc), inputs, kwargs)
    return call_function(ufunc, inputs, kwargs)


def _call_method(ufunc: Any, method: str, inputs: Any, kwargs: dict[str, Any]) -> Any:
    if ufunc in CONSTANT and method != "at":
        return getattr(ufunc, method)(*map(values_of, inputs), **{name: values_of(x) for name, x in kwargs.items()})
    traced, by_method = find(ufunc), METHODS.get(method)
    if traced is None or by_method is None:
        raise unsupported(ufunc, f".{method}")
    if kwargs.pop("out", None) not in (None, (None,)):
        refuse_out(ufunc)
    found: Callable[..., Any] = by_method
    unknown = kwargs.keys() - inspect.signature(found).parameters.keys()
    if unknown:
        raise unsupported(ufunc, f".{method} with {', '.join(sorted(unknown))}=")
    return found(ufunc, traced, *inputs, **{name: _plain_integers(x) for name, x in kwargs.items()})
