"""Functions of SciPy, and np.vectorize, that are taught to pass traced values on.

NumPy's functions and all ufuncs ask their arguments whether they would rather do it (NEP 18, NEP 13). SciPy's plain
functions do not: they make arrays of what they are given, and a traced value must refuse that. So each plain function
that the tape has a form of is given such a question: with a traced value the call goes to the tape, with anything else
to SciPy's own code, as it was. That is all that is changed, and docs/operations.md lists it.

The function itself is changed, not the name under which SciPy keeps it: so it is the same object as before, wherever
it was imported to, before metagrad or after. Nothing of SciPy is imported for that: a module that is not there yet is
taught when it is imported.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import update_wrapper
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from metagrad.ad.calls import call_function
from metagrad.ad.functions import filters
from metagrad.ad.table import FUNCTIONS, REFUSED
from metagrad.ad.tape import Var

NAMES: dict[str, tuple[str, ...]] = {
    "scipy.special": ("logsumexp", "softmax", "log_softmax", "polygamma", "multigammaln"),
    "scipy.signal": (*filters.PLAIN, *filters.REFUSED),
    "scipy.linalg": (
        *("solve", "inv", "det", "norm", "pinv", "lstsq", "cholesky", "cho_factor", "cho_solve", "solve_triangular"),
        *("eigh", "eigvalsh", "svd", "svdvals", "qr", "expm", "block_diag", "toeplitz", "circulant"),
        *("logm", "sqrtm", "lu", "lu_factor", "lu_solve", "eig", "eigvals"),  # refused, with what to write instead
    ),
}


def is_traced(x: Any) -> bool:
    """Tell whether x is a traced value, or a list or tuple that has one."""
    return type(x) is Var or (type(x) in (list, tuple) and any(map(is_traced, x)))


def _copy_of(function: FunctionType) -> FunctionType:
    """Return another function with the same code."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    update_wrapper(copy, function)
    del copy.__wrapped__  # type: ignore[attr-defined]
    copy.__dict__.update(function.__dict__)
    return copy


def _asking(function: FunctionType, traced: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Return what a call of `function` with (args, kwargs) asks first; NotImplemented where nothing is traced."""

    def door(args: Any, kwargs: Any) -> Any:
        if any(map(is_traced, args)) or (kwargs and any(map(is_traced, kwargs.values()))):
            return traced(function, args, kwargs)
        for x in args:
            if hasattr(x, "recorded_call"):  # it records what is computed with it (`metagrad.replay`)
                return x.recorded_call(function.__wrapped__, args, kwargs)  # type: ignore[attr-defined]
        return NotImplemented

    return door


_DOOR, _CODE = "the door", "its own code"
# Frames of files of such a name are passed over when Python looks for the line that a warning is about (as it does for
# those of its import system): so SciPy's warnings tell the caller's line, as before.
_FILE = "<metagrad.ad.taught, as importlib._bootstrap>"


def _template(names: tuple[str, ...]) -> CodeType:
    """Return the code of a function that asks at _DOOR and goes on with _CODE, with free variables of these names.

    A function can only be given code with as many free variables as it has cells. They are named after the return:
    never read, but the compiler sees them.
    """
    scope: dict[str, Any] = {}
    source = (
        f"def outer({', '.join(names)}):\n"
        f"    def inner(*args, **kwargs):\n"
        f"        door = {_DOOR!r}\n"
        f"        code = {_CODE!r}\n"
        f"        found = door(args, kwargs)\n"
        f"        return code(*args, **kwargs) if found is NotImplemented else found\n"
        f"        {', '.join(names) or 'None'}\n"
        f"    return inner\n"
    )
    exec(compile(source, _FILE, "exec"), scope)
    made: FunctionType = scope["outer"](*names)
    return made.__code__


def ask_first(function: FunctionType, traced: Callable[..., Any]) -> None:
    """Let a plain function call `traced(function, args, kwargs)` where a traced value is among its arguments."""
    if hasattr(function, "is_taught"):
        return
    code, template = _copy_of(function), _template(function.__code__.co_freevars)
    put: dict[str, Any] = {_DOOR: _asking(function, traced), _CODE: code}
    constants = tuple(put.get(x, x) if isinstance(x, str) else x for x in template.co_consts)
    function.__code__ = template.replace(
        co_consts=constants, co_name=function.__name__, co_qualname=function.__qualname__
    )
    function.__defaults__ = function.__kwdefaults__ = None  # the door passes on what it is given
    function.__wrapped__ = code  # type: ignore[attr-defined]  # where its source is looked for
    function.__signature__ = inspect.signature(code)  # type: ignore[attr-defined]
    function.is_taught = True  # type: ignore[attr-defined]


def teach(module: ModuleType) -> None:
    """Teach the plain functions of a module that the tape has forms of; twice is as good as once."""
    for name in NAMES[module.__name__]:
        function = getattr(module, name, None)  # a later SciPy may lack it
        if isinstance(function, FunctionType):
            ask_first(function, call_function)
            if module.__name__ == "scipy.signal" and name in filters.REFUSED:  # known by name, without SciPy
                REFUSED[function] = filters.REFUSED[name]
            elif module.__name__ == "scipy.signal":
                FUNCTIONS[function] = filters.PLAIN[name]


class _OnImport(MetaPathFinder):
    """Teaches a module as soon as it has been imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec that the other finders return, with what is to be done after."""
        if name not in NAMES:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if finder is self or find is None else find(name, path, target)
            if spec is not None and spec.loader is not None:
                execute = spec.loader.exec_module

                def exec_module(module: ModuleType, execute: Callable[[ModuleType], None] = execute) -> None:
                    execute(module)
                    teach(module)

                spec.loader.exec_module = exec_module
                return spec  # type: ignore[no-any-return]
        return None


def _vectorized(call: Any, args: Any, kwargs: Any) -> Any:
    from metagrad.ad.functions.vectorize import vectorized

    return vectorized(*args, **kwargs)


def teach_all() -> None:
    """Teach what is imported already, and let the rest be taught when it is."""
    for name in NAMES:
        if name in sys.modules:
            teach(sys.modules[name])
    if not any(isinstance(finder, _OnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnImport())
    ask_first(np.vectorize.__call__, _vectorized)  # type: ignore[arg-type]


teach_all()
