"""Which functions of NumPy are recorded: pure ones, whose results have shapes that do not depend on the entries.

A function that is not here refuses by name, and the tape goes on. `FRESH` are those whose result is always an array of
its own; that of any other one may share memory with its arguments.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from metagrad.ad.functions import shapes
from metagrad.xp import Namespace

_VIEWS = (
    "reshape transpose matrix_transpose swapaxes moveaxis rollaxis ravel broadcast_to expand_dims squeeze flip fliplr "
    "flipud diagonal split array_split hsplit vsplit atleast_1d atleast_2d atleast_3d real astype copy unstack "
    "broadcast_arrays permute_dims dsplit real_if_close"
)
_MADE = (
    "where concatenate concat stack hstack vstack dstack column_stack sum mean max min amax amin prod var std ptp "
    "cumsum cumprod diff any all argmax argmin argsort sort take take_along_axis roll rot90 repeat tile pad tril triu "
    "trace dot inner outer vdot tensordot kron cross clip round around full_like zeros_like ones_like nan_to_num "
    "median average cov convolve interp isclose count_nonzero logical_and logical_or searchsorted append partition "
    "argpartition nansum nanmean nanmax nanmin linspace sinc i0 trapezoid vander diag diagflat meshgrid einsum "
    "cumulative_sum cumulative_prod vecdot delete insert resize gradient unwrap heaviside quantile percentile "
    "nanquantile nanpercentile nanmedian nanvar nanstd nanprod nancumsum nancumprod ediff1d correlate corrcoef "
    "logspace geomspace polyval polyder polyint polyadd polysub polymul poly block select choose cumulative_sum"
)
_LINALG = (
    "norm inv pinv det slogdet solve cholesky eigh eigvalsh svd svdvals qr matrix_power multi_dot trace diagonal outer "
    "vector_norm matrix_norm matrix_transpose vecdot matmul cross tensordot lstsq cond tensorsolve tensorinv"
)
_FFT = "fft ifft rfft irfft fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn fftshift ifftshift hfft ihfft"


def _named(module: Any, names: str) -> set[Any]:
    return {getattr(module, name) for name in names.split() if hasattr(module, name)}


RECORDED: frozenset[Any] = frozenset(
    {np.lib.stride_tricks.sliding_window_view}
    | _named(np, _VIEWS)
    | _named(np, _MADE)
    | _named(np.linalg, _LINALG)
    | _named(np.fft, _FFT)
)
METHODS = frozenset(
    {
        *("reshape", "transpose", "swapaxes", "squeeze", "ravel", "flatten", "copy", "astype", "sum", "mean", "max"),
        *("min", "prod", "cumsum", "cumprod", "var", "std", "any", "all", "argmax", "argmin", "argsort", "clip"),
        *("dot", "round", "trace", "take", "repeat", "diagonal", "conj", "conjugate"),
    }
)
_REDUCTIONS = {
    np.sum: np.add.reduce,
    np.max: np.maximum.reduce,
    np.min: np.minimum.reduce,
    np.amax: np.maximum.reduce,
    np.amin: np.minimum.reduce,
    np.prod: np.multiply.reduce,
    "sum": np.add.reduce,
    "max": np.maximum.reduce,
    "min": np.minimum.reduce,
    "prod": np.multiply.reduce,
}


@cache
def method(name: str) -> Callable[..., Any]:
    """Return the function that calls the method `name`, one for each name."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(x, name)(*args, **kwargs)

    call.__name__ = f"method_{name}"
    return call


def method_name(function: Any) -> str | None:
    """Return the name of the method that a function calls, None for other functions."""
    name = str(getattr(function, "__name__", "")).removeprefix("method_")
    return name if name in METHODS and function is method(name) else None


def reduction(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]] | None:
    """Return a sum, product or extreme as the ufunc's reduction that NumPy calls for it; None for any other call."""
    ufunc_reduce = _REDUCTIONS.get(function)
    if ufunc_reduce is None or len(args) > 2 or not kwargs.keys() <= {"axis", "keepdims"}:
        return None
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    if isinstance(axis, list):
        axis = tuple(axis)
    return ufunc_reduce, (args[0], axis, None, None, bool(kwargs.get("keepdims", False))), {}


def itself(x: Any) -> Any:
    """Return a number that is known: an output that is the same at every step."""
    return x


def real(x: Any) -> Any:
    """Return the real part, which is the array itself."""
    return x.real


def imag(x: Any) -> Any:
    """Return the imaginary part."""
    return x.imag


def put(g: Any, index: Any, shape: tuple[int, ...], dtype: Any, xp: Namespace = np) -> Any:
    """Return zeros with g at an index."""
    full = xp.zeros(shape, dtype)
    full[index] = g
    return full


def put_along(g: Any, indices: Any, axis: int, shape: tuple[int, ...], dtype: Any, xp: Namespace = np) -> Any:
    """Return zeros with g at indices along an axis."""
    full = xp.zeros(shape, dtype)
    xp.put_along_axis(full, indices, g, axis)
    return full


def add_at(g: Any, index: Any, shape: tuple[int, ...], dtype: Any, xp: Namespace = np) -> Any:
    """Return zeros to which g was added at an index, as often as it names a place."""
    full = xp.zeros(shape, dtype)
    xp.add.at(full, index, g)
    return full


_TWO = 2  # operands
spread = shapes._broadcast_to  # the tape's own: it copies small arrays, so that later sums have its order

COPIES = frozenset({np.copy, np.positive, operator.pos, method("copy")})  # of one array, which compute nothing
FRESH = frozenset(
    {
        *(np.add.reduce, np.maximum.reduce, np.minimum.reduce, np.multiply.reduce, np.where, np.concatenate, np.stack),
        *(np.mean, np.sum, np.cumsum, np.take_along_axis, np.sort, np.argsort, put, put_along, add_at, method("mean")),
        *(np.copy, method("copy"), method("flatten"), operator.pow, np.linalg.inv, np.linalg.solve, np.linalg.cholesky),
    }
)


def is_fresh(function: Any, args: tuple[Any, ...] = ()) -> bool:
    """Whether the result of a function, or of a call of it, shares memory with none of its arguments."""
    of_several = function is np.einsum and len(args) > _TWO and isinstance(args[0], str)  # of one it may be a view
    return isinstance(function, np.ufunc) or function in FRESH or of_several


# What np.einsum calls where there is no order of contractions to be found.
plain_einsum = getattr(getattr(getattr(np, "_core", None), "multiarray", None), "c_einsum", np.einsum)
