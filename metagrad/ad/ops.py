"""Every operation of the tape: what it computes, the rule of each operand, and where tests may draw its inputs.

A rule takes (cotangent, output, *operands) and returns the cotangent of its operand. Rules are written in these same
operations: given bare arrays they compute, given Vars they go on the tape, so every order of derivative comes for free.
The forward functions are NumPy's, which hand CuPy arrays to CuPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad.tape import Rule, Var, value_of

Operand = Any  # an array, a number, or a Var


class Entry(NamedTuple):
    """One row of the table: the operation, and inputs (rng -> operands) on which it is smooth."""

    call: Callable[..., Any]
    domain: Callable[[np.random.Generator], tuple[Any, ...]]


TABLE: dict[str, Entry] = {}


def _apply(forward: Callable[..., Any], operands: tuple[Any, ...], rules: tuple[Rule, ...]) -> Any:
    """Compute, and put the result on the tape if an operand is on it."""
    for operand in operands:
        if type(operand) is Var:
            return Var(forward(*[value_of(x) for x in operands]), operands, rules)
    return forward(*operands)


def _elementwise(
    name: str, forward: Callable[..., Any], rules: tuple[Rule, ...], domain: Callable[[np.random.Generator], Any]
) -> Callable[..., Any]:
    def call(*operands: Operand) -> Any:
        return _apply(forward, operands, rules)

    call.__name__, call.__doc__ = name, f"Return {name} of the operands, entry by entry."
    TABLE[name] = Entry(call, domain)
    return call


def fit(g: Any, like: Any) -> Any:
    """Return the cotangent g summed to the shape of `like`, which was broadcast, in its dtype."""
    shape, dtype = np.shape(value_of(like)), getattr(like, "dtype", None)
    if dtype is not None and g.dtype != dtype:
        g = astype(g, dtype)
    if g.shape == shape:
        return g
    extra = len(g.shape) - len(shape)
    if extra:
        g = sum(g, axis=tuple(range(extra)))
    ones = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return sum(g, axis=ones, keepdims=True) if ones else g


def _half_where_equal(chosen: Any, equal: Any, g: Any) -> Any:
    return where(chosen, g, where(equal, 0.5 * g, 0.0))


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape or (3, 4))


def _away_from_zero(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.uniform(0.3, 2.0, size=shape or (3, 4))
    return np.asarray(x * rng.choice([-1.0, 1.0], size=x.shape))


def _positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(0.3, 2.0, size=shape or (3, 4))


def _power_of_base(g: Any, y: Any, a: Any, p: Any) -> Any:
    # p a^(p-1), which is 0 for p = 0 also at a = 0
    exponent = value_of(p)
    if np.isscalar(exponent) and type(p) is not Var:
        return None if exponent == 0 else fit(g * (p * power(a, p - 1)), a)
    safe = where(exponent == 0, 1.0, p)
    return fit(g * (p * power(a, safe - 1)), a)


def _power_of_exponent(g: Any, y: Any, a: Any, p: Any) -> Any:
    # y log a, which is 0 at a = 0 for p > 0
    base = value_of(a)
    return fit(g * (y * log(where(base == 0, 1.0, a))), p)


def _sigmoid(x: Any) -> Any:
    z = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + z), z / (1 + z)).astype(x.dtype)


_pairs = {
    "same": lambda r: (_normal(r), _normal(r)),
    "broadcast": lambda r: (_normal(r, 3, 4), _normal(r, 4)),
}

add = _elementwise("add", np.add, (lambda g, y, a, b: fit(g, a), lambda g, y, a, b: fit(g, b)), _pairs["broadcast"])
subtract = _elementwise(
    "subtract", np.subtract, (lambda g, y, a, b: fit(g, a), lambda g, y, a, b: fit(-g, b)), _pairs["broadcast"]
)
multiply = _elementwise(
    "multiply", np.multiply, (lambda g, y, a, b: fit(g * b, a), lambda g, y, a, b: fit(g * a, b)), _pairs["broadcast"]
)
divide = _elementwise(
    "divide",
    np.true_divide,
    (lambda g, y, a, b: fit(g / b, a), lambda g, y, a, b: fit(-(g * y) / b, b)),
    lambda r: (_normal(r, 3, 4), _away_from_zero(r, 4)),
)
power = _elementwise(
    "power", np.power, (_power_of_base, _power_of_exponent), lambda r: (_positive(r, 3, 4), _normal(r, 4))
)
maximum = _elementwise(
    "maximum",
    np.maximum,
    (
        lambda g, y, a, b: fit(_half_where_equal(a > b, a == b, g), a),
        lambda g, y, a, b: fit(_half_where_equal(b > a, a == b, g), b),
    ),
    _pairs["same"],
)
minimum = _elementwise(
    "minimum",
    np.minimum,
    (
        lambda g, y, a, b: fit(_half_where_equal(a < b, a == b, g), a),
        lambda g, y, a, b: fit(_half_where_equal(b < a, a == b, g), b),
    ),
    _pairs["same"],
)
negative = _elementwise("negative", np.negative, (lambda g, y, a: -g,), lambda r: (_normal(r),))
square = _elementwise("square", np.square, (lambda g, y, a: g * (2 * a),), lambda r: (_normal(r),))
sqrt = _elementwise("sqrt", np.sqrt, (lambda g, y, a: g / (2 * y),), lambda r: (_positive(r),))
exp = _elementwise("exp", np.exp, (lambda g, y, a: g * y,), lambda r: (_normal(r),))
expm1 = _elementwise("expm1", np.expm1, (lambda g, y, a: g * (y + 1),), lambda r: (_normal(r),))
log = _elementwise("log", np.log, (lambda g, y, a: g / a,), lambda r: (_positive(r),))
log1p = _elementwise("log1p", np.log1p, (lambda g, y, a: g / (1 + a),), lambda r: (_positive(r),))
sin = _elementwise("sin", np.sin, (lambda g, y, a: g * np.cos(a),), lambda r: (_normal(r),))
cos = _elementwise("cos", np.cos, (lambda g, y, a: -g * np.sin(a),), lambda r: (_normal(r),))
sinh = _elementwise("sinh", np.sinh, (lambda g, y, a: g * np.cosh(a),), lambda r: (_normal(r),))
cosh = _elementwise("cosh", np.cosh, (lambda g, y, a: g * np.sinh(a),), lambda r: (_normal(r),))
tanh = _elementwise("tanh", np.tanh, (lambda g, y, a: g * (1 - y * y),), lambda r: (_normal(r),))
arctan = _elementwise("arctan", np.arctan, (lambda g, y, a: g / (1 + a * a),), lambda r: (_normal(r),))
arcsinh = _elementwise("arcsinh", np.arcsinh, (lambda g, y, a: g / sqrt(1 + a * a),), lambda r: (_normal(r),))
sigmoid = _elementwise("sigmoid", _sigmoid, (lambda g, y, a: g * (y * (1 - y)),), lambda r: (_normal(r),))
absolute = _elementwise("absolute", np.absolute, (lambda g, y, a: g * np.sign(a),), lambda r: (_away_from_zero(r),))
sign = _elementwise("sign", np.sign, (lambda g, y, a: None,), lambda r: (_away_from_zero(r),))


def _entry(
    domain: Callable[[np.random.Generator], tuple[Any, ...]],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add_to_table(call: Callable[..., Any]) -> Callable[..., Any]:
        TABLE[call.__name__] = Entry(call, domain)
        return call

    return add_to_table


@_entry(lambda r: (np.array([True, False, True, False]), _normal(r, 3, 4), _normal(r, 4)))
def where(condition: Any, a: Operand, b: Operand) -> Any:
    """Return a where the condition (bare booleans) holds, else b; nothing flows into the branch not taken."""
    condition = value_of(condition)
    rules = (
        lambda g, y, a, b: fit(where(condition, g, 0.0), a),
        lambda g, y, a, b: fit(where(condition, 0.0, g), b),
    )
    return _apply(lambda a, b: np.where(condition, a, b), (a, b), rules)


@_entry(lambda r: (_normal(r), -0.71, 0.83))
def clip(a: Operand, a_min: Any = None, a_max: Any = None) -> Any:
    """Return a limited to [a_min, a_max] (bare numbers); nothing flows where it is limited."""
    low, high = value_of(a_min), value_of(a_max)

    def rule(g: Any, y: Any, a: Any) -> Any:
        value = value_of(a)
        inside = ~np.isnan(value)  # NaN passes nothing
        inside = inside if low is None else inside & (value >= low)
        inside = inside if high is None else inside & (value <= high)
        return where(inside, g, 0.0)

    return _apply(lambda a: np.clip(a, low, high), (a,), (rule,))


@_entry(lambda r: (_normal(r),))
def relu(a: Operand) -> Any:
    """Return max(a, 0), with derivative 0 at 0."""
    return where(value_of(a) > 0, a, 0.0)


@_entry(lambda r: (_normal(r), np.float64))
def astype(a: Operand, dtype: Any) -> Any:
    """Return a in another float dtype; its cotangent comes back in the old one."""
    rule = lambda g, y, a: astype(g, a.dtype)  # noqa: E731 (a rule like the others)
    return _apply(lambda a: a.astype(dtype), (a,), (rule,))


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, tuple) else (axis,)))


def _with_axes(x: Any, axes: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Return a reduced array with its lost axes back, as ones."""
    return reshape(x, tuple(1 if i in axes else n for i, n in enumerate(shape)))


@_entry(lambda r: (_normal(r, 2, 3, 4), (0, 2)))
def sum(a: Operand, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum over `axis`, in the dtype of a."""
    if type(a) is not Var:
        return np.sum(a, axis=axis, keepdims=keepdims)
    axes, shape = _axes(axis, a.ndim), a.shape
    rule = lambda g, y, a: broadcast_to(_with_axes(g, axes, shape), shape)  # noqa: E731
    return _apply(lambda a: np.sum(a, axis=axes, keepdims=keepdims), (a,), (rule,))


@_entry(lambda r: (_normal(r, 2, 3, 4), 1))
def mean(a: Operand, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the mean over `axis`."""
    axes = _axes(axis, np.ndim(value_of(a)))
    count = int(np.prod([value_of(a).shape[i] for i in axes], dtype=int))
    return sum(a, axis=axes, keepdims=keepdims) / count


def _extremum(name: str, reduce: Callable[..., Any]) -> Callable[..., Any]:
    def call(a: Operand, axis: Any = None, keepdims: bool = False) -> Any:
        axes, shape = _axes(axis, np.ndim(value_of(a))), np.shape(value_of(a))

        def rule(g: Any, y: Any, a: Any) -> Any:
            hit = value_of(a) == value_of(_with_axes(y, axes, shape))
            share = hit / np.sum(hit, axis=axes, keepdims=True)  # ties share equally
            return _with_axes(g, axes, shape) * share.astype(g.dtype)

        return _apply(lambda a: reduce(a, axis=axes, keepdims=keepdims), (a,), (rule,))

    call.__name__, call.__doc__ = name, f"Return the {name}imum over `axis`; ties share the cotangent equally."
    TABLE[name] = Entry(call, lambda r: (_normal(r), -1))
    return call


max, min = _extremum("max", np.max), _extremum("min", np.min)


@_entry(lambda r: (_normal(r, 3, 4), (2, 6)))
def reshape(a: Operand, shape: Any) -> Any:
    """Return a in another shape."""
    before = np.shape(value_of(a))
    return _apply(lambda a: np.reshape(a, shape), (a,), (lambda g, y, a: reshape(g, before),))


@_entry(lambda r: (_normal(r, 1, 4), (3, 4)))
def broadcast_to(a: Operand, shape: tuple[int, ...]) -> Any:
    """Return a broadcast to `shape`."""
    return _apply(lambda a: np.broadcast_to(a, shape), (a,), (lambda g, y, a: fit(g, a),))


@_entry(lambda r: (_normal(r, 2, 3, 4), (2, 0, 1)))
def transpose(a: Operand, axes: Any = None) -> Any:
    """Return a with its axes permuted (reversed by default)."""
    order = tuple(range(np.ndim(value_of(a)))[::-1]) if axes is None else tuple(axes)
    back = tuple(int(i) for i in np.argsort(order))
    return _apply(lambda a: np.transpose(a, order), (a,), (lambda g, y, a: transpose(g, back),))


@_entry(lambda r: (_normal(r, 2, 3, 4), -1, -2))
def swapaxes(a: Operand, axis1: int, axis2: int) -> Any:
    """Return a with two axes exchanged."""
    order = list(range(np.ndim(value_of(a))))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(a, order)


@_entry(lambda r: (_normal(r, 2, 3, 4), 0, -1))
def moveaxis(a: Operand, source: int, destination: int) -> Any:
    """Return a with one axis moved."""
    order = list(range(np.ndim(value_of(a))))
    order.insert(destination % len(order), order.pop(source))
    return transpose(a, order)


@_entry(lambda r: (_normal(r, 3, 4), 1))
def expand_dims(a: Operand, axis: int) -> Any:
    """Return a with a new axis of length one."""
    return reshape(a, np.expand_dims(np.empty(np.shape(value_of(a))), axis).shape)


@_entry(lambda r: (_normal(r, 3, 1, 4), 1))
def squeeze(a: Operand, axis: Any = None) -> Any:
    """Return a without the axes of length one."""
    return reshape(a, np.squeeze(np.empty(np.shape(value_of(a))), axis=axis).shape)


@_entry(lambda r: (_normal(r, 3, 4), (np.array([0, 2, 2]), slice(1, 3))))
def getitem(a: Operand, index: Any) -> Any:
    """Return a[index], for any index of NumPy."""
    shape = np.shape(value_of(a))
    return _apply(lambda a: a[index], (a,), (lambda g, y, a: put(g, index, shape),))


@_entry(lambda r: (_normal(r, 3, 2), (np.array([0, 2, 2]), slice(1, 3)), (3, 4)))
def put(a: Operand, index: Any, shape: tuple[int, ...]) -> Any:
    """Return zeros of `shape` with a added at `index`, repeated entries adding up: the adjoint of getitem."""

    def forward(a: Any) -> Any:
        out = np.zeros_like(a, shape=shape)
        if _unique(index):
            out[index] = a
        else:
            np.add.at(out, index, a)
        return out

    return _apply(forward, (a,), (lambda g, y, a: getitem(g, index),))


def _unique(index: Any) -> bool:
    """Whether an index surely names no entry twice: slices, integers, new axes and masks."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        not hasattr(p, "dtype") or p.dtype.kind == "b" or p.ndim == 0 for p in parts if not isinstance(p, list)
    ) and (not any(isinstance(p, list) for p in parts))


@_entry(lambda r: ([_normal(r, 2, 3), _normal(r, 1, 3)], 0))
def concatenate(arrays: Any, axis: int = 0) -> Any:
    """Return the arrays joined along an axis."""
    ends = np.cumsum([np.shape(value_of(a))[axis] for a in arrays])
    place = axis % np.ndim(value_of(arrays[0]))

    def rule_of(i: int) -> Rule:
        part = slice(int(ends[i - 1]) if i else 0, int(ends[i]))
        return lambda g, y, *operands: getitem(g, (slice(None),) * place + (part,))

    rules = tuple(rule_of(i) for i in range(len(arrays)))
    return _apply(lambda *xs: np.concatenate(xs, axis=axis), tuple(arrays), rules)


@_entry(lambda r: ([_normal(r, 2, 3), _normal(r, 2, 3)], 1))
def stack(arrays: Any, axis: int = 0) -> Any:
    """Return the arrays joined along a new axis."""
    return concatenate([expand_dims(a, axis) for a in arrays], axis=axis)


def _swap(a: Any) -> Any:
    return swapaxes(a, -1, -2)


@_entry(lambda r: (_normal(r, 5, 3, 4), _normal(r, 4, 2)))
def matmul(a: Operand, b: Operand) -> Any:
    """Return the matrix product, with the vector and batch cases of NumPy."""
    if np.ndim(value_of(a)) == 1:
        return getitem(
            matmul(getitem(a, (None, slice(None))), b), (..., 0, slice(None)) if np.ndim(value_of(b)) > 1 else 0
        )
    if np.ndim(value_of(b)) == 1:
        return getitem(matmul(a, getitem(b, (slice(None), None))), (..., 0))
    rules = (lambda g, y, a, b: fit(matmul(g, _swap(b)), a), lambda g, y, a, b: fit(matmul(_swap(a), g), b))
    return _apply(np.matmul, (a, b), rules)
