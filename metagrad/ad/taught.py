"""Functions of SciPy, and np.vectorize, that are taught to pass traced values on.

NumPy's functions and all ufuncs ask their arguments whether they would rather do it (NEP 18, NEP 13). SciPy's plain
functions do not: they make arrays of what they are given, and a traced value must refuse that. So each plain function
that the tape has a form of is wrapped where SciPy keeps it: with a traced value the call goes to the tape, with
anything else to SciPy's own function, as it was. That is all that is changed, and docs/operations.md lists it.

Nothing of SciPy is imported for that: a module that is not there yet is taught when it is imported. A name that was
taken from SciPy before metagrad was imported is SciPy's own still. It refuses traced values, and the message says to
import metagrad first, or to write `scipy.special.logsumexp(x)`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from metagrad.ad.calls import call_function
from metagrad.ad.tape import Var

NAMES: dict[str, tuple[str, ...]] = {
    "scipy.special": ("logsumexp", "softmax", "log_softmax", "polygamma", "multigammaln"),
}


def is_traced(x: Any) -> bool:
    """Tell whether x is a traced value, or a list or tuple that has one."""
    return type(x) is Var or (type(x) in (list, tuple) and any(map(is_traced, x)))


def _passing_on(function: Callable[..., Any], traced: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, which with traced values among its arguments is `traced(call, args, kwargs)`."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if any(map(is_traced, args)) or (kwargs and any(map(is_traced, kwargs.values()))):
            return traced(call, args, kwargs)
        for x in args:
            if hasattr(x, "recorded_call"):  # it records what is computed with it (`metagrad.replay`)
                return x.recorded_call(function, args, kwargs)
        return function(*args, **kwargs)

    call.is_taught = True  # type: ignore[attr-defined]
    return call


def teach(module: ModuleType) -> None:
    """Wrap the plain functions of a module that the tape has forms of; twice is as good as once."""
    for name in NAMES[module.__name__]:
        function = getattr(module, name, None)  # a later SciPy may lack it
        if function is not None and not hasattr(function, "is_taught"):
            setattr(module, name, _passing_on(function, call_function))


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
    if not hasattr(np.vectorize.__call__, "is_taught"):
        np.vectorize.__call__ = _passing_on(np.vectorize.__call__, _vectorized)  # type: ignore[method-assign]


teach_all()
