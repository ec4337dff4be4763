"""Functions that pick entries by their places, or by a condition, and those that leave some out or put some in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from metagrad.ad.functions.elementwise import where
from metagrad.ad.functions.shapes import (
    array_of,
    astype,
    broadcast_arrays,
    broadcast_to,
    concatenate,
    getitem,
    module_of,
    moveaxis,
    ravel,
    reshape,
)
from metagrad.ad.tape import Var, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import number_type


def at_places(a: Any, axis: int, places: Any) -> Any:
    """Return the entries of `a` at places along one axis, which NumPy found on the host."""
    xp = module_of(value_of(a))
    index = places if xp is np or isinstance(places, slice) else xp.asarray(places)
    return getitem(a, (*(slice(None),) * axis, index))


def constant_place(function: str, argument: str, x: Any) -> Any:
    """Return an argument that says where, as NumPy takes it; TypeError for a traced one."""
    if type(x) is Var:
        remedy = "Take metagrad.ad.stop_gradient(x), or a comparison or argsort of it."
        bad_type(function, argument, "a traced value", "integers or booleans, which have no derivative", remedy)
    return x


def sent(a: Any, *places: Any) -> tuple[Any, ...]:
    """Return places, which NumPy found on the host, where the array is."""
    xp = module_of(value_of(a))
    return places if xp is np else tuple(xp.asarray(p) for p in places)


def with_length(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """Return a shape with another length along one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def take(a: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
    """Entries at integer indices along one axis (of all entries if None)."""
    x = ravel(a) if axis is None or not a.ndim else a
    at = 0 if axis is None else normalize_axis_index(axis, x.ndim, "take: axis")
    index, n = constant_place("take", "indices", indices), x.shape[at]
    index = sent(x, np.asarray(index))[0] if isinstance(index, list | tuple | bool) else index
    if getattr(index, "dtype", None) == np.bool_:
        index = index.astype(np.intp)  # 0 and 1 here, no mask
    if mode == "wrap":
        index = index % n
    elif mode == "clip":
        xp = module_of(index)
        index = xp.minimum(xp.maximum(index, 0), n - 1)
    elif mode != "raise":
        bad_value("take", "mode", repr(mode), "'raise', 'wrap' or 'clip'")
    return getitem(x, (*(slice(None),) * at, index))


def compress(condition: Any, a: Any, axis: Any = None) -> Any:
    """Entries along one axis (of all entries if None) where the condition holds."""
    chosen = constant_place("compress", "condition", condition)
    chosen = np.asarray(chosen) if isinstance(chosen, list | tuple) else chosen
    if chosen.ndim != 1:
        bad_value("compress", "condition", f"an array of shape {chosen.shape}", "one axis")
    return take(a, module_of(chosen).flatnonzero(chosen), axis)


def extract(condition: Any, arr: Any) -> Any:
    """All entries where the condition holds."""
    chosen = constant_place("extract", "condition", condition)
    chosen = np.asarray(chosen) if isinstance(chosen, list | tuple) else chosen
    return take(arr, module_of(chosen).flatnonzero(chosen))


def choose(a: Any, choices: Any, mode: str = "raise") -> Any:
    """At each place the entry of the choice that the integer there names."""
    index = array_of(constant_place("choose", "a", a))
    arrays = [array_of(c) for c in choices]
    n, xp = len(arrays), module_of(index)
    if mode == "wrap":
        index = index % n
    elif mode == "clip":
        index = xp.minimum(xp.maximum(index, 0), n - 1)
    elif xp is np and np.any((index < 0) | (index >= n)):
        bad_value("choose", "a", f"an array with entries outside 0 to {n - 1}", f"one of {n} choices at each place")
    out, *_ = broadcast_arrays(arrays[-1], index, *arrays[:-1])
    for i in reversed(range(n - 1)):
        out = where(index == i, arrays[i], out)
    return out


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """At each place the entry of the first choice whose condition holds, and the default where none does."""
    if len(condlist) != len(choicelist) or not len(condlist):
        came = f"a list of {len(choicelist)}"
        bad_value("select", "choicelist", came, f"as many choices as conditions, {len(condlist)}, and one at least")
    out = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        chosen = np.asarray(condition) if isinstance(condition, bool | np.bool_ | list) else condition
        if getattr(chosen, "dtype", None) != np.bool_:
            bad_type("select", "condlist", "a list with entries that are no booleans", "a list of boolean arrays")
        out = where(chosen, choice if number_type(choice) in (float, int) else array_of(choice), out)
    return out


def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """What is left along one axis (of all entries if None) without those at some places."""
    x, at = (ravel(arr), 0) if axis is None else (arr, normalize_axis_index(axis, arr.ndim, "delete: axis"))
    return at_places(x, at, np.delete(np.arange(x.shape[at]), constant_place("delete", "obj", obj)))


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """The entries of `arr`, with `values` before some places along one axis (of all entries if None)."""
    x, at = (ravel(arr), 0) if axis is None else (arr, normalize_axis_index(axis, arr.ndim, "insert: axis"))
    n, new = x.shape[at], array_of(values)
    before = obj if isinstance(constant_place("insert", "obj", obj), slice) else np.asarray(obj)
    places = (
        np.arange(n)[before]
        if isinstance(before, slice)
        else np.flatnonzero(before)
        if before.dtype == bool
        else before
    )
    new = reshape(new, (1,) * (x.ndim - new.ndim) + new.shape)
    if places.ndim == 0:
        new = moveaxis(new, 0, at)
    count = new.shape[at] if places.size == 1 else places.size
    new = broadcast_to(new, with_length(x.shape, at, count))
    new = new if new.dtype == x.dtype else astype(new, x.dtype)
    return at_places(concatenate((x, new), at), at, np.insert(np.arange(n), places, n + np.arange(count)))


TABLE: dict[Any, Any] = {
    np.take: take,
    np.compress: compress,
    np.extract: extract,
    np.choose: choose,
    np.select: select,
    np.delete: delete,
    np.insert: insert,
}
CONSTANT = frozenset(
    {
        *(np.nonzero, np.flatnonzero, np.argwhere, np.tril_indices_from, np.triu_indices_from, np.diag_indices_from),
        *(np.common_type, np.can_cast, np.min_scalar_type, np.shares_memory, np.may_share_memory),
    }
)
_IN_PLACE = "It writes in place. Write"
REFUSED = {
    np.fill_diagonal: f"{_IN_PLACE} x = np.where(np.eye(len(x), dtype=bool), value, x).",
    np.place: f"{_IN_PLACE} x = np.where(mask, value, x).",
    np.putmask: f"{_IN_PLACE} x = np.where(mask, value, x).",
    np.copyto: f"{_IN_PLACE} x = np.where(mask, value, x); for np.full(shape, value) np.broadcast_to(value, shape).",
    np.put: f"{_IN_PLACE} x = np.where(np.isin(np.arange(x.size).reshape(x.shape), indices), value, x).",
    np.put_along_axis: f"{_IN_PLACE} x = np.where(mask, value, x) with the mask of the places.",
    np.trim_zeros: (
        "How many entries are left depends on their values. Write x[i:j] with constant bounds, and np.polyval(p, x) "
        "for np.poly1d(p)(x)."
    ),
}
