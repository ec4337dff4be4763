"""Arrays that are not ndarrays, in a namespace that has only CuPy's names and takes only CuPy's arguments."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.signal
import scipy.special

from metagrad.xp import register_namespace
from tests.cupy_double import cuda
from tests.cupy_double.raw import RawModule

SNAPSHOT = json.loads(Path(__file__).with_name("snapshot.json").read_text(encoding="utf-8"))
SCALARS = (bool, int, float, complex, np.generic, type(None), str, slice, type(Ellipsis), type, np.dtype)
OWN = {"RawModule": RawModule}
TAKES_HOST_ARRAYS = {"asarray", "array", "ascontiguousarray"}
TAKES_AN_INDEX = {"take", "take_along_axis"}
HAVE_AT = {"add", "subtract", "maximum", "minimum"}
COPIES_TO_THE_DEVICE = {"concatenate", "stack", "hstack", "vstack"}  # a table of where the arrays are


class HostSyncs:
    """How often the host waited for the device."""

    def __init__(self):
        self.count = 0


SYNCS = HostSyncs()


class DoubleArray:
    """An array of the double; `_host` is where its numbers really are."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, host):
        self._host = host

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    strides = property(lambda self: self._host.strides)
    nbytes = property(lambda self: self._host.nbytes)
    T = property(lambda self: DoubleArray(self._host.T))
    real = property(lambda self: DoubleArray(self._host.real))
    imag = property(lambda self: DoubleArray(self._host.imag))

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def _sync(self, convert):
        cuda.refuse("a copy to the host")
        SYNCS.count += 1
        return convert(self._host)

    def __float__(self):
        return self._sync(float)

    def __int__(self):
        return self._sync(int)

    def __bool__(self):
        return self._sync(bool)

    def __index__(self):
        return self._sync(lambda x: x.__index__())

    def item(self):
        return self._sync(lambda x: x.item())

    def get(self):
        return self._sync(np.array)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (wrap(x) for x in self._host)

    def __getitem__(self, index):
        of_host, index = arrays_in(index), unwrap_index(index)
        return wrap(cuda.launched(lambda: self._host[index], *of_host))

    def __setitem__(self, index, value):
        of_host, index, value = arrays_in(index), unwrap_index(index), unwrap(value, "__setitem__")
        if isinstance(value, float) and value == 0.0:
            value = 0.0  # CuPy fills with bytes of zero, also for -0.0
        cuda.launched(lambda: self._host.__setitem__(index, value), *of_host)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if ufunc.__name__ not in SNAPSHOT["cupy"] or any(is_foreign(x) for x in inputs):
            return NotImplemented
        call = getattr(NAMESPACE, ufunc.__name__)
        if method == "__call__":
            return call(*inputs, **kwargs)
        if method == "at":
            place, index, added = unwrap(inputs[0], ufunc.__name__), unwrap_index(inputs[1]), unwrap(inputs[2], "at")
            cuda.launched(lambda: ufunc.at(place, index, added), *arrays_in(inputs[1]))
            return None
        return NotImplemented

    def __array_function__(self, function, types, args, kwargs):
        path = function.__module__.split(".")[1:]
        module = getattr(NAMESPACE, path[0]) if path in (["linalg"], ["fft"]) else NAMESPACE
        if not module.has(function.__name__) or any(t not in (DoubleArray, np.ndarray) for t in types):
            return NotImplemented  # CuPy leaves functions of arrays and foreign types to the foreign type
        return getattr(module, function.__name__)(*args, **kwargs)

    def __getattr__(self, name):
        if name.startswith("_") or name not in SNAPSHOT["ndarray"]:
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}")
        method = getattr(self._host, name)

        def call(*args, **kwargs):
            host = [unwrap(a, name) for a in args]
            named = {k: unwrap(v, name) for k, v in kwargs.items()}
            return wrap(cuda.launched(lambda: method(*host, **named)))

        return call


def is_foreign(x):
    """Whether x is of a class with ufuncs of its own, to which CuPy leaves the operation (seen with CuPy 14.2)."""
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, DoubleArray | np.ndarray | np.generic)


def wrap(x):
    """Return host results as arrays of the double; numbers of the host become 0-d device arrays, as in CuPy."""
    if isinstance(x, np.ndarray | np.generic):
        return DoubleArray(np.asarray(x))
    if isinstance(x, tuple):
        return tuple(wrap(item) for item in x)
    return x


def unwrap(x, where):
    """Return the host numbers of an operand; TypeError for what CuPy refuses."""
    if isinstance(x, DoubleArray):
        return x._host
    if isinstance(x, tuple | list):
        return type(x)(unwrap(item, where) for item in x)
    if isinstance(x, SCALARS) or callable(x):
        return x
    raise TypeError(f"Unsupported type {type(x)} in cupy.{where}")


def arrays_in(index):
    """Return the host's arrays and lists of an index, which CuPy copies to the device."""
    parts = index if isinstance(index, tuple) else (index,)
    return [part for part in parts if isinstance(part, np.ndarray | list)]


def unwrap_index(index):
    """Return an index with host arrays; CuPy takes its own arrays, numbers, slices and lists."""
    if isinstance(index, tuple):
        return tuple(unwrap_index(item) for item in index)
    if isinstance(index, np.ndarray):
        return index  # CuPy converts NumPy integer arrays given as an index
    return unwrap(index, "index")


class Namespace:
    """The module: names of the snapshot only, arguments bound against the real signatures."""

    def __init__(self, key, module, linalg=None, fft=None):
        self._members, self._module, self.__name__ = SNAPSHOT[key], module, "cupy_double"
        self.linalg, self.fft, self.cuda = linalg, fft, cuda

    def has(self, name):
        return name in self._members

    def __getattr__(self, name):
        if name not in self._members:
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        if name in OWN:
            return OWN[name]
        member = getattr(self._module, name)
        if not callable(member):
            return member
        about = self._members[name]

        def call(*args, **kwargs):
            check_arguments(name, about, args, kwargs)
            if name in TAKES_HOST_ARRAYS and isinstance(args[0], np.ndarray | list):
                cuda.refuse("a copy from the host")
                return DoubleArray(np.array(args[0], *args[1:], **kwargs))
            host = [unwrap(a, name) for a in args]
            named = {k: unwrap(v, name) for k, v in kwargs.items()}
            if name in COPIES_TO_THE_DEVICE or (name in TAKES_AN_INDEX and isinstance(args[1], list)):
                cuda.refuse(f"cupy.{name} copies from the host")
            result = cuda.launched(lambda: member(*host, **named))
            return list(map(wrap, result)) if isinstance(result, list) else wrap(result)

        if name in HAVE_AT:
            call.at = lambda x, index, added: x.__array_ufunc__(member, "at", x, index, added)
        return call


def check_arguments(name, about, args, kwargs):
    """Raise TypeError where CuPy would."""
    if "ufunc" in about:
        unknown = set(kwargs) - {"out", "dtype", "casting"}
        if any(isinstance(a, list | tuple) for a in args):
            raise TypeError(f"cupy.{name}: unsupported type list")
        if unknown or len(args) not in (about["ufunc"][0], sum(about["ufunc"])):
            raise TypeError(f"cupy.{name}: wrong arguments {len(args)}, {sorted(kwargs)}")
        dtypes = [getattr(a, "dtype", None) for a in args[: about["ufunc"][0]]]
        if all(d is not None for d in dtypes) and not any(loop_fits(t, dtypes) for t in about["types"]):
            raise TypeError(f"cupy.{name}: no loop for {dtypes}")
    elif "parameters" in about:
        kinds = {k: inspect._ParameterKind[k] for k in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD", "VAR_POSITIONAL")}
        kinds |= {k: inspect._ParameterKind[k] for k in ("KEYWORD_ONLY", "VAR_KEYWORD")}
        parameters = [
            inspect.Parameter(n, kinds[kind], default=None if optional else inspect.Parameter.empty)
            for n, kind, optional in about["parameters"]
        ]
        inspect.Signature(parameters).bind(*args, **kwargs)
        if name == "einsum" and set(kwargs) - {"dtype", "casting", "optimize"}:
            raise TypeError("cupy.einsum: did not understand the following kwargs")


def loop_fits(loop, dtypes):
    return all(np.can_cast(d, np.dtype(c)) for d, c in zip(dtypes, loop.split("->")[0], strict=True))


def _operator(name, swapped=False, in_place=False):
    def operate(self, other=None):
        if name in BINARY.values() and getattr(type(other), "__array_ufunc__", self) is None:
            return NotImplemented  # as CuPy, after NEP 13, in arithmetic: the other's reflected operator has its turn
        args = (self,) if other is None else (other, self) if swapped else (self, other)
        return getattr(np if is_foreign(other) else NAMESPACE, name)(*args, **({"out": self} if in_place else {}))

    return operate


BINARY = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "pow": "power"}
BINARY |= {"matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "floordiv": "floor_divide", "mod": "remainder"}
for _short, _name in BINARY.items():
    setattr(DoubleArray, f"__{_short}__", _operator(_name))
    setattr(DoubleArray, f"__r{_short}__", _operator(_name, swapped=True))
    if _short in ("add", "sub", "mul", "truediv"):
        setattr(DoubleArray, f"__i{_short}__", _operator(_name, in_place=True))
for _short, _name in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}.items():
    setattr(DoubleArray, f"__{_short}__", _operator(_name))
for _short, _name in {
    "eq": "equal",
    "ne": "not_equal",
    "neg": "negative",
    "abs": "absolute",
    "invert": "invert",
}.items():
    setattr(DoubleArray, f"__{_short}__", _operator(_name))


class Scipy:
    """The parts of cupyx.scipy that there are."""

    special = Namespace("special", scipy.special)
    linalg = Namespace("scipy_linalg", scipy.linalg)
    signal = Namespace("scipy_signal", scipy.signal)


NAMESPACE = Namespace("cupy", np, Namespace("linalg", np.linalg), Namespace("fft", np.fft))
register_namespace(DoubleArray, NAMESPACE, Scipy)
