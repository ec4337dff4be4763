"""CuPy's RawModule without a device: the host build of CUDA source, launched thread by thread."""

import ctypes
import itertools
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

COMPILER = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
OPTIONS = ["-std=c++14", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
MOST_BLOCKS, MOST_THREADS = 2**31 - 1, 1024
SCALARS = {"int64": ctypes.c_longlong, "int32": ctypes.c_int, "float64": ctypes.c_double, "float32": ctypes.c_float}


class RawModule:
    """The functions of a source that builds for the host too, with CUDA's indices as variables."""

    def __init__(self, *, code):
        self._library = build(code)

    def get_function(self, name):
        return RawKernel(self._library, name)


class RawKernel:
    """One function; as in CuPy arrays go in by their address, whatever their strides and dtype."""

    def __init__(self, library, name):
        self._function = getattr(library, name)
        self._function.restype = None
        self._places = {n: ctypes.c_uint.in_dll(library, n) for n in ("gridDim", "blockDim", "blockIdx", "threadIdx")}

    def __call__(self, grid, block, args):
        blocks, threads = extent(grid, MOST_BLOCKS), extent(block, MOST_THREADS)
        given, places = [argument(x) for x in args], self._places
        places["gridDim"].value, places["blockDim"].value = blocks, threads
        for places["blockIdx"].value, places["threadIdx"].value in itertools.product(range(blocks), range(threads)):
            self._function(*given)


def extent(given, most):
    if not (isinstance(given, tuple) and len(given) == 1 and type(given[0]) is int and 1 <= given[0] <= most):
        raise ValueError(f"no launch: {given}, expected (1..{most},)")
    return given[0]


def argument(x):
    """Return what a kernel is given for an array of the double or a number of NumPy."""
    if hasattr(x, "_host"):
        return ctypes.c_void_p(x._host.ctypes.data)
    if isinstance(x, np.generic):
        return SCALARS[x.dtype.name](x.item())
    raise TypeError(f"unsupported type {type(x)} in a launch")


@cache
def build(code):
    """Return the host build of a source as a library; skip the test where there is no compiler."""
    if COMPILER is None:
        pytest.skip("no C++ compiler for the host build of the CUDA source")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "host.so"
        command = [COMPILER, *OPTIONS, "-x", "c++", "-", "-o", str(made)]
        subprocess.run(command, input=code, text=True, check=True, timeout=120)
        return ctypes.CDLL(str(made))
