"""Derivatives of functions: vjp, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from metagrad.ad import constants, operators, strong, taught  # `operators` gives Var its own, `taught` SciPy
from metagrad.ad.complex_pair import Complex
from metagrad.ad.functions.shapes import is_float
from metagrad.ad.hold import are_gradients_held, gradients_held
from metagrad.ad.strong import may_have_nan
from metagrad.ad.tape import Pull, Record, Var, leaf, value_of, zeros_like
from metagrad.ad.tree import Tree, is_branch, leaves, leaves_as, tree_map, unflatten
from metagrad.errors import bad_type, bad_value
from metagrad.xp import is_array, namespace, number_type

WATCH: ContextVar[Pull | None] = ContextVar("watch", default=None)  # in the place of the rules, see `metagrad.ad.blame`

__all__ = [
    "Pullback",
    "grad",
    "hvp",
    "jvp",
    "operators",
    "recorded",
    "stop_gradient",
    "taught",
    "value_and_grad",
    "vjp",
]


def _is_differentiable(x: Any, where: str, argument: str) -> bool:
    """Tell floats from constants (integers, booleans); raise on what is neither."""
    if type(x) is np.ndarray and x.dtype.kind == "f":
        return True
    if type(x) is Var or type(x) is float:
        return True
    if hasattr(x, "dtype") and (is_array(x) or isinstance(x, np.generic)):
        if x.dtype.kind == "c":
            bad_type(where, argument, f"complex ({x.dtype})", "real numbers", "Split it into real and imaginary part.")
        if x.dtype.kind in "OSUmM":
            bad_type(where, argument, f"an array of {x.dtype}", "real numbers", "Convert it with x.astype(float).")
        return is_float(x.dtype)
    if type(x) is Complex:
        remedy = "Return a real number: np.abs(z)**2, z.real or z.imag." if "returns" in argument else ""
        bad_type(where, argument, f"complex ({x.dtype})", "real numbers", remedy)
    if isinstance(x, int):
        return False
    remedy = "Make records NamedTuples; let the function take all else from outside of its arguments."
    expected = "arrays, floats, None, and tuples, lists or dicts of them"
    return bad_type(where, argument, f"a {type(x).__name__}", expected, remedy)


class Pullback:
    """The linear map from a cotangent of the outputs to cotangents of the arguments; it may be called again."""

    __slots__ = ("_args", "_variables", "out", "outputs", "record")

    def __init__(self, args: tuple[Tree, ...], variables: list[list[Var | None]], traced_out: Tree) -> None:
        """Keep what was recorded between `variables`, one for each leaf of each argument, and the outputs."""
        self._args, self._variables = args, variables
        self.outputs = leaves(traced_out)
        for out in self.outputs:
            if type(out) is not Var:
                _is_differentiable(out, "vjp", "what the function returns")
        ends = [out for out in self.outputs if type(out) is Var]
        self.record = Record(ends, [v for of_arg in variables for v in of_arg if v is not None])
        self.out = _filled(traced_out, [self.record.plain(x) for x in self.outputs])

    @property
    def depends(self) -> bool:
        """Whether an output depends on an argument."""
        return any(type(out) is Var and out.id in self.record.reached for out in self.outputs)

    @property
    def visited(self) -> int:
        """How many recorded applications were looked at: none older than the arguments."""
        return self.record.visited

    def __call__(self, cotangent: Tree, wrt: Sequence[int] | None = None) -> tuple[Tree, ...]:
        """Return the cotangents of the arguments (of those at the positions `wrt`), None for constants."""
        seeds = self.seeds(cotangent)
        chosen = range(len(self._args)) if wrt is None else [self._position(i) for i in wrt]
        wanted = None if wrt is None else {v.id for i in chosen for v in self._variables[i] if v is not None}
        by = WATCH.get()
        found = self.record.pull(seeds, wanted, by)
        if by is None and may_have_nan(found.values()):
            with np.errstate(all="ignore"):  # what there is to say was said the first time
                found = self.record.pull(seeds, wanted, strong.pull)
        result: list[Tree] = [None] * len(self._args)
        others = set(map(id, seeds.values()))
        for i in chosen:
            result[i] = _filled(self._args[i], [_cotangent_of(v, found, others) for v in self._variables[i]])
        return tuple(result)

    def seeds(self, cotangent: Tree) -> dict[int, Any]:
        """Return the cotangents of the outputs that depend on an argument, by the id of the output."""
        given = leaves_as(self.out, cotangent, "pullback", "cotangent")
        seeds: dict[int, Any] = {}
        for out, cotangent_of_out in zip(self.outputs, given, strict=True):
            if cotangent_of_out is not None and type(out) is Var and out.id in self.record.reached:
                g = _beside(cotangent_of_out, out, "pullback", "cotangent", "the output")
                seeds[out.id] = seeds[out.id] + g if out.id in seeds else g
        return seeds

    def _position(self, i: int) -> int:
        n = len(self._args)
        if not -n <= i < n:
            bad_value("pullback", "wrt", i, f"positions of {n} arguments")
        return i % n


def _filled(tree: Tree, flat: list[Any]) -> Tree:
    """Return `tree` with the leaves `flat`; nothing and a lone leaf, the common cases, at once."""
    if not flat:
        return tree
    return unflatten(tree, flat) if is_branch(tree) else flat[0]


def _beside(g: Any, variable: Var, where: str, argument: str, of: str) -> Any:
    """Return g, a Python number in the dtype of the variable; raise where shape or dtype do not match."""
    if type(g) is float or type(g) is int:
        g = namespace(variable.value).asarray(g, dtype=variable.dtype)
    elif not (type(g) is Var or is_array(g) or isinstance(g, np.generic)):
        bad_type(where, argument, f"a {type(g).__name__}", "an array")
    if g.shape != variable.shape:
        bad_value(where, argument, f"of shape {g.shape}", f"the shape of {of}, {variable.shape}")
    if g.dtype != variable.dtype and type(variable.value) is not float:
        bad_type(where, argument, f"of {g.dtype}", f"the dtype of {of}, {variable.dtype}", "Convert it.")
    return g


def _cotangent_of(variable: Var | None, found: dict[int, Any], others: set[int]) -> Any:
    """Return the cotangent of a variable, as an array that can be written into and is none of the `others`."""
    if variable is None:
        return None
    g = found.get(variable.id)
    return zeros_like(variable.value) if g is None else _own(g, others)


def _own(g: Any, others: set[int]) -> Any:
    if type(g) is np.ndarray:
        if g.base is not None or id(g) in others or not g.flags.writeable:
            return g.copy()
        others.add(id(g))
    elif hasattr(g, "watched"):  # it is recorded (`metagrad.replay`), and copied where an array is
        if g.base is not None or id(g) in others:
            return g.copy()
        others.add(id(g))
    return g


def vjp(f: Callable[..., Tree], *args: Tree) -> tuple[Tree, Pullback]:
    """Return f(*args) and its pullback, the map v -> J'v, J the Jacobian of f at args.

    Arguments and output are trees: arrays, floats, None, and tuples, NamedTuples, lists or dicts of them (see `tree`).
    `pullback(cotangent)` returns one cotangent for each argument, of its structure, shapes and dtypes; integers,
    booleans and None are constants and get None. `pullback(cotangent, wrt=(1,))` propagates to the named positions
    only; the others get None. It can be called repeatedly. TypeError for other kinds.

    What is returned may be written into: it shares no memory with arguments, with cotangents or among itself. The
    arguments themselves must stay as they are until the last call of the pullback.

    >>> out, pullback = vjp(lambda x, y: x * y, 2.0, 5.0)
    >>> out, [float(g) for g in pullback(1.0)]
    (10.0, [5.0, 2.0])
    """
    pullback = recorded(f, *args)
    return tree_map(_apart, pullback.out), pullback


def recorded(f: Callable[..., Tree], *args: Tree) -> Pullback:
    """Return the pullback of f at args alone; its `out` belongs to the tape, and is not to be written into."""
    variables, traced = _traced(args, "vjp")
    return Pullback(args, variables, constants.traced(f, traced))


def _apart(x: Any) -> Any:
    """Return what a function made, apart from what the tape keeps."""
    return x.copy() if type(x) is np.ndarray else x


def _traced(args: tuple[Tree, ...], where: str) -> tuple[list[list[Var | None]], list[Tree]]:
    """Return a fresh variable for every leaf of every argument, None for constants, and the arguments with them."""
    variables: list[list[Var | None]] = []
    traced = []
    for arg in args:
        flat = leaves(arg)
        of_arg = [leaf(x) if _is_differentiable(x, where, "an argument") else None for x in flat]
        traced.append(_filled(arg, [x if v is None else v for x, v in zip(flat, of_arg, strict=True)]))
        variables.append(of_arg)
    return variables, traced


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Tree]]:
    """Return the function that gives f(*args) and the gradient of the sum of its entries.

    f returns one array; where its entries are losses of independent tasks, the gradient is that of each task. The
    gradient is with respect to the argument at `argnums` (a tuple of them where argnums is a tuple).

    >>> value, g = value_and_grad(lambda w: w**2)(3.0)
    >>> value, float(g)
    (9.0, 6.0)
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def evaluate(*args: Any) -> tuple[Any, Tree]:
        if are_gradients_held():  # constants all around, but what is differentiated here still has to be seen
            with gradients_held(False):
                out, grads = value_and_grad(f, argnums)(*stop_gradient(args))
                return stop_gradient(out), stop_gradient(grads)

        def of_chosen(*values: Any) -> Any:
            full = list(args)
            for i, value in zip(positions, values, strict=True):
                full[i] = value
            return f(*full)

        pullback = recorded(of_chosen, *[args[i] for i in positions])
        grads = pullback(_ones_like(pullback.out))
        out = pullback.out
        return (out.copy() if type(out) is np.ndarray else out), grads[0] if isinstance(argnums, int) else grads

    return evaluate


def _ones_like(out: Any) -> Any:
    if is_branch(out) or out is None or not _is_differentiable(out, "grad", "what the function returns"):
        came = f"a {type(out).__name__}" if not hasattr(out, "dtype") else f"an array of {out.dtype}"
        bad_type("grad", "what the function returns", came, "one float array", "Return the loss alone.")
    value = value_of(out)
    if (kind := number_type(value)) is not None:
        return np.float64(1.0) if kind is float else value.dtype.type(1)
    return namespace(value).ones_like(value)


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Tree]:
    """Return the gradient function of the sum over the entries of f's output; see `value_and_grad`.

    >>> float(grad(grad(lambda w: w**3))(2.0))
    12.0
    """
    evaluate = value_and_grad(f, argnums)
    return lambda *args: evaluate(*args)[1]


def hvp(f: Callable[[Tree], Any], w: Tree, v: Tree) -> Tree:
    """Return H v, H the Hessian of the sum of f's entries at w: the VJP of the gradient, as H = H'.

    >>> float(hvp(lambda w: w**3, 2.0, 10.0))
    120.0
    """
    return recorded(grad(f), w)(v)[0]


def jvp(f: Callable[..., Tree], args: tuple[Tree, ...], tangents: tuple[Tree, ...]) -> tuple[Tree, Tree]:
    """Return f(*args) and J applied to the tangents (None for zero and for constants).

    The tangents are pushed once along what f recorded, in the order in which it was computed.

    >>> out, tangent = jvp(lambda x: x**2, (3.0,), (10.0,))
    >>> out, float(tangent)
    (9.0, 60.0)
    """
    args = tuple(args)
    variables, traced = _traced(args, "jvp")
    flat = [v for of_arg in variables for v in of_arg]
    traced_out = constants.traced(f, traced)
    outputs = leaves(traced_out)
    record = Record([out for out in outputs if type(out) is Var], [v for v in flat if v is not None])
    coming = {
        v.id: _beside(t, v, "jvp", "tangents", "the argument")
        for v, t in zip(flat, leaves_as(args, tuple(tangents), "jvp", "tangents"), strict=True)
        if v is not None and t is not None
    }
    ends = {out.id for out in outputs if type(out) is Var}
    found = record.push(coming, ends)
    if may_have_nan(found[i] for i in ends if i in found):
        with np.errstate(all="ignore"):  # what there is to say was said the first time
            found = record.push(coming, ends, strong.push)
    others = set(map(id, coming.values()))
    tangent = _filled(traced_out, [_own(_tangent_of(out, record, found), others) for out in outputs])
    return _filled(traced_out, [_apart(record.plain(out)) for out in outputs]), tangent


def _tangent_of(out: Any, record: Record, found: dict[int, Any]) -> Any:
    if not _is_differentiable(out, "jvp", "what the function returns"):
        return None
    if type(out) is Var and out.id in record.reached and out.id in found:
        return found[out.id]
    value = value_of(out)
    return np.float64(0.0) if type(value) is float else zeros_like(value)


def stop_gradient(x: Tree) -> Tree:
    """Return x as a constant, a copy that may be written into: the derivative of every order is zero.

    >>> float(grad(lambda w: w * stop_gradient(w))(3.0))
    3.0
    """
    return tree_map(_copied, x)


def _copied(x: Any) -> Any:
    value = value_of(x)
    return value.copy() if is_array(value) else value
