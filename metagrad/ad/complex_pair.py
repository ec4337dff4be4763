"""Complex numbers in between: a pair of real arrays, as a spectrum is on the way from real data to a real loss.

A loss is a real function of real numbers, so all that is differentiated is real: `Complex` carries a real and an
imaginary part, each traced or plain, and its operations are compositions of real ones. Derivatives of every order
follow, and there is no convention of complex derivatives to choose. Such pairs come from np.fft and from complex
constants beside traced values (1j * x, F @ x with a complex matrix F): as the class is there, those cost three lines,
and np.abs(F @ x) is ordinary code. A function that is differentiated must return real numbers.

The derivative of np.abs(z) at z = 0, where there is none, is 0, as is that of np.abs for real numbers; that of
np.abs(z)**2 is right there, to all orders. np.angle(z) has none there either: it is NaN, as that of arctan2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from metagrad.ad.constants import operand
from metagrad.ad.functions.shapes import astype, module_of
from metagrad.ad.refusals import refuse
from metagrad.ad.tape import Var, value_of
from metagrad.errors import bad_type
from metagrad.xp import Array

# Of NumPy, entered by `metagrad.ad.complex_functions`; those of np.fft by `metagrad.ad.functions.spectra`.
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
REAL = (
    "Return a real number: np.abs(z)**2, z.real, z.imag, or np.angle(z), and write what is missing with z.real and "
    "z.imag."
)
_EXPLICIT = "Take np.abs(z), z.real or z.imag, or metagrad.ad.stop_gradient of those where no derivative is meant."


class Complex:
    """An array of complex numbers as a pair of real ones, of which one at least is traced."""

    __slots__ = ("imag", "real")
    __array_priority__ = 2000.0  # above that of a traced value
    __hash__ = None  # type: ignore[assignment]  # like an array: == compares entries

    def __init__(self, real: Any, imag: Any) -> None:
        """Keep both parts, in one shape and one dtype."""
        real, imag = _beside(real, imag), _beside(imag, real)
        shape = np.broadcast_shapes(shape_of(real), shape_of(imag))
        self.real, self.imag = (x if shape_of(x) == shape else np.broadcast_to(x, shape) for x in (real, imag))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return shape_of(self.real)

    @property
    def dtype(self) -> Any:
        """The complex dtype that holds both parts."""
        return np.result_type(*[getattr(x, "dtype", float) for x in (self.real, self.imag)], np.complex64)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def value(self) -> Array:
        """The plain array of complex numbers."""
        return assembled(value_of(self.real), value_of(self.imag))

    T = property(np.transpose)
    mT = property(lambda z: np.swapaxes(z, -1, -2))  # noqa: N815 - as that of arrays

    def __len__(self) -> int:
        """Return the length of the first axis."""
        if not self.shape:
            raise TypeError("len() of a traced complex value with no axes")
        return self.shape[0]

    def __iter__(self) -> Any:
        """Go along the first axis."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        """Show the values."""
        return f"Complex({self.value!r})"

    def __getitem__(self, index: Any) -> Complex:
        """Return the entries at `index`."""
        return Complex(self.real[index], self.imag[index])

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        """Refuse: the tape needs the old value."""
        refuse("z[index] = value", "Build a new array with np.where, np.concatenate or np.stack.")

    def __bool__(self) -> bool:
        """Refuse: a branch on a traced value is not part of its derivative."""
        return refuse("bool(z), or `if z`", "Compare np.abs(z): comparisons return plain arrays.")

    def __float__(self) -> NoReturn:
        """Refuse: a plain number would lose the derivative."""
        refuse("float(z) or complex(z)", _EXPLICIT)

    __int__ = __index__ = __complex__ = item = tolist = __float__

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a plain array would lose the derivative."""
        refuse("np.asarray(z)", _EXPLICIT)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Let NumPy's functions of entries work on pairs; TypeError, by name, for one that is not there."""
        if method == "reduce" and ufunc is np.add:
            return np.sum(*inputs, **{"axis": 0} | kwargs)
        if method != "__call__" or kwargs:
            _refuse_function(ufunc, f".{method}" if method != "__call__" else f" with {', '.join(sorted(kwargs))}=")
        return apply(ufunc, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Let NumPy's other functions work on pairs; TypeError, by name, for one that is not there."""
        return apply(function, args, kwargs)

    def conj(self) -> Complex:
        """Return the complex conjugates."""
        return Complex(self.real, -self.imag)

    conjugate = conj

    def reshape(self, *shape: Any) -> Complex:
        """Return the entries in another shape."""
        return apply(np.reshape, (self, shape[0] if len(shape) == 1 else shape), {})  # type: ignore[no-any-return]

    def transpose(self, *axes: Any) -> Complex:
        """Return the array with its axes in another order, reversed by default."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return apply(np.transpose, (self, order or None), {})  # type: ignore[no-any-return]

    def astype(self, dtype: Any, copy: bool = True) -> Complex:
        """Return the numbers in another complex type."""
        if np.dtype(dtype).kind != "c":
            bad_type("astype", "dtype", f"{np.dtype(dtype)} for complex values", "a complex type", REAL)
        part = np.empty(0, dtype).real.dtype
        return Complex(*[astype(x, part) if type(x) is Var else x.astype(part) for x in (self.real, self.imag)])


# -- operands


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array, () of a number."""
    return tuple(getattr(x, "shape", ()))


def _beside(x: Any, other: Any) -> Any:
    """Return one part; a Python number as an array like the other part, as it has no dtype of its own."""
    like_it = value_of(other)
    if type(x) is Var or hasattr(x, "dtype") or not hasattr(like_it, "dtype"):
        return x
    return module_of(like_it).full_like(like_it, x)


def parts(x: Any) -> tuple[Any, Any]:
    """Return real and imaginary part of an operand; None for the imaginary part of real numbers."""
    if type(x) is Complex:
        return x.real, x.imag
    if type(x) is Var:
        return x, None
    if type(x) in (list, tuple):
        x = np.asarray(x)
    if is_complex(x):
        return operand(x.real, "complex arithmetic"), operand(x.imag, "complex arithmetic")
    return operand(x, "complex arithmetic"), None


def is_complex(x: Any) -> bool:
    """Tell whether x is a complex number or array, traced or plain."""
    return isinstance(x, Complex | complex) or getattr(getattr(x, "dtype", None), "kind", "") == "c"


def pair(x: Any) -> Complex:
    """Return an operand as a pair."""
    re, im = parts(x)
    return Complex(re, 0.0 if im is None else im)


def values_of(x: Any) -> Any:
    """Return plain values, also of what is in tuples and lists."""
    if type(x) in (list, tuple):
        return type(x)(map(values_of, x))
    return x.value if type(x) is Complex else value_of(x)


def assembled(re: Any, im: Any) -> Array:
    """Return the complex array of two plain real ones."""
    xp = module_of(re, im)
    re, im = xp.asarray(re), xp.asarray(im)
    narrow = np.result_type(re.dtype, im.dtype, np.float32)  # no complex type is made of float16
    whole = xp.stack((re.astype(narrow), im.astype(narrow)), axis=-1)
    return whole.view(np.result_type(narrow, np.complex64))[..., 0]


def apply(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what a function of NumPy gives for arguments among which there are complex ones."""
    found = FUNCTIONS.get(function)
    if found is None:
        _refuse_function(function)
    return found(*args, **kwargs)


def _refuse_function(function: Any, what: str = "") -> NoReturn:
    module = getattr(function, "__module__", None) or "numpy"
    raise TypeError(f"{module}.{function.__name__}{what} of complex values cannot be traced by metagrad.ad. {REAL}")


def _operator(function: Any, is_swapped: bool = False) -> Callable[[Complex, Any], Any]:
    if is_swapped:
        return lambda z, other: apply(function, (other, z), {})
    return lambda z, other: apply(function, (z, other), {})


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name)
    return lambda z, *args, **kwargs: apply(function, (z, *args), kwargs)


_SIGNS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power}
for _sign, _function in {**_SIGNS, "matmul": np.matmul, "eq": np.equal, "ne": np.not_equal}.items():
    setattr(Complex, f"__{_sign}__", _operator(_function))
    if _sign not in ("eq", "ne"):
        setattr(Complex, f"__r{_sign}__", _operator(_function, is_swapped=True))
for _name, _function in {"abs": np.absolute, "neg": np.negative, "pos": np.positive}.items():
    setattr(Complex, f"__{_name}__", lambda z, function=_function: apply(function, (z,), {}))
for _name in ("sum", "mean", "cumsum", "ravel", "squeeze", "swapaxes", "dot", "take", "repeat", "trace", "copy", "var"):
    setattr(Complex, _name, _method(_name))
Complex.flatten = _method("ravel")  # type: ignore[attr-defined]
