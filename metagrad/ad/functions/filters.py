"""Convolutions and correlations of scipy.signal, along any number of axes.

Each is linear in both operands, and the cotangent of one is a correlation of the full result's with the other one, as
in `signals`. SciPy is imported when a function is called, not with this module; `metagrad.ad.taught` lets calls reach
`PLAIN`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.ad.functions.shapes import as_array, getitem, like, put
from metagrad.ad.tape import Function, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array, namespace, scipy_of

_MODES = ("full", "same", "valid")
# Each convolution, with the method by which the correlations in its rules are computed.
_METHOD = {"fftconvolve": "fft", "convolve2d": "auto"}


def _of_scipy(a: Array, v: Array, name: str, mode: str, method: str) -> Array:
    options = {} if name in _METHOD else {"method": method}
    return getattr(scipy_of(namespace(a, v, where=f"scipy.signal.{name}"), "signal"), name)(a, v, mode, **options)


def _full(g: Any, a: Any, v: Any, mode: str) -> Any:
    """Return the cotangent of a result as that of the full one."""
    if mode == "full":
        return g
    # The middle of the size of the first operand, or what needs no zeros around.
    starts = [(m - 1) // 2 if mode == "same" else min(n, m) - 1 for n, m in zip(a.shape, v.shape, strict=True)]
    index = tuple(slice(s, s + n) for s, n in zip(starts, g.shape, strict=True))
    return put(g, index, tuple(n + m - 1 for n, m in zip(a.shape, v.shape, strict=True)))


def _turned(x: Any) -> Any:
    return getitem(x, (slice(None, None, -1),) * x.ndim)


def _valid(name: str, g: Any, x: Any, method: str) -> Any:
    return _bilinear(g, x, name, "valid", method)


def _of_a(g: Any, out: Any, a: Any, v: Any, name: str, mode: str, method: str) -> Any:
    back = "convolve" if name == "correlate" else "correlate"
    return like(_valid(back, _full(g, a, v, mode), v, _METHOD.get(name, method)), a)


def _of_v(g: Any, out: Any, a: Any, v: Any, name: str, mode: str, method: str) -> Any:
    part = _valid("correlate", _full(g, a, v, mode), a, _METHOD.get(name, method))
    return like(_turned(part) if name == "correlate" else part, v)


_bilinear: Function = primitive("convolve", _of_scipy, (_of_a, _of_v), multilinear)


def _apply(name: str, in1: Any, in2: Any, mode: str, method: str = "auto") -> Any:
    if mode not in _MODES:
        bad_value(f"scipy.signal.{name}", "mode", repr(mode), "'full', 'same' or 'valid'")
    a, v = (np.asarray(x) if type(x) in (list, tuple) else as_array(x) for x in (in1, in2))
    for x in map(value_of, (a, v)):
        if namespace(x) is np and not isinstance(x, np.ndarray | np.generic | float | int):
            bad_type(f"scipy.signal.{name}", "an operand", f"a {type(x).__name__}", "an array of floats")
    if a.ndim == 0 and v.ndim == 0:
        return a * v
    return _bilinear(a, v, name, mode, method)


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Convolution of two arrays with as many axes."""
    return _apply("convolve", in1, in2, mode, method)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Sums of products of one array with the other at every shift."""
    return _apply("correlate", in1, in2, mode, method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full") -> Any:
    """Convolution by the fast Fourier transform."""
    return _apply("fftconvolve", in1, in2, mode)


def convolve2d(in1: Any, in2: Any, mode: str = "full") -> Any:
    """Convolution of two matrices, with zeros around them."""
    return _apply("convolve2d", in1, in2, mode)


PLAIN: dict[str, Callable[..., Any]] = {
    "convolve": convolve,
    "convolve2d": convolve2d,
    "correlate": correlate,
    "fftconvolve": fftconvolve,
}
_LINEAR = (
    "For constant coefficients it is linear in the signal: M = scipy.signal.lfilter(b, a, np.eye(n), axis=0) is a "
    "constant matrix, take M @ x. For traced b and a = [1] take np.convolve(x, b)[:n]; for others write the recursion."
)
REFUSED: dict[str, str] = {"lfilter": _LINEAR, "filtfilt": _LINEAR, "sosfilt": _LINEAR}
