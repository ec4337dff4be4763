"""Fourier transforms: complex inside, real outside.

A transform of traced values gives a pair of real arrays, `metagrad.ad.complex_pair.Complex`. Behind it are five
primitives on real arrays, where a complex one is packed as (2, ...), real parts first. They are linear, and each is
the others' rule: the adjoint of a transform is that in the other direction, with the other normalisation and with what
was padded cut off. Of a transform that keeps one half of a spectrum, a weight of 2 or 1/2 stands for the other half.
Source: derived, checked by tests. Values are those of NumPy's FFT, to the bit.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from metagrad.ad import complex_functions
from metagrad.ad.complex_pair import FUNCTIONS, Complex, assembled
from metagrad.ad.functions.shapes import as_array, getitem, like, module_of, put, stack
from metagrad.ad.tape import Function, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import Array

_BACK = {"fftn": "ifftn", "ifftn": "fftn"}
_OTHER = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _packed(z: Array) -> Array:
    return module_of(z).stack((z.real, z.imag))


def _resized(p: Any, shape: tuple[int, ...]) -> Any:
    """Return what was padded to the shape of p, or cut to it, in `shape` again: cut, or with zeros."""
    if any(n > m for n, m in zip(p.shape, shape, strict=True)):
        p = getitem(p, tuple(slice(0, m) for m in shape))
    return p if p.shape == shape else put(p, tuple(slice(0, n) for n in p.shape), shape)


def _weighted(p: Any, weight: float, n: int, axis: int) -> Any:
    """Return a half spectrum (of n, packed) with a weight on what stands for its mirror image too."""
    xp = module_of(value_of(p))
    k = xp.arange(n // 2 + 1)
    is_alone = (k == 0) | (2 * k == n)
    weights = xp.where(is_alone, xp.asarray(1.0, p.dtype), xp.asarray(weight, p.dtype))
    return p * weights.reshape((-1,) + (1,) * (p.ndim - axis - 2))


_full: Function = primitive(
    "fft",
    lambda p, name, s, axes, norm: _packed(getattr(module_of(p).fft, name)(assembled(p[0], p[1]), s, axes, norm)),
    (lambda g, out, p, name, s, axes, norm: _resized(_full(g, _BACK[name], s, axes, _OTHER[norm]), p.shape),),
    multilinear,
)
_full_of_real: Function = primitive(
    "fft",
    lambda x, name, s, axes, norm: _packed(getattr(module_of(x).fft, name)(x, s, axes, norm)),
    (
        lambda g, out, x, name, s, axes, norm: like(
            _resized(getitem(_full(g, _BACK[name], s, axes, _OTHER[norm]), 0), x.shape), x
        ),
    ),
    multilinear,
)
_half: Function = primitive(
    "rfft",
    lambda x, s, axes, norm: _packed(module_of(x).fft.rfftn(x, s, axes, norm)),
    (
        lambda g, out, x, s, axes, norm: like(
            _resized(_real(_weighted(g, 0.5, s[-1], axes[-1]), s, axes, _OTHER[norm]), x.shape), x
        ),
    ),
    multilinear,
)
_real: Function = primitive(
    "irfft",
    lambda p, s, axes, norm: module_of(p).fft.irfftn(assembled(p[0], p[1]), s, axes, norm),
    (
        lambda g, out, p, s, axes, norm: _resized(
            _weighted(_half(g, s, axes, _OTHER[norm]), 2.0, s[-1], axes[-1]), p.shape
        ),
    ),
    multilinear,
)


_real_of_real: Function = primitive(
    "irfft",
    lambda x, s, axes, norm: module_of(x).fft.irfftn(x, s, axes, norm),
    (
        lambda g, out, x, s, axes, norm: like(
            _resized(getitem(_weighted(_half(g, s, axes, _OTHER[norm]), 2.0, s[-1], axes[-1]), 0), x.shape), x
        ),
    ),
    multilinear,
)


def _sizes(name: str, a: Any, s: Any, axes: Any, is_half: bool = False) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the lengths that are transformed, and the axes, as NumPy takes them; `is_half`: of what comes out."""
    x = value_of(a.real if type(a) is Complex else a)
    if module_of(x) is np and not isinstance(x, np.ndarray | np.generic):
        getattr(np.fft, name)(x)  # numbers of another kind say that they do not know this
    if axes is None:
        axes = range(a.ndim) if s is None else range(a.ndim - len(s), a.ndim)
    axes = normalize_axis_tuple(axes, a.ndim, "axes", allow_duplicate=True)
    if len(set(axes)) < len(axes) or not axes:
        bad_value(f"numpy.fft.{name}", "axes", axes, "different axes, one at least", "Transform twice for one twice.")
    if s is not None and len(s) != len(axes):
        bad_value(f"numpy.fft.{name}", "s", s, f"one length for each of the axes {axes}")
    lengths = [a.shape[i] for i in axes]
    if s is not None:
        lengths = [n if m == -1 else operator.index(m) for n, m in zip(lengths, s, strict=True)]
    elif is_half:
        lengths[-1] = 2 * (lengths[-1] - 1)
    if min(lengths) < 1:
        bad_value(f"numpy.fft.{name}", "the number of points", min(lengths), "one at least")
    return tuple(lengths), axes


def _to_full(name: str, way: str, a: Any, s: Any, axes: Any, norm: Any) -> Complex:
    a = as_array(a)
    s, axes = _sizes(name, a, s, axes)
    if type(a) is Complex:
        out = _full(stack([a.real, a.imag]), way, s, axes, norm)
    else:
        out = _full_of_real(a, way, s, axes, norm)
    return Complex(out[0], out[1])


def _to_half(name: str, a: Any, s: Any, axes: Any, norm: Any) -> Complex:
    if type(a) is Complex:
        bad_type(f"numpy.fft.{name}", "a", "complex", "real numbers", "Take np.fft.fft(a), or the transform of a.real.")
    a = as_array(a)
    out = _half(a, *_sizes(name, a, s, axes), norm)
    return Complex(out[0], out[1])


def _to_real(name: str, a: Any, s: Any, axes: Any, norm: Any) -> Any:
    a = as_array(a)
    s, axes = _sizes(name, a, s, axes, is_half=True)
    if type(a) is Complex:
        return _real(stack([a.real, a.imag]), s, axes, norm)
    return _real_of_real(a, s, axes, norm)


def _one(n: Any, axis: Any) -> tuple[Any, Any]:
    return (None if n is None else (n,)), (axis,)


def fft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Complex:
    """Transform along an axis."""
    return _to_full("fft", "fftn", a, *_one(n, axis), norm)


def ifft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Complex:
    """Inverse transform along an axis."""
    return _to_full("ifft", "ifftn", a, *_one(n, axis), norm)


def rfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Complex:
    """Half of the transform of real numbers along an axis; the rest mirrors it."""
    return _to_half("rfft", a, *_one(n, axis), norm)


def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Real numbers whose transform has `a` as its half."""
    return _to_real("irfft", a, *_one(n, axis), norm)


def hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Transform of a signal that mirrors itself, of which `a` is one half: real numbers."""
    return _to_real("hfft", a.conj() if type(a) is Complex else a, *_one(n, axis), _other("hfft", norm))


def ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Complex:
    """Inverse of `hfft`."""
    return _to_half("ihfft", a, *_one(n, axis), _other("ihfft", norm)).conj()


def _other(name: str, norm: Any) -> Any:
    if norm not in _OTHER:
        bad_value(f"numpy.fft.{name}", "norm", repr(norm), "'backward', 'ortho' or 'forward'")
    return _OTHER[norm]


def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Complex:
    """Transform along several axes."""
    return _to_full("fftn", "fftn", a, s, axes, norm)


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Complex:
    """Inverse transform along several axes."""
    return _to_full("ifftn", "ifftn", a, s, axes, norm)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Complex:
    """Half of the transform of real numbers along several axes; the rest mirrors it."""
    return _to_half("rfftn", a, s, axes, norm)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    """Real numbers whose transform along several axes has `a` as its half."""
    return _to_real("irfftn", a, s, axes, norm)


def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Complex:
    """Transform along two axes."""
    return _to_full("fft2", "fftn", a, s, axes, norm)


def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Complex:
    """Inverse transform along two axes."""
    return _to_full("ifft2", "ifftn", a, s, axes, norm)


def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Complex:
    """Half of the transform of real numbers along two axes."""
    return _to_half("rfft2", a, s, axes, norm)


def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Any:
    """Real numbers whose transform along two axes has `a` as its half."""
    return _to_real("irfft2", a, s, axes, norm)


def _shifted(x: Any, axes: Any, forth: bool) -> Any:
    axes = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int | np.integer) else tuple(axes)
    return np.roll(x, [x.shape[i] // 2 if forth else -(x.shape[i] // 2) for i in axes], tuple(axes))


def fftshift(x: Any, axes: Any = None) -> Any:
    """Entries with the frequency 0 moved into the middle."""
    return _shifted(x, axes, True)


def ifftshift(x: Any, axes: Any = None) -> Any:
    """Entries with the frequency 0 moved back from the middle to the front."""
    return _shifted(x, axes, False)


TABLE: dict[Any, Any] = {
    np.fft.fft: fft,
    np.fft.ifft: ifft,
    np.fft.rfft: rfft,
    np.fft.irfft: irfft,
    np.fft.fft2: fft2,
    np.fft.ifft2: ifft2,
    np.fft.rfft2: rfft2,
    np.fft.irfft2: irfft2,
    np.fft.fftn: fftn,
    np.fft.ifftn: ifftn,
    np.fft.rfftn: rfftn,
    np.fft.irfftn: irfftn,
    np.fft.hfft: hfft,
    np.fft.ihfft: ihfft,
    np.fft.fftshift: fftshift,
    np.fft.ifftshift: ifftshift,
}
for _function, _traced in TABLE.items():
    if _function not in complex_functions.ALIKE:
        FUNCTIONS[_function] = _traced
