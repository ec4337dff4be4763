"""A stand-in for CuPy where there is none: arrays that refuse to mix with NumPy's or to come to the host unasked.

Only names that CuPy has are let through, reductions give 0-d arrays, and float(), bool(), .item() and np.asarray()
raise: on a device each of them would wait for it.
"""

from types import SimpleNamespace

import numpy as np
import scipy.linalg
import scipy.signal
import scipy.special

from tests.cupy_double.double import SNAPSHOT

METHODS = {"sum", "mean", "max", "min", "prod", "reshape", "transpose", "squeeze", "astype", "ravel", "argsort", "view"}
ARITHMETIC = ("add", "sub", "mul", "truediv", "pow", "matmul")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne", "and", "or")


def refuse(self, *args, **kwargs):
    raise AssertionError("a device array was brought to the host")


class DeviceArray:
    """An array on the imagined device."""

    __array_priority__ = 100.0
    __hash__ = None
    __array__ = __float__ = __int__ = __bool__ = __index__ = item = tolist = refuse

    def __init__(self, host):
        self.host = np.asarray(host)
        self.shape, self.dtype = self.host.shape, self.host.dtype
        self.ndim, self.size = self.host.ndim, self.host.size

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or any(type(x) not in KNOWN for x in inputs):
            return NotImplemented
        return getattr(DEVICE, ufunc.__name__)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if any(t is not DeviceArray for t in types):
            return NotImplemented
        home = getattr(DEVICE, function.__module__.removeprefix("numpy.").replace("numpy", ""), DEVICE)
        return getattr(home, function.__name__)(*args, **kwargs)

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(name)
        return on_device(getattr(self.host, name))

    def __getitem__(self, index):
        return on_device(self.host.__getitem__)(index)

    def __setitem__(self, index, value):
        self.host[to_host(index)] = to_host(value)

    real = property(lambda self: DeviceArray(self.host.real))
    imag = property(lambda self: DeviceArray(self.host.imag))

    def __neg__(self):
        return DeviceArray(-self.host)

    def get(self):
        return self.host


KNOWN = {DeviceArray, float, int, bool, np.ndarray, np.float64, np.float32, np.bool_}


def to_host(x):
    if type(x) is DeviceArray:
        return x.host
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return type(x)(map(to_host, x)) if type(x) in (tuple, list) else x


def to_device(x):
    if hasattr(x, "_fields"):
        return type(x)(*map(to_device, x))
    return type(x)(map(to_device, x)) if isinstance(x, list | tuple) else DeviceArray(x)


def on_device(function):
    def call(*args, **kwargs):
        return to_device(function(*map(to_host, args), **{k: to_host(v) for k, v in kwargs.items()}))

    return call


def operator_of(name):
    def call(self, other):
        if type(other) is DeviceArray or isinstance(other, float | int | np.generic):
            return to_device(getattr(self.host, name)(to_host(other)))
        if isinstance(other, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        return NotImplemented

    return call


for _name in ARITHMETIC + COMPARISONS:
    setattr(DeviceArray, f"__{_name}__", operator_of(f"__{_name}__"))
for _name in ARITHMETIC:
    setattr(DeviceArray, f"__r{_name}__", operator_of(f"__r{_name}__"))


class Add:
    """The ufunc add, with its method `at`."""

    __call__ = staticmethod(on_device(np.add))

    @staticmethod
    def at(array, index, values):
        np.add.at(array.host, to_host(index), to_host(values))


class Device:
    """The namespace of the device."""

    __name__ = "device"
    float64, float32 = np.float64, np.float32

    def __init__(self):
        for name in SNAPSHOT["cupy"]:
            if callable(function := getattr(np, name, None)) and not isinstance(function, type):
                setattr(self, name, on_device(function))
        self.add = Add()
        self.linalg, self.fft = part("linalg", np.linalg), part("fft", np.fft)
        self.sliding_window_view = on_device(np.lib.stride_tricks.sliding_window_view)  # in CuPy where NumPy has it
        self.asarray = lambda x, dtype=None: DeviceArray(np.asarray(x if type(x) is np.ndarray else to_host(x), dtype))


def part(key, module):
    """Return a part of the namespace: the names that CuPy has."""
    names = [name for name in SNAPSHOT[key] if callable(getattr(module, name, None))]
    return SimpleNamespace(**{name: on_device(getattr(module, name)) for name in names})


class Scipy:
    """The parts of cupyx.scipy that there are."""

    special, linalg = part("special", scipy.special), part("scipy_linalg", scipy.linalg)
    signal = part("scipy_signal", scipy.signal)


DEVICE = Device()
