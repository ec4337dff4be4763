"""Makers of differentiable forms of SciPy's functions, which has the values on the host, and CuPy on a device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as sp

from metagrad.ad.constants import operand
from metagrad.ad.functions.elementwise import binary, entrywise, inside, where
from metagrad.ad.functions.shapes import like, module_of
from metagrad.ad.tape import Function, Rule, Var, primitive, value_of
from metagrad.errors import bad_type
from metagrad.xp import scipy_of


def values_of_scipy(name: str) -> Callable[..., Any]:
    """Return SciPy's function `name` for plain values, from CuPy on a device; TypeError, by name, where it lacks it."""
    host = getattr(sp, name)

    def call(*values: Any) -> Any:
        xp = module_of(*values)
        if xp is np:
            try:
                return host(*values)
            except TypeError as error:
                raise TypeError(f"scipy.special.{name}: {error}") from error
        found = getattr(scipy_of(xp, "special"), name, None)
        if found is None:
            raise TypeError(
                f"scipy.special.{name}: CuPy has no such function, and a derivative asks for it. Run this part on the "
                "host (device='cpu'), or write the function with those that cupyx.scipy.special has."
            )
        return found(*values)

    return call


def one(name: str, rule: Rule, values: Callable[..., Any] | None = None) -> Function:
    """Return a function of one array from its rule (g, out, x)."""
    known = inside(rule)
    rules = (lambda g, out, x: like(known(g, out, x), x),)
    return primitive(name, values or values_of_scipy(name), rules, lambda call: entrywise(known), (known,))


def two(name: str, rule_x: Rule, rule_y: Rule, first: int = 0) -> Function:
    """Return a function of two arrays that broadcast from its rules (g, out, x, y).

    `first` says how many of the arguments must not be negative, for a function that is inf in the place of NaN there.
    """
    return binary(name, values_of_scipy(name), within(first, inside(rule_x)), within(first, inside(rule_y)))


def within(first: int, rule: Rule) -> Rule:
    """Return the rule with NaN where one of the first arguments is negative, as `inside` has it where the value is."""

    def known(g: Any, out: Any, *args: Any) -> Any:
        part = rule(g, out, *args)
        for x in args[:first]:
            value = value_of(x)
            xp = module_of(value)
            none = value < 0
            if xp is not np or np.any(none):
                part = where(xp.logical_and(none, value_of(g) != 0), math.nan, part)
        return part

    return known


def last(name: str, rule: Rule, remedy: str) -> Function:
    """Return a function that is differentiated in its last argument alone, from its rule (g, out, *args)."""
    known = inside(rule)
    count = getattr(sp, name).nin
    rules: Any = (*[None] * (count - 1), lambda g, out, *args: like(known(g, out, *args), args[-1]))
    entries = (*[None] * (count - 1), known)
    function = primitive(name, values_of_scipy(name), rules, lambda call: entrywise(*entries), entries)

    def call(*args: Any) -> Any:
        for i, a in enumerate(args[: count - 1]):
            if type(a) is Var:
                bad_type(f"scipy.special.{name}", f"argument {i}", "a traced value", "a constant", remedy)
        return function(*[operand(a, name) for a in args])

    call.__name__ = call.__qualname__ = name
    return call
