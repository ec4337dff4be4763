"""The same parts in another float type: every float array that a part, or a tree of numbers, holds is rounded to it."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from metagrad import ad, parts
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.protocols import Joint, Rule, Task, Tree
from metagrad.system import Training
from metagrad.unroll.rescale import is_float_array
from metagrad.xp import is_array, namespace

_WHERE = "diagnose"
_KNOWN = ["float16", "float32", "float64"]


def float_type(given: Any) -> Any:
    """Return the dtype that `given` names; ValueError for one that the engine has not."""
    try:
        name = np.dtype(given).name
    except TypeError:
        name = str(given)
    if name not in _KNOWN:
        bad_value(_WHERE, "dtype", repr(given), "a float type", nearest(name, _KNOWN))
    return np.dtype(name)


def converted(part: Any, dtype: Any) -> Any:
    """Return a copy of a task, a rule or a tree whose float arrays are of `dtype`; ValueError where one overflows."""
    if is_array(part) or isinstance(part, np.floating):
        return _rounded(part, dtype)
    if isinstance(part, tuple | list):
        items = [converted(item, dtype) for item in part]
        return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
    if isinstance(part, dict):
        return {key: converted(item, dtype) for key, item in part.items()}
    if isinstance(part, type) or not (dataclasses.is_dataclass(part) or isinstance(part, Task | Rule)):
        return part
    names = {one.name for one in dataclasses.fields(part)} if dataclasses.is_dataclass(part) else set()
    made = copy.copy(part)
    for name in names | set(getattr(part, "__dict__", ())):
        object.__setattr__(made, name, converted(getattr(part, name), dtype))
    return made


def _rounded(x: Any, dtype: Any) -> Any:
    if x.dtype.kind != "f" or x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):
        made = x.astype(dtype)
    xp = namespace(x)
    if bool((xp.isfinite(x) & ~xp.isfinite(made)).any()):
        bad_value(_WHERE, "dtype", f"{dtype}, in which an array of the parts overflows", "a wider one", "Scale it.")
    return made


def check_dtype(task: Task, rule: Rule, phi: Tree, seed: int, dtype: Any) -> None:
    """Raise TypeError where the task still computes in another dtype: a function's own data cannot be converted."""
    system = Training(task, rule, seed)
    given = parts.given(task, phi.task) if isinstance(phi, Joint) else task
    w = system.example()
    found = [leaf.dtype for leaf in ad.leaves(w) if is_float_array(leaf)]
    with np.errstate(all="ignore"):
        found.append(given.loss(w, system.sample(0)).dtype)
    others = sorted({str(one) for one in found} - {str(dtype)})
    if others:
        came = f"{str(dtype)!r}, but the loss of the {type(task).__name__} is of {others[0]} then"
        remedy = f"Data within a function cannot be converted: build the task in {dtype}, and leave dtype out."
        bad_type(_WHERE, "dtype", came, "a task that can be converted", remedy)
