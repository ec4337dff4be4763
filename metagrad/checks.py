"""What an argument of a public call may be, one line each where a part is made: a choice, a flag, a count, a number.

Every check raises the errors of `metagrad.errors`: TypeError for another kind, ValueError for another value, with the
name of the function, of the argument, what came, what was expected and what to do.
"""

from __future__ import annotations

import inspect
import math
import operator
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metagrad.errors import bad_type, bad_value, nearest

FLOATS = ("float16", "float32", "float64")  # what the engine computes in
FLOAT_DTYPE = "a float dtype (float16, float32 or float64)"
_UNITS = {"B": 1} | {f"{k}B": 10 ** (3 * n) for n, k in enumerate("KMGT", 1)}
_UNITS |= {f"{k}IB": 2 ** (10 * n) for n, k in enumerate("KMGT", 1)}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?B)\s*", re.IGNORECASE)
_LONGEST = 80


def shown(given: Any) -> str:
    """Say what came, in few words, whatever it is.

    >>> shown(2.5), shown(np.zeros((2, 3))), shown(dict)
    ('2.5', 'an array of shape (2, 3)', 'the class dict')
    """
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if getattr(given, "ndim", 0):
        return f"an array of shape {tuple(given.shape)}"
    text = repr(given)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def choice(where: str, name: str, given: Any, known: Sequence[str | None]) -> None:
    """Raise unless `given` is one of the known choices; the message names the nearest one.

    >>> choice("Reverse", "scaling", "Auto", ("auto", "none"))
    Traceback (most recent call last):
    ValueError: Reverse: scaling is 'Auto'; expected a known choice. Did you mean 'auto'? Known: 'auto', 'none'.
    """
    if (isinstance(given, str) or given is None) and given in known:
        return
    texts = [one for one in known if one is not None]
    if isinstance(given, str):
        bad_value(where, name, repr(given), "a known choice", nearest(given, texts))
    bad_type(where, name, shown(given), "a known choice", nearest("", texts))


def flag(where: str, name: str, given: Any) -> None:
    """Raise TypeError unless `given` is True or False: "no" would count as true."""
    if not isinstance(given, bool | np.bool_):
        bad_type(where, name, shown(given), "True or False")


def count(where: str, name: str, given: Any, least: int = 1, remedy: str = "") -> int:
    """Return an integer of at least `least`; TypeError for what is none, ValueError for one below.

    >>> count("rollout", "steps", np.int32(5), 0)
    5
    """
    try:
        if isinstance(given, bool | np.bool_):
            raise TypeError
        found = operator.index(given)
    except TypeError:
        came = shown(given) if given is None or isinstance(given, type) else f"{shown(given)}, a {type(given).__name__}"
        bad_type(where, name, came, "an integer", remedy or f"Use int({name}).")
    if found < least:
        bad_value(where, name, found, f"an integer of at least {least}", remedy)
    return found


def number(
    where: str,
    name: str,
    given: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    remedy: str = "",
) -> float:
    """Return a finite number, also one of NumPy's or an array (); raise for what is none, or is out of the range."""
    is_number = isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool)
    if not is_number and not (_kind(given) in ("f", "i", "u") and np.shape(given) == ()):
        bad_type(where, name, f"{shown(given)}, a {type(given).__name__}", "a number", remedy)
    try:
        found = float(given)
    except OverflowError:
        found = math.inf
    if not (math.isfinite(found) and above < found < below and found >= least):
        ends = [f"above {above:g}"] * (above > -math.inf) + [f"of at least {least:g}"] * (least > -math.inf)
        ends += [f"below {below:g}"] * (below < math.inf)
        bad_value(where, name, given, " ".join(["a finite number", " and ".join(ends)]).strip(), remedy)
    return found


def size(where: str, name: str, given: Any) -> int:
    """Return how many bytes: an integer, or a text such as "64 MiB" or "1MB" (kB, MB, GB are powers of 1000).

    >>> size("Reverse", "memory", "64 MiB"), size("Reverse", "memory", "1MB"), size("Reverse", "memory", 4096)
    (67108864, 1000000, 4096)
    """
    remedy = "kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB powers of 1024."
    if isinstance(given, str):
        found = _SIZE.fullmatch(given)
        if found is None:
            bad_value(where, name, repr(given), "a size such as '64 MiB', '1MB', '2 GiB'", remedy)
        return int(float(found[1]) * _UNITS[found[2].upper()])
    return count(where, name, given, 0, f"Bytes are counted, or given as a text such as '64 MiB'; {remedy}")


def physical_memory() -> float:
    """Return how many bytes this machine has; inf where it does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf


def float_dtype(where: str, name: str, given: Any) -> np.dtype[Any]:
    """Return the dtype, one that the engine computes in."""
    try:
        found: np.dtype[Any] | None = None if given is None else np.dtype(given)
    except (TypeError, ValueError, SyntaxError):  # NumPy parses texts
        found = None
    if found is None:
        bad_type(where, name, shown(given), FLOAT_DTYPE, "That of the task, such as np.float32.")
    if found.name not in FLOATS:
        bad_type(where, name, found.name, FLOAT_DTYPE, "That of the task, such as np.float32.")
    return found


def file_path(where: str, name: str, given: Any) -> Path:
    """Return the path of a file or folder; TypeError unless it is a text or a path."""
    if not isinstance(given, str | os.PathLike):
        bad_type(where, name, shown(given), "the name of a file, a text or a path")
    return Path(given)


def new_file(where: str, name: str, given: Any) -> Path:
    """Return the path of a file that may be written; ValueError, which names the folder, where there is none for it."""
    path = file_path(where, name, given)
    if not path.parent.is_dir():
        came = f"{path}, in the folder {path.parent}, which does not exist"
        bad_value(where, name, came, "a file in a folder that exists", "Make the folder first, or look at the path.")
    return path


def function(where: str, name: str, given: Any, arguments: int, expected: str) -> None:
    """Raise TypeError unless `given` can be called with so many arguments."""
    fits = callable(given)
    if fits:
        try:
            inspect.signature(given).bind(*[None] * arguments)
        except TypeError:
            fits = False
        except ValueError:  # a builtin without a signature
            return
    if not fits:
        bad_type(where, name, shown(given), expected)


def instance(where: str, name: str, given: Any, kind: type, remedy: str = "") -> None:
    """Raise TypeError unless `given` is one of the class `kind`, and not the class itself."""
    if not isinstance(given, kind):
        if isinstance(given, type) and issubclass(given, kind):
            remedy = f"Write {given.__name__}(...)."
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        bad_type(where, name, shown(given), f"{article} {kind.__name__}", remedy)


def _kind(given: Any) -> str:
    return str(getattr(getattr(given, "dtype", None), "kind", ""))
