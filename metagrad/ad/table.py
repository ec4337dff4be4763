"""What traced values go through: NumPy's and SciPy's functions by name, and what becomes of each.

`FUNCTIONS` maps a function to its differentiable form, `CONSTANT` lists those that have no derivative and give plain
arrays, `REFUSED` those that cannot be supported, each with what to write in its place. A new function is one primitive
(or a composition) in a module of `functions`, a line in the `TABLE` there, and a line in the module of the same name in
`domains`: the tests and the page of the documentation run over all of them. Code of one's own calls `register`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import RLock
from typing import Any

import numpy as np

from metagrad.ad import remedies
from metagrad.ad.functions import (
    angles,
    contractions,
    cumulative,
    elementwise,
    factors,
    grids,
    joining,
    linalg,
    picking,
    products,
    rearranging,
    reductions,
    rounding,
    shapes,
    signals,
    sorting,
    spectra,
    statistics,
)
from metagrad.errors import bad_type

FAMILIES: dict[str, Any] = {
    "Entry by entry": elementwise,
    "Angles": angles,
    "Remainders and limits": rounding,
    "Shapes": shapes,
    "Rearranging": rearranging,
    "Joining and cutting": joining,
    "Picking": picking,
    "Grids and pieces": grids,
    "Reductions": reductions,
    "Along an axis": cumulative,
    "Order": sorting,
    "Statistics": statistics,
    "Signals": signals,
    "Spectra": spectra,
    "Products": products,
    "Other products": contractions,
    "Linear algebra": linalg,
    "Factorisations": factors,
}
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
CONSTANT: set[Any] = {
    *(np.sign, np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, np.isfinite, np.isinf, np.isnan, np.signbit),
    *(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal),
    *(np.logical_and, np.logical_or, np.logical_not, np.all, np.any, np.count_nonzero),
    *(np.argmax, np.argmin, np.argsort, np.argpartition, np.shape, np.ndim, np.size, np.result_type, np.allclose),
    *(np.zeros_like, np.ones_like, np.empty_like, np.array_equal, np.array2string, np.array_repr, np.array_str),
}
REFUSED: dict[Any, str] = dict(remedies.REFUSED)
_LOADING = RLock()
# Families that import SciPy, which importing metagrad does not.
LATE = {"Special functions": "special", "Linear algebra of SciPy": "scipy_linalg"}


def _enter(family: Any) -> None:
    FUNCTIONS.update(family.TABLE)
    CONSTANT.update(getattr(family, "CONSTANT", ()))
    REFUSED.update(getattr(family, "REFUSED", {}))


for _family in FAMILIES.values():
    _enter(_family)


def load_late() -> None:
    """Enter the families that import SciPy, once a function is asked for that is none of NumPy's."""
    with _LOADING:  # another thread waits until all is there
        for title, name in list(LATE.items()):
            FAMILIES[title] = import_module(f"metagrad.ad.functions.{name}")
            _enter(FAMILIES[title])
            del LATE[title]


def find(function: Any) -> Callable[..., Any] | None:
    """Return the differentiable form of a function; None where there is none."""
    if function not in FUNCTIONS and LATE and function not in REFUSED:
        load_late()
    return FUNCTIONS.get(function)


def register(function: Any, traced: Callable[..., Any]) -> None:
    """Let calls of `function` with a traced value go to `traced`, which takes the arguments by the same names.

    `function` is a NumPy function or a ufunc of any library (SciPy's, Numba's, one's own); `traced` is composed of
    supported functions, or a `metagrad.ad.primitive`. A function that is one's own needs no entry: call the primitive.
    TypeError where NumPy would not pass the call on.

    >>> from metagrad import ad
    >>> import scipy.special
    >>> dawson = ad.primitive("dawsn", scipy.special.dawsn, (lambda g, out, x: g * (1 - 2 * x * out),))
    >>> register(scipy.special.dawsn, dawson)
    >>> float(ad.grad(scipy.special.dawsn)(0.0))
    1.0
    """
    passes_on = isinstance(function, np.ufunc) or hasattr(function, "__wrapped__") or find(function)
    if not passes_on:
        came = f"{getattr(function, '__name__', function)!r}, which makes plain arrays of what it is given"
        expected = "a ufunc, or a function of NumPy that passes calls on (NEP 18)"
        bad_type("register", "function", came, expected, "Call the differentiable function by its own name.")
    if not callable(traced):
        bad_type("register", "traced", f"a {type(traced).__name__}", "a function")
    load_late()  # so that nothing is entered over it
    FUNCTIONS[function] = traced
