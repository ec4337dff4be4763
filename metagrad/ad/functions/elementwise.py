"""Elementwise primitives: a table of derivatives, where g is the cotangent and out the value."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metagrad.ad.constants import COMPLEX, NUMBERS, TRACE, ComplexOperandError, constant, operand
from metagrad.ad.functions.shapes import array_of, in_place_of, like, module_of
from metagrad.ad.tape import Function, Op, Push, Rule, Var, multilinear, primitive, value_of
from metagrad.errors import bad_type
from metagrad.xp import Array, namespace, number_type

_HOST = frozenset({np.ndarray, float, int, np.float64, np.float32, np.float16})


def entrywise(*rules: Rule | None) -> Push:
    """Return the rule of tangents of a primitive that works entry by entry, from its VJP rules before `like`.

    Its Jacobian is diagonal, so that what takes a cotangent back takes a tangent forth.
    """

    def push(tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
        total: Any = None
        for i, t in tangents.items():
            part = rules[i](t, out, *args)  # type: ignore[misc]  # None only where no tangent comes
            total = part if total is None else total + part
        return in_place_of(total, out)

    return push


def unary(name: str, rule: Rule) -> Callable[[Any], Any]:
    """Return the function `name` of the array module, with its rule(g, out, x)."""
    op = Op(name, (rule,), entrywise(rule), (rule,))
    host = getattr(np, name)

    def call(x: Any) -> Any:
        value = x.value if type(x) is Var else x
        out = host(value) if type(value) in _HOST else getattr(namespace(value), name)(value)
        return out if value is x else Var(out, op, (x,))

    call.__name__ = call.__qualname__ = name
    return call


def binary(
    name: str,
    forward: Callable[[Any, Any], Any],
    rule_x: Rule,
    rule_y: Rule,
    recorded: Callable[[Any, Op, Any, Any], Var] | None = None,
) -> Callable[[Any, Any], Any]:
    """Return a function of two arguments that broadcast, with its rules (g, out, x, y) -> cotangent before `like`.

    `recorded(out, op, x, y)` makes the Var, where it is not always that of the op.
    """
    rules = (
        lambda g, out, x, y: like(rule_x(g, out, x, y), x),
        lambda g, out, x, y: like(rule_y(g, out, x, y), y),
    )
    op = Op(name, rules, entrywise(rule_x, rule_y), (rule_x, rule_y))

    def call(x: Any, y: Any) -> Any:
        try:
            if type(x) is Var:
                x_value = x.value
                if type(y) is Var:
                    y_value = y.value
                else:
                    y_value = y = y if type(y) in NUMBERS or TRACE.get().sweeping else constant(y, name)
            elif type(y) is Var:
                y_value = y.value
                x_value = x = x if type(x) in NUMBERS or TRACE.get().sweeping else constant(x, name)
            else:
                x_value, y_value = x, y
        except ComplexOperandError:
            return COMPLEX["binary"](name, x, y)
        try:
            out = forward(x_value, y_value)
        except TypeError:
            namespace(x_value, y_value, where=name)  # says what is wrong: no number, or two devices
            raise
        if x_value is x and y_value is y:
            return out
        return Var(out, op, (x, y)) if recorded is None else recorded(out, op, x, y)

    call.__name__ = call.__qualname__ = name
    return call


def _ufunc(name: str) -> Callable[[Any, Any], Any]:
    return lambda x, y: getattr(module_of(x, y), name)(x, y)


def _divide(x: Any, y: Any) -> Any:
    try:
        return x / y
    except ZeroDivisionError:  # Python numbers; arrays give inf or NaN, and so do we
        return float(np.divide(x, y))


def _power(x: Any, y: Any) -> Any:
    try:
        out = x**y
    except (ZeroDivisionError, OverflowError):
        return float(np.power(float(x), y))
    return float(np.power(x, y)) if type(out) is complex else out


def _power_rule_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    kind = number_type(y)
    if kind is not None and issubclass(kind, int | float):
        return g * 0.0 if y == 0 else g * (y * power(x, y - 1))
    # At 0**0 the derivative is 0, not 0 * 0**-1.
    return g * (y * power(x, where((y == 0) & (x == 0), y, y - 1)))


def _power_rule_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * (out * log(where(x == 0, 1.0, x)))


def _rule_of_a_squared_root(g: Any, out: Any, v: Any) -> Any:
    """Return g, as v is returned; NaN where v is negative or NaN."""
    value = value_of(out)
    return where(module_of(value).isnan(value), value, g)


_SQUARED_ROOT = Op(
    "squared_root", (_rule_of_a_squared_root,), entrywise(_rule_of_a_squared_root), (_rule_of_a_squared_root,)
)


def _recorded_power(out: Any, op: Op, x: Any, y: Any) -> Var:
    """Return x ** y as a Var; the square of a root sqrt(v) as v itself, which has a derivative at 0 too."""
    is_square = type(y) is int and y == 2 and type(x) is Var
    return Var(out, _SQUARED_ROOT, x.args) if is_square and _is_root(x) else Var(out, op, (x, y))


def _is_root(x: Var) -> bool:
    return x.op is not None and x.op.name == "sqrt" and type(x.args[0]) is Var


def _where_larger(g: Any, x: Any, y: Any) -> Any:
    """Return g where x > y, half of it at a tie, 0 (not 0 * g, which may be NaN) where x < y, and NaN at a NaN."""
    a, b = value_of(x), value_of(y)
    known = (a > b) | (a <= b)
    xp = module_of(known)
    if (xp is np and np.all(known)) or (_is_recorded(known) and _surely_numbers(a) and _surely_numbers(b)):
        return where(a > b, g, where(a == b, 0.5 * g, 0.0))
    half = xp.where(known, xp.asarray(0.5, g.dtype), xp.asarray(np.nan, g.dtype))
    return where(a > b, g, where(a < b, 0.0, half * g))


def _is_recorded(x: Any) -> bool:
    """Whether an array is one that `metagrad.replay` records: what is asked of it holds in every run of the program."""
    return hasattr(x, "surely_numbers")


def _surely_numbers(x: Any) -> bool:
    """Whether there is no NaN in an operand of what is recorded."""
    if type(x) is int:  # which may be too large for NumPy to look at
        return True
    return bool(x.surely_numbers() if _is_recorded(x) else not np.isnan(x).any())


def _sigmoid(x: Array) -> Array:
    xp = module_of(x)
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))  # never overflows


add = binary("add", operator.add, lambda g, out, x, y: g, lambda g, out, x, y: g)
subtract = binary("subtract", operator.sub, lambda g, out, x, y: g, lambda g, out, x, y: -g)
multiply = binary("multiply", operator.mul, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
divide = binary("divide", _divide, lambda g, out, x, y: g / y, lambda g, out, x, y: -(g * out) / y)
power: Function = binary("power", _power, _power_rule_base, _power_rule_exponent, _recorded_power)
maximum = binary(
    "maximum",
    _ufunc("maximum"),
    lambda g, out, x, y: _where_larger(g, x, y),
    lambda g, out, x, y: _where_larger(g, y, x),
)
minimum = binary(
    "minimum",
    _ufunc("minimum"),
    lambda g, out, x, y: _where_larger(g, y, x),
    lambda g, out, x, y: _where_larger(g, x, y),
)
logaddexp = binary(
    "logaddexp",
    _ufunc("logaddexp"),
    lambda g, out, x, y: g * sigmoid(x - y),
    lambda g, out, x, y: g * sigmoid(y - x),
)

negative = unary("negative", lambda g, out, x: -g)
_any_square = unary("square", lambda g, out, x: g * (2.0 * x))
sqrt: Function = unary("sqrt", lambda g, out, x: 0.5 * g / out)
exp: Function = unary("exp", lambda g, out, x: g * out)
expm1 = unary("expm1", lambda g, out, x: g * exp(x))
sin = unary("sin", lambda g, out, x: g * cos(x))
cos: Function = unary("cos", lambda g, out, x: -(g * sin(x)))
sinh: Function = unary("sinh", lambda g, out, x: g * cosh(x))
cosh: Function = unary("cosh", lambda g, out, x: g * sinh(x))
tanh = unary("tanh", lambda g, out, x: g * (1.0 - out * out))
arctan = unary("arctan", lambda g, out, x: g / (1.0 + x * x))
arcsinh = unary("arcsinh", lambda g, out, x: g / sqrt(1.0 + x * x))
absolute = unary("abs", lambda g, out, x: g * sign(x))
reciprocal = unary("reciprocal", lambda g, out, x: -(g * out * out))


def own(name: str, forward: Callable[[Any], Any], rule: Rule) -> Function:
    """Return a function of one argument, entry by entry, that the array module lacks."""
    return primitive(name, forward, (rule,), lambda call: entrywise(rule), (rule,))


def inside(rule: Rule, least: float | None = None) -> Rule:
    """Return the rule with NaN where the value is NaN: outside of the domain of a function there is no derivative.

    What is not asked for, a cotangent of 0, stays 0 there. `least`: of a function of one argument, which has a value
    from there on alone; then the value itself is not looked at, and need not be kept for its derivative.
    """

    def known(g: Any, out: Any, *args: Any) -> Any:
        part, value = rule(g, out, *args), value_of(out if least is None else args[0])
        if least is not None and _is_recorded(value) and value.surely_from(least):  # an exponential, say
            return part
        xp = module_of(value)
        none = xp.isnan(value) if least is None else xp.logical_not(value >= least)
        if xp is np and not np.any(none):
            return part
        asked = value_of(g) != 0
        return where(none & asked, math.nan, where(xp.logical_or(asked, xp.logical_not(none)), part, 0.0))

    return known


log: Function = unary("log", inside(lambda g, out, x: g / x, 0.0))
log2 = unary("log2", inside(lambda g, out, x: g / (x * float(np.log(2.0))), 0.0))
log10 = unary("log10", inside(lambda g, out, x: g / (x * float(np.log(10.0))), 0.0))
log1p = unary("log1p", inside(lambda g, out, x: g / (1.0 + x), -1.0))


def ordered(name: str, values: Callable[[Any, Any], Any], derivative: Callable[[Any, Any], Any]) -> Function:
    """Return f(n, x) for constant n, whose derivative in x, derivative(n, x), is made of the same family."""
    rule = inside(lambda g, out, n, x: g * derivative(n, x))
    rules: Any = (None, lambda g, out, n, x: like(rule(g, out, n, x), x))
    function = primitive(name, values, rules, lambda call: entrywise(None, rule), (None, rule))

    def call(n: Any, x: Any) -> Any:
        if type(n) is Var:
            remedy = "Take metagrad.ad.stop_gradient of it, or write the function as a sum or an integral."
            bad_type(name, "the order", "a traced value", "a constant: there is no derivative in it", remedy)
        return function(operand(n, name), x)

    call.__name__ = call.__qualname__ = name
    return call


def square(x: Any) -> Any:
    """x * x; that of a root sqrt(v) has the derivative of v, also at 0, where that of the root is infinite."""
    out = _any_square(x)
    return Var(out.value, _SQUARED_ROOT, x.args) if type(x) is Var and _is_root(x) else out


sigmoid: Function = own("sigmoid", _sigmoid, lambda g, out, x: g * (out * sigmoid(-x)))  # 1 - out cancels
# The derivative at 0 is 0, as everywhere in the field.
relu = own(
    "relu",
    lambda x: module_of(x).maximum(x, 0),
    lambda g, out, x: where(x > 0, g, where(x <= 0, 0.0, value_of(out))),  # a NaN is passed on
)


def _chosen(g: Any, out: Any, c: Any, x: Any, y: Any) -> Any:
    return _where(c, g, 0.0)


def _not_chosen(g: Any, out: Any, c: Any, x: Any, y: Any) -> Any:
    return _where(c, 0.0, g)


_where: Function = primitive(
    "where",
    lambda c, x, y: namespace(c, x, y).where(c, x, y),
    (
        None,  # type: ignore[arg-type]  # the condition has no derivative
        lambda g, out, c, x, y: like(_chosen(g, out, c, x, y), x),
        lambda g, out, c, x, y: like(_not_chosen(g, out, c, x, y), y),
    ),
    lambda call: entrywise(None, _chosen, _not_chosen),
    (None, _chosen, _not_chosen),
)


_LISTS = frozenset({list, tuple})


def where(condition: Any, x: Any, y: Any) -> Any:
    """Entries of x where the condition holds, of y elsewhere.

    Both branches are computed. What comes back to the one that was not chosen is 0, and stays 0 (`metagrad.ad.strong`):
    where(x > 0, sqrt(x), 0) is differentiated at 0 and below, too.
    """
    if not _LISTS.isdisjoint((type(condition), type(x), type(y))):
        condition, x, y = (array_of(a) if type(a) in _LISTS else a for a in (condition, x, y))
    return _where(value_of(condition), x, y)


def sign(x: Any) -> Any:
    """The sign, a constant: its derivative is zero wherever it has one."""
    value = value_of(x)
    return module_of(value).sign(value)


def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """Values limited to [a_min, a_max], also called min and max; at a limit half of the cotangent passes."""
    if (a_min is not None and min is not None) or (a_max is not None and max is not None):
        raise ValueError("numpy.clip: a limit came twice; expected a_min and a_max, or min and max.")
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = a if low is None else maximum(a, low)
    return a if high is None else minimum(a, high)


_passed = (lambda g, out, a: g,)
_copied = primitive("copy", lambda a: a, _passed, multilinear, _passed)


def copy(a: Any, order: str = "K") -> Any:
    """The entries themselves, but no leaf: they may be written over. `order` says how they lie in memory alone."""
    return _copied(a)


TABLE: dict[Any, Any] = {
    np.add: add,
    np.subtract: subtract,
    np.multiply: multiply,
    np.divide: divide,
    np.power: power,
    np.negative: negative,
    np.positive: copy,
    np.square: square,
    np.sqrt: sqrt,
    np.exp: exp,
    np.expm1: expm1,
    np.log: log,
    np.log2: log2,
    np.log10: log10,
    np.log1p: log1p,
    np.sin: sin,
    np.cos: cos,
    np.sinh: sinh,
    np.cosh: cosh,
    np.tanh: tanh,
    np.arctan: arctan,
    np.arcsinh: arcsinh,
    np.absolute: absolute,
    np.fabs: absolute,
    np.reciprocal: reciprocal,
    np.maximum: maximum,
    np.minimum: minimum,
    np.logaddexp: logaddexp,
    np.where: where,
    np.clip: clip,
    np.copy: copy,
}
