"""Tasks of unequal sizes: one array a task, or padded arrays with a mask, brought to padded arrays that are 0 there.

Zero rows add nothing to X'(Xw - y) and to ||Xw - y||^2, so only what is divided by n has to know the n_b of each task.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.errors import bad_type, bad_value
from metagrad.tasks import _checks as shared
from metagrad.tasks.least_squares import _checks as checks
from metagrad.xp import Array, is_array, namespace, to_host

Names = tuple[str, str, str]


def padded(where: str, names: Names, X: Any, y: Any, mask: Any) -> tuple[Any, Any, Array | None]:
    """Return X, y and the mask (B, n), None where all tasks have the same number of samples.

    Arrays without a mask are returned as they are, unchecked.
    """
    for name, data in zip(names, (X, y), strict=False):
        if is_array(data) and data.dtype.kind == "O":
            remedy = f"Use list({name}): a list of one array per task may have unequal sizes."
            bad_type(where, name, "an array of object", "a float dtype, or a list of arrays", remedy)
    if _is_list(X) or _is_list(y):
        if mask is not None:
            bad_value(where, names[2], "given beside lists", "None", "A mask is for padded arrays; lists need none.")
        return _from_lists(where, names, X, y)
    return (X, y, None) if mask is None else _from_mask(where, names, X, y, mask)


def counts(mask: Array | None) -> Any | None:
    """Return the number of samples of each task, integers (B,) on the host; None without a mask."""
    return None if mask is None else to_host(mask).sum(axis=-1)


def sizes_of(mask: Array | None, dtype: Any) -> Array | None:
    """Return the number of samples of each task, (B,) in the dtype of the data; None without a mask."""
    return None if mask is None else mask.sum(axis=-1).astype(dtype)


def draw(rng: np.random.Generator, mask: Any, size: int, replacement: bool) -> Any:
    """Return `size` indices for each task, (B, size), among its own samples alone: mask (B, n) on the host."""
    if not replacement:
        return np.argsort(np.where(mask, rng.random(mask.shape), 2.0), axis=1)[:, :size]
    own = np.argsort(~mask, axis=1, kind="stable")  # each task's own samples first
    ranks = rng.integers(mask.sum(axis=1, keepdims=True), size=(mask.shape[0], size))
    return np.take_along_axis(own, ranks, axis=1)


def _is_list(data: Any) -> bool:
    return isinstance(data, list | tuple) and len(data) > 0 and all(is_array(x) for x in data)


def _from_lists(where: str, names: Names, X: Any, y: Any) -> tuple[Array, Array, Array | None]:
    for name, other, data in ((names[0], names[1], X), (names[1], names[0], y)):
        if not _is_list(data):
            expected = f"a list of one array per task, as {other} is"
            bad_type(where, name, f"a {type(data).__name__}", expected, "Give lists for both, or arrays for both.")
    if len(X) != len(y):
        came = f"{len(X)} in {names[0]}, {len(y)} in {names[1]}"
        bad_value(where, "the number of tasks", came, "one array per task in both")
    given: dict[str, Array] = {}
    for b, (rows, targets) in enumerate(zip(X, y, strict=True)):
        here = f"{names[0]}[{b}]", f"{names[1]}[{b}]"
        checks.check_samples(where, here, rows, targets)
        if rows.ndim != 2 or targets.ndim != 1:
            came, expected = f"of shapes {rows.shape} and {targets.shape}", "shapes (n_b, d) and (n_b,)"
            bad_value(where, " and ".join(here), came, expected, "One array per task.")
        if rows.shape[1] != X[0].shape[1]:
            expected = f"{X[0].shape[1]} columns, as {names[0]}[0] has"
            bad_value(where, here[0], f"of shape {rows.shape}", expected, "Use the same features for all tasks.")
        given |= dict(zip(here, (rows, targets), strict=True))
    shared.check_alike(where, given)
    xp, sizes = namespace(X[0]), [len(targets) for targets in y]
    if len(set(sizes)) == 1:
        return xp.stack(list(X)), xp.stack(list(y)), None
    n, d = max(sizes), X[0].shape[1]
    rows, targets = (xp.zeros((len(sizes), *shape), dtype=X[0].dtype) for shape in ((n, d), (n,)))
    for b, size in enumerate(sizes):
        rows[b, :size], targets[b, :size] = X[b], y[b]
    return rows, targets, xp.arange(n) < xp.asarray(sizes)[:, None]


def _from_mask(where: str, names: Names, X: Any, y: Any, mask: Any) -> tuple[Array, Array, Array | None]:
    """Return the arrays with zeros where the mask is False: what is there is not looked at, NaN and inf included."""
    for name, array in zip(names, (X, y), strict=False):
        shared.check_floats(where, name, array)
    checks.check_shapes(where, names[:2], X, y)
    if not is_array(mask) or mask.dtype.kind != "b":
        came = f"an array of {mask.dtype}" if is_array(mask) else f"a {type(mask).__name__}"
        bad_type(where, names[2], came, "an array of bool", f"Use np.asarray({names[2]}, dtype=bool).")
    xp = namespace(X, y, mask, where=where)
    if mask.ndim != 2 or mask.shape[1] != X.shape[-2]:
        expected = f"shape (B, {X.shape[-2]}), as {names[0]} has {X.shape[-2]} rows"
        bad_value(where, names[2], f"of shape {mask.shape}", expected, "True for the samples of a task.")
    axes = {names[0]: (X, 3), names[1]: (y, 2), names[2]: (mask, 2)}
    count = shared.task_count(where, {k: x.shape[0] if x.ndim == ndim else None for k, (x, ndim) in axes.items()})
    empty = [b for b in range(count) if not bool(mask[b].any())]
    if empty:
        came = f"False everywhere for task {empty[0]}"
        bad_value(where, names[2], came, "at least one sample of each task", "Leave that task out.")
    y = xp.broadcast_to(y, mask.shape)
    if bool(mask.all()):
        return X, y, None
    zero = xp.zeros((), dtype=X.dtype)
    return xp.where(mask[..., None], X, zero), xp.where(mask, y, zero.astype(y.dtype)), mask
