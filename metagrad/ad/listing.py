"""The page of the documentation that lists the operations of the tape, made from the table.

    python -m metagrad.ad.listing > docs/operations.md

A test compares the page with what this prints.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from textwrap import fill
from typing import Any

import numpy as np
import scipy

from metagrad.ad.calls import name_of
from metagrad.ad.functions import filters
from metagrad.ad.operators import OPERATORS
from metagrad.ad.remedies import REMEDIES
from metagrad.ad.table import CONSTANT, FAMILIES, REFUSED, load_late
from metagrad.ad.taught import NAMES

_HEAD = """# Operations of the tape

This page is made from the table in `metagrad/ad/table.py` by `python -m metagrad.ad.listing > docs/operations.md`.
A function that is listed takes traced values with the options of NumPy or SciPy, to any order of derivative, on NumPy
and CuPy arrays; options that are not supported stand beside it. Each is tested against NumPy's own values and against
differences to order 2. What is not listed raises a TypeError that names the function and says what to write; so does
a function that CuPy lacks, on a device. Made with {versions}.

Values are computed by NumPy, SciPy or CuPy. Operators and indexing work as on arrays, but for what writes in place.
`x[i] = y`, methods that write, and `x += y` on a view of an array that is used elsewhere are refused: build a new array
with `np.where`, `np.concatenate` or `np.stack`. **`x += y` on anything else gives the name x another value: a second
name of the same array, `z = x; z += 1`, does not see it.** Write `z = z + 1`, and it means the same everywhere.

Reductions, running results and outer products of ufuncs (`np.add.reduce`, `np.maximum.accumulate`, `np.hypot.outer`)
work for every ufunc below; `at` and `reduceat` are refused. Orders of entries are "C" and "F"; how a traced value lies
in memory ("A", "K") is not traced. Complex numbers live inside of the Fourier transforms below, with arithmetic, `abs`,
`angle`, `real`, `imag`, `exp`, products, sums, means and indexing; other functions refuse them.
"""
_EDGES = """## Where there is no derivative

- At a tie `maximum`, `minimum` and `clip` pass half of the cotangent to each side; `max` and `min` share it equally.
- `abs` has the slope 0 at 0. Norms and roots have none there: take `metagrad.ad.safe_norm` and `metagrad.ad.safe_sqrt`.
- Sorting, medians, quantiles and running extremes have the derivative of the order found; of equal entries the first
  one keeps its place.
- Where a value is NaN because an argument lies outside of the domain (`log(-1)`), the derivative is NaN too. At poles
  values are infinite, and derivatives infinite or NaN; that of `rgamma` is NaN where it is 0.
- Powers of 0: `x**y` has the slope 0 in y at x = 0.
- Singular matrices, those that are not positive definite, and eigenvectors or singular vectors of repeated values are
  errors that name the matrix of the stack, which is the task. Eigenvalues alone may be repeated, to first order.
- A branch that is not taken adds nothing: `np.where(x > 0, np.sqrt(x), 0.0)` is differentiated at 0 too.
- What looks at the type of x sees no array and no number: `isinstance(x, np.ndarray)`, `isinstance(x[0], float)` and
  `np.isscalar(x[0])` are False on a traced value.
"""
_OWN = """## An operation of your own

`metagrad.ad.primitive(name, forward, rules)` makes one. `forward` computes the value from plain arrays; `rules[i]`
returns the cotangent of argument i from the cotangent g of the output. Rules are written in supported functions, so
that every order follows from them. `metagrad.ad.check_gradients` holds them against differences.

```python
import numpy as np
import scipy.special
from metagrad import ad

dawson = ad.primitive("dawsn", scipy.special.dawsn, (lambda g, out, x: g * (1.0 - 2.0 * x * out),))
ad.check_gradients(dawson, (np.linspace(-1.0, 1.0, 5),), name="dawsn")
ad.register(scipy.special.dawsn, dawson)  # from here on scipy.special.dawsn(x) is differentiated too
print(ad.grad(lambda x: np.sum(scipy.special.dawsn(x)))(np.zeros(2)))
```

`register` is for ufuncs and for NumPy's functions, which pass calls on. A function of your own needs no entry: call the
primitive by its name.
"""
_TAUGHT = """## Plain functions that are taught

Ufuncs and NumPy's functions pass traced values on by themselves (NEP 13 and NEP 18). SciPy's plain functions do not.
Those of the table are given a door when metagrad, or the module that they stand in, is imported: with a traced value
the call goes to the tape, with anything else to SciPy's own code. They stay the same objects, so it does not matter
which was imported first.
"""


def markdown() -> str:
    """Return the page."""
    import_module("scipy.signal")  # its functions are entered when it is imported
    load_late()
    versions = f"NumPy {minor(np.__version__)} and SciPy {minor(scipy.__version__)}"
    parts = [_HEAD.format(versions=versions)]
    for title, family in FAMILIES.items():
        if family.TABLE:
            about = (family.__doc__ or "").strip().splitlines()[0]
            parts.append(f"## {title}\n\n{about}\n\n{_rows(family.TABLE)}\n")
    parts += [f"## Filters\n\n{(filters.__doc__ or '').strip().splitlines()[0]}\n\n{_filters()}\n"]
    pairs = [(module, name) for module, names in NAMES.items() for name in names]
    taught = [f"{m}.{n}" for m, n in pairs if getattr(import_module(m), n, None) not in REFUSED]
    parts += [f"{_TAUGHT}\n{_listed([*taught, 'numpy.vectorize'])}\n"]
    constants = _listed(map(name_of, CONSTANT))
    parts += [f"## Constants\n\nThese have no derivative; plain arrays come out.\n\n{constants}\n"]
    methods = [f"x.{name}" for name in OPERATORS if not name.startswith("_")]
    parts += ["## Methods and attributes\n\n" + _listed(methods) + "\n", _EDGES, _OWN]
    refused = REMEDIES | {name_of(function): remedy for function, remedy in REFUSED.items()}
    lines = [f"| `{name}` | {remedy} |" for name, remedy in sorted(refused.items())]
    parts += ["## Refused, with the remedy\n\n| function | what to write |\n|---|---|\n" + "\n".join(lines) + "\n"]
    return "\n".join(parts)


def _rows(table: dict[Any, Any]) -> str:
    lines = {
        f"| `{name_of(function)}` | {_about(traced)} | {_left_out(function, traced)} |"
        for function, traced in table.items()
    }
    return "| function | | not supported |\n|---|---|---|\n" + "\n".join(sorted(lines))


def _filters() -> str:
    lines = [f"| `scipy.signal.{name}` | {_about(traced)} |" for name, traced in filters.PLAIN.items()]
    return "| function | |\n|---|---|\n" + "\n".join(sorted(lines))


def _about(traced: Any) -> str:
    return (inspect.getdoc(traced) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _left_out(function: Any, traced: Any) -> str:
    """Return the options of a function that its differentiable form lacks."""
    if isinstance(function, np.ufunc):
        return ""
    try:
        theirs = inspect.signature(function).parameters
    except ValueError:
        return ""
    ours = inspect.signature(traced).parameters
    if any(p.kind is p.VAR_KEYWORD for p in ours.values()):
        return ""
    named = [n for n, p in theirs.items() if n not in ours and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return ", ".join(f"`{name}`" for name in named if name not in ("out", "subok", "like"))


def _listed(names: Iterable[str]) -> str:
    return fill(", ".join(f"`{name}`" for name in sorted(set(names))), 118, break_long_words=False)


def minor(version: str) -> str:
    """Return a version without its last part.

    >>> minor("2.4.6")
    '2.4'
    """
    return ".".join(version.split(".")[:2])


if __name__ == "__main__":
    print(markdown(), end="")
