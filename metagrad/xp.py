"""Which array module holds the data, what its dtypes can hold, and where randomness comes from.

Everything else in the package is written once, against the common subset of NumPy and CuPy, through the module
that `namespace` returns. Random numbers are always drawn on the host from named streams, so that both backends
see the same problems.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import operator
import sys
from enum import Enum
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.errors import bad_type, bad_value, nearest

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class
Namespace = Any  # the module numpy or cupy

_NAMESPACES: dict[type, Namespace] = {np.ndarray: np}
_SCIPY: dict[int, Any] = {}  # of namespaces other than NumPy and CuPy, by id
_HOSTS: set[int] = set()  # namespaces, by id, in which arrays of others are constants
_HOST_SCALARS = (bool, int, float, np.generic)


def register_namespace(
    array_type: type, namespace: Namespace, scipy: Any = None, *, hosts_others: bool = False
) -> None:
    """Let arrays of `array_type` be computed with `namespace` (CuPy registers itself; tests add a double).

    `scipy` has the parts of SciPy that there are for it, as attributes. `hosts_others`: arrays of NumPy and of
    a device may stand beside.
    """
    _NAMESPACES[array_type] = namespace
    if hosts_others:
        _HOSTS.add(id(namespace))
    if scipy is not None:
        _SCIPY[id(namespace)] = scipy


def scipy_of(namespace: Namespace, part: str) -> Any:
    """Return a part of SciPy ("special", "linalg") that works on the arrays of a namespace: CuPy has one of its own.

    >>> scipy_of(np, "special").__name__
    'scipy.special'
    """
    found = _SCIPY.get(id(namespace))
    if found is not None:
        return getattr(found, part)
    return import_module(f"{'scipy' if namespace is np else 'cupyx.scipy'}.{part}")


def _namespace_of_type(array_type: type) -> Namespace | None:
    found = _NAMESPACES.get(array_type)
    if found is None:
        cupy = sys.modules.get("cupy")
        if cupy is not None and issubclass(array_type, cupy.ndarray):
            _NAMESPACES[array_type] = found = cupy
        elif issubclass(array_type, np.ndarray):
            _NAMESPACES[array_type] = found = np
    return found


def device_of(x: object) -> Namespace | None:
    """Return the array module of an array on a device; None for arrays of the host, recorded ones and all else."""
    found = None if type(x) is np.ndarray else _namespace_of_type(type(x))
    return None if found is np or id(found) in _HOSTS else found


def is_array(x: object) -> bool:
    """Tell whether `x` is an array of one of the backends."""
    return _namespace_of_type(type(x)) is not None


def number_type(x: object) -> type | None:
    """Return the type of a number of Python or NumPy, of a recorded one that of what it stands for; None for arrays.

    A number is not an array without axes: Python's do not promote, and an index by one writes where arrays add.
    """
    kind = type(x)
    if issubclass(kind, float | int | np.generic):  # what is recorded says that it is one, too, and is not
        return kind
    found: type | None = getattr(x, "number_type", None)
    return found


def namespace(*arrays: object, where: str = "metagrad") -> Namespace:
    """Return the one array module that all `arrays` live in; host scalars go with any.

    Raises TypeError, naming both positions, where NumPy and CuPy arrays meet: a silent copy between host and
    device would hide the cost and, worse, the mistake.

    >>> namespace(np.zeros(3), 2.0).__name__
    'numpy'
    """
    for x in arrays:
        if type(x) is not np.ndarray:
            break
    else:  # the usual case, at once: this is asked often
        return np
    found: Namespace | None = None
    first = 0
    for position, x in enumerate(arrays):
        here = _namespace_of_type(type(x))
        if here is None:
            if isinstance(x, _HOST_SCALARS):
                continue
            bad_type(where, f"argument {position}", f"a {type(x).__name__}", "an array or a number")
        if found is None:
            found, first = here, position
        elif here is not found:
            if id(here) in _HOSTS:
                found, first = here, position
                continue
            if id(found) in _HOSTS:
                continue
            came = f"a {here.__name__} array while argument {first} is a {found.__name__} array"
            bad_type(where, f"argument {position}", came, "arrays on one device", "Move one of them first.")
    return np if found is None else found


def filled(xp: Namespace, shape: int | tuple[int, ...], value: Any, dtype: Any) -> Array:
    """Return a new array of one value: `xp.full` in a third of its time, for small ones."""
    found = xp.empty(shape, dtype=dtype)
    found.fill(value)
    return found


class GpuState(Enum):
    """The three states of the GPU backend; the value of each member is its message."""

    NOT_INSTALLED = "CuPy is not installed; install the extra 'cuda12' or 'cuda13' that fits the driver"
    NO_DEVICE = "CuPy is installed but finds no usable device"
    USABLE = "CuPy and a device are usable"


def gpu_state() -> tuple[GpuState, str]:
    """Return the state of the GPU backend and a sentence that says why."""
    try:
        import cupy
    except ImportError:
        return GpuState.NOT_INSTALLED, GpuState.NOT_INSTALLED.value
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return GpuState.NO_DEVICE, f"{GpuState.NO_DEVICE.value} ({error})"
    if count == 0:
        return GpuState.NO_DEVICE, f"{GpuState.NO_DEVICE.value} (the driver lists none)"
    return GpuState.USABLE, f"{GpuState.USABLE.value} ({count} found)"


def namespace_for(device: str, where: str = "metagrad") -> Namespace:
    """Return the array module for `device`: "cpu", "gpu", or "auto" (the GPU where one is usable)."""
    checks.choice(where, "device", device, ("auto", "cpu", "gpu"))
    if device == "cpu":
        return np
    state, why = gpu_state()
    if state is GpuState.USABLE:
        import cupy

        return cupy
    if device == "gpu":
        bad_value(where, "device", f"'gpu', but {why}", "a usable GPU", "Use device='auto' or device='cpu'.")
    return np


def to_host(x: Array) -> Any:
    """Return `x` as a NumPy array (a copy from the device where it lives there)."""
    return x.get() if hasattr(x, "get") else np.asarray(x)


def like(x: Array, of_host: Any) -> Array:
    """Return an array of the host where another one is: as it is, or on its device."""
    xp = device_of(x)
    return of_host if xp is None else xp.asarray(of_host)


def is_laid_out(x: Any) -> bool:
    """Whether an array of the host lies in memory as a copy of it does: without gaps, and with no axis turned round.

    Else the order of a sum may be another one for a copy, which the tape takes of small constants.
    """
    if type(x) is not np.ndarray or not (x.flags.aligned and x.dtype.isnative):
        return False
    return x.flags.c_contiguous or np.empty_like(x).strides == x.strides


def picked(x: Any, *index: Any) -> Any:
    """Return x[index], where an index may be recorded (`metagrad.replay`), which an array would not ask."""
    for i in index:
        if hasattr(i, "recorded_call"):
            return i.recorded_call(operator.getitem, (x, index), {})
    return x[index]


def move(tree: Any, target: Namespace) -> Any:
    """Return `tree` with every array in `target`; tuples, lists, dicts and frozen dataclasses are rebuilt."""
    if is_array(tree) and not dataclasses.is_dataclass(tree):
        if namespace(tree) is target:
            return tree
        return target.asarray(to_host(tree))
    if isinstance(tree, tuple | list):
        moved = [move(item, target) for item in tree]
        return type(tree)(*moved) if hasattr(tree, "_fields") else type(tree)(moved)
    if isinstance(tree, dict):
        return {key: move(item, target) for key, item in tree.items()}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _move_fields(tree, target)
    return tree


def _move_fields(record: Any, target: Namespace) -> Any:
    # A copy, not a new construction: what was validated once is not validated again on the device.
    moved = copy.copy(record)
    for field in dataclasses.fields(record):
        object.__setattr__(moved, field.name, move(getattr(record, field.name), target))
    return moved


@dataclasses.dataclass(frozen=True)
class FloatInfo:
    """What a float dtype can hold: its range as powers of two, and its unit roundoff."""

    name: str
    eps: float
    max_exponent: int  # the largest finite number is just below 2**max_exponent
    min_exponent: int  # the smallest normal number is 2**min_exponent
    subnormal_exponent: int  # the smallest subnormal number is 2**subnormal_exponent


# sign, exponent and mantissa bits fix everything: IEEE binary formats and bfloat16
_EXPONENT_AND_MANTISSA_BITS = {
    "float16": (5, 10),
    "bfloat16": (8, 7),
    "float32": (8, 23),
    "float64": (11, 52),
}

# Relative tolerances of tests for values and for gradients of well-conditioned problems.
VALUE_TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-6, "float64": 1e-13}
GRADIENT_TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 2e-5, "float64": 1e-11}


@cache
def float_info(dtype: Any) -> FloatInfo:
    """Return what `dtype` can hold.

    >>> float_info("float32").max_exponent, float_info("float32").min_exponent
    (128, -126)
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in _EXPONENT_AND_MANTISSA_BITS:
        bad_value("float_info", "dtype", name, "a float type", nearest(name, list(_EXPONENT_AND_MANTISSA_BITS)))
    exponent_bits, mantissa_bits = _EXPONENT_AND_MANTISSA_BITS[name]
    bias = 2 ** (exponent_bits - 1) - 1
    return FloatInfo(
        name=name,
        eps=2.0**-mantissa_bits,
        max_exponent=bias + 1,
        min_exponent=1 - bias,
        subnormal_exponent=1 - bias - mantissa_bits,
    )


def rng(seed: int, *path: str | int) -> np.random.Generator:
    """Return the random stream named by `path` under `seed`: the same numbers whoever else draws, in any order.

    ValueError for a seed below 0, TypeError for one that is no integer.

    >>> bool(rng(0, "quadratic", 3).random() == rng(0, "quadratic", 3).random())
    True
    """
    seed = checks.count("rng", "seed", seed, 0, "Any from 0 on.")
    key = [_stream_key(part) for part in path]
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


def _stream_key(part: str | int) -> int:
    # Hash both kinds, each under its own prefix: the stream ("a", 1) is not ("a", "1").
    digest = hashlib.blake2b(f"{type(part).__name__}:{part}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def module_name(target: Namespace) -> str:
    """Return the name of an array module, for messages and provenance."""
    return target.__name__ if isinstance(target, ModuleType) else type(target).__name__
