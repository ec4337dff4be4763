"""What a traced value refuses to become, who asked for it, and what to write instead.

NumPy's functions hand a call over to the tape. Other code asks a traced value for a plain array (`__array__`) or a
plain number (`__float__`), which would lose the derivative without a word. The refusal names the function that the
user called: it is found in the user's own line of code, or else in the frames of the library that asks.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import linecache
import sys
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from metagrad.ad.densities import DISTRIBUTIONS, advice
from metagrad.ad.remedies import CONSTANT, NUMBER, STACK, WRITE, remedy_for

_LIBRARIES = frozenset(sys.stdlib_module_names) | {
    *("numpy", "scipy", "pandas", "sklearn", "matplotlib", "seaborn", "statsmodels", "skimage", "networkx", "xarray"),
    *("numba", "sympy", "mpmath", "torch", "jax", "autograd", "tensorflow", "cupy", "cupyx", "polars", "PIL", "joblib"),
}
_WRAPPERS = frozenset(  # frames between a library's function and the code that calls it
    {"wrapper", "wrapped", "inner", "inner_f", "decorated", "__ua_function__", "axis_nan_policy_wrapper"}
    | {"<listcomp>", "<genexpr>", "<dictcomp>", "<lambda>"}
)
_TAKE_ANYTHING = frozenset({"list", "tuple", "set", "sorted", "sum", "max", "min", "any", "all", "next", "map", "zip"})
_CALLERS = frozenset({("metagrad.ad.api", "of_chosen"), ("metagrad.ad.constants", "traced")})  # of the user's `f`
_TRACED = "while x is traced"
_LAST = threading.local()
_MAKES = {"array": "a plain array", "number": "a plain number", "integer": "an integer"}


class _Asked(NamedTuple):
    """Who asks a traced value for something plain."""

    name: str  # of the function, as people import it: "scipy.optimize.nnls"; or of the library; or ""
    is_call: bool  # whether `name` is that of a function
    frames: list[FrameType]  # of libraries, from the inside
    code: str  # the user's expression or line, "" where there is no source
    node: ast.AST | None  # the same, parsed
    line: str  # where it stands, and the line


def refuse(what: str, remedy: str) -> NoReturn:
    """Raise the TypeError that says what cannot be done while x is traced, and what to do."""
    _raise(what, _asked(sys._getframe(1)), remedy)


def _raise(what: str, asked: _Asked, remedy: str) -> NoReturn:
    at = f" ({asked.line})" if asked.line else ""
    said = f"{what} is not possible {_TRACED}: the derivative would be lost{at}. {remedy}"
    _LAST.said = said
    raise TypeError(said)


def last_refusal() -> str:
    """Return what was refused last in this thread, once: code in C puts an error of its own in the place of ours."""
    said: str = getattr(_LAST, "said", "")
    _LAST.said = ""
    return said


def is_refusal(error: BaseException | None) -> bool:
    """Tell whether an error is one that `refuse` raised: NumPy puts an error of its own on top of some."""
    return isinstance(error, TypeError) and _TRACED in str(error)


def array_of(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Refuse to make a plain array; tell SciPy's sparse matrices that it is none, so that they ask for the product."""
    frame = sys._getframe(1)
    if frame.f_code.co_name in ("array_equal", "array_equiv") and _package(frame) == "numpy":
        return np.asarray(self.value)  # of a list: an error here would be taken for False, without a word
    if _is_for_a_product(frame):
        nothing = np.empty((), object)  # for which scipy.sparse returns NotImplemented, and Python asks x
        nothing[()] = self
        return nothing
    return _refuse_plain("array")


def _is_for_a_product(frame: FrameType | None) -> bool:
    """Whether an operator of a sparse matrix asks; its method `multiply` would return NotImplemented to the user."""
    last = ""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("scipy.sparse.") or name.startswith("scipy.sparse.linalg"):
            break
        last, frame = frame.f_code.co_name, frame.f_back
    return last == "dot" or (last.startswith("__") and last != "__init__")


def _number_of(kind: str) -> Callable[..., Any]:
    def refusing(self: Any, *args: Any) -> NoReturn:
        _refuse_plain(kind)

    return refusing


def _refuse_plain(kind: str) -> NoReturn:
    asked = _asked(sys._getframe(2))
    otherwise = f"{STACK} {CONSTANT}" if kind == "array" else NUMBER
    what, remedy = _said(asked, kind, otherwise)
    _raise(what, asked, remedy)


def _said(asked: _Asked, kind: str, otherwise: str) -> tuple[str, str]:
    """Return what was tried and the remedy."""
    name, node = asked.name, asked.node
    if isinstance(node, ast.Subscript) and not asked.frames:
        is_write = isinstance(node.ctx, ast.Store)
        return asked.code + " = x" * is_write, WRITE if is_write else f"Take an index of plain integers. {CONSTANT}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and kind == "number":
        return asked.code, "Print f'{x:.3f}', which shows the value."
    found = _distribution(asked)
    if found is not None:
        return f"scipy.stats.{'.'.join(found)}", advice(*found)
    if name:
        made = "" if name in ("float", "int", "complex") else f", which makes {_MAKES[kind]} of x,"
        what = f"{name}(x){made}" if asked.is_call else f"what {name} makes of x"  # by an operator of its own
        return what, remedy_for(name, otherwise)
    what = f"{asked.code}, which makes {_MAKES[kind]} of x," if asked.code else f"to make {_MAKES[kind]} of x"
    return what, otherwise if asked.code else f"{otherwise} {WRITE}"


def called_within(name: str) -> str:
    """Return ", as scipy.optimize.lsq_linear calls it" where a library calls NumPy's function `name`, else nothing."""
    asked = _asked(sys._getframe(1))
    return f", as {asked.name} calls it" if asked.frames and asked.name not in ("", name) else ""


def _asked(frame: FrameType | None) -> _Asked:
    """Return who asks, from the frame of a traced value's method outwards."""
    while frame is not None and _is_of_the_tape(frame):
        if (frame.f_globals["__name__"], frame.f_code.co_name) in _CALLERS:  # of what is no Python code: np.asarray
            return _Asked(public_name(frame.f_locals.get("f")), True, [], "", None, "")
        frame = frame.f_back
    frames: list[FrameType] = []
    while frame is not None and _is_of_a_library(frame):
        frames.append(frame)
        frame = frame.f_back
    if frame is None or _is_of_the_tape(frame):
        code, node, line, name = "", None, "", ""
    else:
        code, node, line = _source(frame)
        name = _called(node, frame)
    if name:
        return _Asked(name, True, frames, code, node, line)
    if frames:
        is_call = not isinstance(node, ast.BinOp | ast.Compare)
        return _Asked(_name_of_frames(frames, is_call), is_call, frames, code, node, line)
    return _Asked("", False, frames, code, node, line)


def _is_of_the_tape(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("metagrad.ad.")


def _is_of_a_library(frame: FrameType) -> bool:
    if frame.f_globals.get("__name__") == "metagrad.ad.taught":  # what stands in the place of SciPy's function
        return True
    package = _package(frame)
    if not package and frame.f_back is not None:  # made by exec: scipy.stats does so
        package = _package(frame.f_back)
    return package in _LIBRARIES


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _source(frame: FrameType) -> tuple[str, ast.AST | None, str]:
    """Return the expression that a frame is at, as text and parsed, and where it stands."""
    code = frame.f_code
    start, end, first, last = next(islice(code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
    if start is None or end is None or first is None or last is None:
        return "", None, ""
    lines = [linecache.getline(code.co_filename, n, frame.f_globals) for n in range(start, end + 1)]
    if not all(lines):
        return "", None, ""
    cut = [line.encode() for line in lines]  # columns count bytes
    cut[-1] = cut[-1][:last]
    cut[0] = cut[0][first:]
    text = b"".join(cut).decode(errors="replace")
    shown = lines[0].strip()
    where = f"line {start} of {Path(code.co_filename).name}: {shown if len(shown) <= 100 else shown[:97] + '...'}"
    is_store = dis.opname[code.co_code[frame.f_lasti]] == "STORE_SUBSCR"
    try:
        node: ast.AST = ast.parse(f"({text})", mode="eval").body
    except SyntaxError:
        return "", None, where
    if is_store and isinstance(node, ast.Subscript):
        node.ctx = ast.Store()
    return " ".join(text.split()), node, where


def _called(node: ast.AST | None, frame: FrameType) -> str:
    """Return the name of the function of a call in the user's code; "" where it cannot be told."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Call):  # np.vectorize(f)(x)
        return _called(node.func, frame)
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):  # default_rng(0).normal(x)
        maker = _called(node.func.value, frame)
        return maker and f"{maker}.{node.func.attr}"
    function = _resolved(node.func, frame)
    if function is None:
        return ""
    name = public_name(function)
    is_known = name.partition(".")[0] in _LIBRARIES or getattr(function, "__module__", None) == "builtins"
    return name if is_known and name not in _TAKE_ANYTHING and not name.startswith("functools.") else ""


def _resolved(node: ast.AST, frame: FrameType) -> Any:
    """Return what a name, or an attribute of a library's object, stands for; None where code would have to run."""
    if isinstance(node, ast.Name):
        for scope in (frame.f_locals, frame.f_globals, vars(builtins)):
            if node.id in scope:
                return scope[node.id]
    if isinstance(node, ast.Attribute):
        owner = _resolved(node.value, frame)
        kind = owner if isinstance(owner, ModuleType | type) else type(owner)
        package = getattr(kind, "__module__", None) or getattr(kind, "__name__", "")
        if owner is not None and str(package).partition(".")[0] in _LIBRARIES:
            try:
                return getattr(owner, node.attr, None)
            except Exception:  # a property of theirs that does not work now: the name is not worth another error
                return None
        return inspect.getattr_static(owner, node.attr, None)
    return None


def public_name(function: Any) -> str:
    """Return the name under which a function is imported, without the private modules that it is defined in.

    >>> import math, scipy.optimize
    >>> public_name(scipy.optimize.nnls), public_name(math.exp), public_name(float)
    ('scipy.optimize.nnls', 'math.exp', 'float')
    """
    if isinstance(function, np.vectorize):
        return "numpy.vectorize"
    name = getattr(function, "__name__", "")
    if not name:
        return ""
    owner = getattr(function, "__self__", None)
    if owner is None or isinstance(owner, ModuleType):
        return _dotted(getattr(function, "__module__", None) or "", getattr(function, "__qualname__", name))
    kind = owner if isinstance(owner, type) else type(owner)
    if kind.__module__.startswith("scipy.stats."):
        return f"scipy.stats.{_name_of_distribution(owner)}.{name}"
    return _dotted(kind.__module__, name if kind.__module__ == "random" else f"{kind.__name__}.{name}")


def _dotted(module: str, name: str) -> str:
    """Return the name below the public part of its module."""
    public = []
    for part in module.split("."):
        if part.startswith("_") or part in ("builtins", "core", "mtrand"):
            break
        public.append(part)
    return ".".join([*public, name])


def _name_of_frames(frames: list[FrameType], is_call: bool) -> str:
    """Return the name of the outermost function of a library, or of the library where an operator calls it."""
    outer = next((f for f in reversed(frames) if f.f_code.co_name not in _WRAPPERS), frames[-1])
    module, name = str(outer.f_globals.get("__name__", "")), outer.f_code.co_qualname
    if not is_call:
        return ".".join(module.split(".")[: 2 if module.startswith(("numpy.ma", "scipy.sparse")) else 1])
    owner = outer.f_locals.get("self")
    if owner is not None and "." in name:
        name = f"{type(owner).__name__}.{outer.f_code.co_name}".removesuffix(".__init__")
    return _dotted(module, name)


def _distribution(asked: _Asked) -> tuple[str, str] | None:
    """Return which distribution of scipy.stats is at work, and which method of it."""
    parts = asked.name.split(".")
    if parts[:2] == ["scipy", "stats"] and len(parts) == 4 and parts[2] in DISTRIBUTIONS:
        return parts[2], parts[3]
    for frame in reversed(asked.frames):
        method = frame.f_code.co_name
        if frame.f_globals.get("__name__", "").startswith("scipy.stats.") and "self" in frame.f_locals:
            distribution = _name_of_distribution(frame.f_locals["self"])
            if distribution in DISTRIBUTIONS and (not method.startswith("_") or method in ("__init__", "__call__")):
                return distribution, method
    return None


def _name_of_distribution(owner: Any) -> str:
    named = getattr(owner, "name", None)
    return named if isinstance(named, str) else type(owner).__name__.removesuffix("_gen").removesuffix("_frozen")


def _refusing(what: str, remedy: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(what, remedy)

    return method


_IN_PLACE = "Build a new array with np.where, np.concatenate or np.stack."
_BYTES = "Use metagrad.ad.stop_gradient(x), a plain array, for what is printed or saved."
# The methods of a traced value that refuse.
METHODS: dict[str, Callable[..., Any]] = {
    "__array__": array_of,
    "__float__": _number_of("number"),
    "__complex__": _number_of("number"),
    "__int__": _number_of("integer"),
    "__index__": _number_of("integer"),
    "as_integer_ratio": _number_of("number"),
    **{f"__{name}__": _number_of("integer") for name in ("round", "floor", "ceil", "trunc")},
    "__bool__": _refusing("bool(x), or `if x`,", "Compare it: comparisons return plain arrays, and `if x > 0` works."),
    "__hash__": _refusing(
        "hash(x), a key of a dict or a member of a set,", "Use a position or a name as the key, and x as the value."
    ),
    "__reduce_ex__": _refusing("pickling of x", "Pickle metagrad.ad.stop_gradient(x), a plain array."),
    "__setitem__": _refusing("x[index] = value", _IN_PLACE),
    "__delitem__": _refusing("del x[index]", "Take np.delete, or x[mask]."),
    "sort": _refusing("x.sort(), which writes in place,", "Write np.sort(x), which returns a new array."),
    "partition": _refusing(
        "x.partition(k), which writes in place,", "Write np.partition(x, k), which returns a new array."
    ),
    "resize": _refusing("x.resize(), which writes in place,", "Write np.resize(x, shape), which returns a new array."),
    "fill": _refusing("x.fill(), which writes in place,", "Write np.full_like(x, value), which returns a new array."),
    "item": _refusing("x.item()", "Leave it as it is: x.reshape(()) is the only entry; print f'{x:.3f}'."),
    "tolist": _refusing("x.tolist()", f"list(x) has traced entries. {_BYTES}"),
    "view": _refusing("x.view()", "Write x.astype(dtype) for another type, x.reshape(shape) for another shape."),
    "byteswap": _refusing("x.byteswap()", _BYTES),
    **{
        name: _refusing(f"x.{name}(), which writes in place,", _IN_PLACE)
        for name in ("put", "setfield", "itemset", "setflags")
    },
    **{name: _refusing(f"x.{name}()", _BYTES) for name in ("tobytes", "tofile", "dump", "dumps", "getfield")},
}
