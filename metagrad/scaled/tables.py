"""Which of NumPy's functions scaled numbers know, and how a call of NumPy finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from metagrad.xp import is_array

# Ufuncs by name, (*operands as Scaled) -> Scaled or a plain array; functions by themselves, with NumPy's own arguments.
UFUNCS: dict[str, Callable[..., Any]] = {}
REDUCTIONS: dict[str, Callable[..., Any]] = {}
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
# Functions that move entries and look at none: they do to digits and exponents the same.
MOVING: set[Any] = set()
KINDS: list[type] = []  # Scaled itself, which imports this module

_HOST, _REAL = (np.generic, int, float), np.dtype(float)


def apply_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return what a ufunc makes of scaled numbers and others; NotImplemented where an operand is of another kind."""
    numbers = inputs[::2] if method == "at" else inputs  # between them stands the index
    if not all((is_array(x) or isinstance(x, _HOST)) and getattr(x, "dtype", _REAL).kind in "fiub" for x in numbers):
        return NotImplemented  # a traced value: the tape's turn; a complex one: nobody's
    name = ufunc.__name__
    with np.errstate(all="ignore"):
        if method == "reduce" and name in REDUCTIONS and set(options) <= {"axis", "keepdims"}:
            return REDUCTIONS[name](*inputs, **{"axis": 0} | options)
        if method == "at" and name == "add":
            return FUNCTIONS[np.add.at](*inputs)
        if method != "__call__" or name not in UFUNCS or options:
            refuse(f"numpy.{name}" + ("" if method == "__call__" else f".{method}"), options)
        if name == "ldexp":
            return UFUNCS[name](*inputs)
        return UFUNCS[name](*together(*inputs))


def apply_function(function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return what another function of NumPy makes of scaled numbers; NotImplemented beside other kinds."""
    if not all(kind is KINDS[0] or issubclass(kind, np.ndarray) for kind in types):
        return NotImplemented
    with np.errstate(all="ignore"):
        if function in FUNCTIONS:
            return FUNCTIONS[function](*args, **options)
        if function in MOVING:
            return _moved(function, args, options)
    return refuse(f"numpy.{function.__name__}", {})


def together(*operands: Any) -> list[Any]:
    """Return operands as Scaled of the dtype that they have together; Python numbers take the dtype of the others."""
    first: Any = next(x for x in operands if type(x) is KINDS[0])
    # NumPy makes arrays without axes of its own numbers, which go with any device.
    plain: list[Any] = [x[()] if isinstance(x, np.ndarray) and not x.ndim else x for x in operands]
    wide: list[Any] = [x if type(x) is KINDS[0] else first.beside(x) for x in plain]
    dtype = np.result_type(*[x.dtype for x in wide])
    return [x if x.dtype == dtype else x.astype(dtype) for x in wide]


def _moved(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    args = tuple(_alike(x) for x in args)
    digits, powers = (function(*_part(args, which), **_part(options, which)) for which in ("mantissa", "exponent"))
    scaled = KINDS[0]
    if isinstance(digits, list | tuple):
        return type(digits)(scaled(m, e) for m, e in zip(digits, powers, strict=True))
    return scaled(digits, powers)


def _alike(x: Any) -> Any:
    """Return a sequence of arrays, some of them scaled, with all of them scaled."""
    if isinstance(x, list | tuple) and any(type(y) is KINDS[0] for y in x):
        return type(x)(together(*x))
    return x


def _part(x: Any, which: str) -> Any:
    if type(x) is KINDS[0]:
        return getattr(x, which)
    if isinstance(x, dict):
        return {key: _part(value, which) for key, value in x.items()}
    return type(x)(_part(y, which) for y in x) if type(x) in (list, tuple) else x


def refuse(what: str, options: dict[str, Any]) -> NoReturn:
    """Raise TypeError: scaled numbers do not know this."""
    with_options = f" with {', '.join(f'{name}=' for name in options)}" if options else ""
    raise TypeError(
        f"{what}{with_options} does not know scaled numbers (digits with an exponent beside each). "
        "Use metagrad.scaled.narrow(x) for the nearest floats."
    )
