"""Functions that join arrays, and those that cut them: compositions of `concatenate`, `stack` and indexing."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from metagrad.ad.functions.shapes import array_of, cast, concatenate, getitem, ravel, reshape, transpose
from metagrad.ad.tape import Var
from metagrad.errors import bad_type, bad_value


def _each(function: Any, arys: tuple[Any, ...]) -> Any:
    """Return what `function` makes of each array: of one alone, or a tuple."""
    found = tuple(function(array_of(x)) for x in arys)
    return found[0] if len(found) == 1 else found


def atleast_1d(*arys: Any) -> Any:
    """The array with one axis at least."""
    return _each(lambda x: x if x.ndim else reshape(x, (1,)), arys)


def atleast_2d(*arys: Any) -> Any:
    """The array with two axes at least; new ones come first."""
    return _each(lambda x: x if x.ndim >= 2 else reshape(x, (1, x.size)), arys)


def atleast_3d(*arys: Any) -> Any:
    """The array with three axes at least: (1, n, 1) for a vector, (m, n, 1) for a matrix."""
    return _each(lambda x: x if x.ndim >= 3 else reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, x.size, 1)), arys)


def _entries(where: str, tup: Any, dtype: Any = None, casting: str = "same_kind") -> list[Any]:
    return [cast(where, a, dtype, casting) for a in tup]


def hstack(tup: Any, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays side by side: along the second axis, vectors along their only one."""
    arrays = [atleast_1d(a) for a in _entries("hstack", tup, dtype, casting)]
    return concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


def vstack(tup: Any, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Arrays below one another, vectors as rows."""
    return concatenate([atleast_2d(a) for a in _entries("vstack", tup, dtype, casting)], 0)


def dstack(tup: Any) -> Any:
    """Arrays behind one another, along the third axis."""
    return concatenate([atleast_3d(a) for a in _entries("dstack", tup)], 2)


def column_stack(tup: Any) -> Any:
    """Arrays side by side, vectors as columns."""
    return concatenate([a if a.ndim >= 2 else transpose(atleast_2d(a)) for a in _entries("column_stack", tup)], 1)


def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """Values after those of an array (all entries one after the other if None)."""
    a, b = array_of(arr), array_of(values)
    return concatenate((ravel(a), ravel(b)), 0) if axis is None else concatenate((a, b), axis)


def block(arrays: Any) -> Any:
    """Arrays joined as nested lists of them lie: the innermost along the last axis."""
    depth, n = _depth(arrays), _most_axes(arrays)
    return _joined(arrays, depth, max(depth, n))


def _depth(x: Any) -> int:
    if type(x) is tuple:
        bad_type("block", "arrays", "a tuple", "lists of arrays")
    if type(x) is not list:
        return 0
    depths = {_depth(part) for part in x}
    if len(depths) != 1:
        bad_value("block", "arrays", f"nested {sorted(depths)} deep" if x else "an empty list", "lists of one depth")
    return depths.pop() + 1


def _most_axes(x: Any) -> int:
    return max(map(_most_axes, x)) if type(x) is list else array_of(x).ndim


def _joined(x: Any, depth: int, n: int) -> Any:
    if type(x) is list:
        return concatenate([_joined(part, depth - 1, n) for part in x], -depth)
    a = array_of(x)
    return reshape(a, (1,) * (n - a.ndim) + a.shape)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis: so many, of sizes that differ by one at most, or cut at the given indices."""
    return _parts("array_split", ary, indices_or_sections, axis)


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis: so many equal ones, or cut at the given indices."""
    return _parts("split", ary, indices_or_sections, axis, equal=True)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the second axis, of a vector along its only one."""
    _has_axes("hsplit", ary, 1)
    return _parts("hsplit", ary, indices_or_sections, 1 if ary.ndim > 1 else 0, equal=True)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the first of two axes or more."""
    _has_axes("vsplit", ary, 2)
    return _parts("vsplit", ary, indices_or_sections, 0, equal=True)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the third axis."""
    _has_axes("dsplit", ary, 3)
    return _parts("dsplit", ary, indices_or_sections, 2, equal=True)


def _has_axes(where: str, ary: Any, least: int) -> None:
    if ary.ndim < least:
        bad_value(where, "ary", f"an array of shape {ary.shape}", f"at least {least} axes")


def _parts(where: str, ary: Any, cuts: Any, axis: int, equal: bool = False) -> list[Any]:
    at = normalize_axis_index(axis, ary.ndim, f"{where}: axis")
    n = ary.shape[at]
    if type(cuts) is Var:
        bad_type(where, "indices_or_sections", "a traced value", "integers, which have no derivative")
    if np.ndim(cuts) == 0:
        count = int(cuts)
        if count <= 0:
            bad_value(where, "indices_or_sections", count, "at least 1 section")
        if equal and n % count:
            bad_value(where, "indices_or_sections", count, f"a divisor of the axis of {n}", "Take np.array_split.")
        small, larger = divmod(n, count)
        cuts = list(itertools.accumulate([small + 1] * larger + [small] * (count - larger - 1)))
    bounds = [0, *map(int, cuts), n]
    return [getitem(ary, (*(slice(None),) * at, slice(a, b))) for a, b in itertools.pairwise(bounds)]


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The parts along an axis, without that axis."""
    at = normalize_axis_index(axis, x.ndim, "unstack: axis")
    return tuple(getitem(x, (*(slice(None),) * at, i)) for i in range(x.shape[at]))


TABLE: dict[Any, Any] = {
    np.atleast_1d: atleast_1d,
    np.atleast_2d: atleast_2d,
    np.atleast_3d: atleast_3d,
    np.hstack: hstack,
    np.vstack: vstack,
    np.dstack: dstack,
    np.column_stack: column_stack,
    np.append: append,
    np.block: block,
    np.split: split,
    np.array_split: array_split,
    np.hsplit: hsplit,
    np.vsplit: vsplit,
    np.dsplit: dsplit,
    np.unstack: unstack,
}
