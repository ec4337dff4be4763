"""Parts of learned optimizers: affine maps, their checks, and a tree of parameters as one row of coordinates a task."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from metagrad import checks
from metagrad.ad import leaves, paths, unflatten
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Tree
from metagrad.xp import Array, is_array, namespace


class Affine(NamedTuple):
    """x -> x W + b: W (inputs, outputs), b (outputs,)."""

    weight: Array
    bias: Array


def affine(layer: Affine, x: Array) -> Array:
    """Return x W + b for x (B, n, inputs), with one layer for all tasks, or one a task where its arrays lead with B."""
    if layer.weight.ndim == 2:  # one product for all tasks
        rows = np.matmul(x.reshape((-1, x.shape[-1])), layer.weight) + layer.bias
        return rows.reshape((*x.shape[:-1], rows.shape[-1]))
    return np.matmul(x, layer.weight) + layer.bias[:, None]


def gather(tree: Tree) -> Array:
    """Return all coordinates of each task in one row, (B, n)."""
    if type(tree) is np.ndarray:  # the usual case, at once
        return tree.reshape((len(tree), -1))
    rows = [leaf.reshape((leaf.shape[0], -1)) for leaf in leaves(tree)]
    return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)


def scatter(rows: Array, tree: Tree) -> Tree:
    """Return the coordinates (B, n) in the shapes of `tree`: the inverse of `gather`."""
    if type(tree) is np.ndarray and type(rows) is np.ndarray:
        return rows.reshape(tree.shape)
    parts, position = [], 0
    for leaf in leaves(tree):
        count = math.prod(leaf.shape[1:])
        parts.append(rows[:, position : position + count].reshape(leaf.shape))
        position += count
    return unflatten(tree, parts)


def truncated_normal(rng: np.random.Generator, shape: tuple[int, ...], std: float, dtype: Any) -> Array:
    """Return normal numbers of standard deviation `std`, those beyond 2 std drawn again."""
    x = rng.standard_normal(shape)
    while (beyond := np.abs(x) > 2).any():
        x[beyond] = rng.standard_normal(int(beyond.sum()))
    return (std * x).astype(dtype)


def unmade(where: str, argument: str, units: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return zeros of a shape that take no memory, for who asks for shapes alone; ValueError where none is so large."""
    try:
        return np.broadcast_to(np.zeros((), dtype), shape)
    except (OverflowError, ValueError):
        return bad_value(where, argument, units, f"numbers of units whose weights can be made, and {shape} cannot")


def check_draw(where: str, rng: Any, dtype: Any) -> None:
    """Raise TypeError unless `rng` is a generator of random numbers, and `dtype` one of floats."""
    if not isinstance(rng, np.random.Generator):
        bad_type(where, "rng", f"a {type(rng).__name__}", "a generator", "Use np.random.default_rng(seed).")
    checks.float_dtype(where, "dtype", dtype)


def check_network(where: str, phi: Any, expected: Tree) -> Any:
    """Return phi if it is built like `expected`, in arrays of the same shapes; all may lead with the same axes more.

    TypeError for another kind, ValueError for other shapes, as of a network of another size, and for inf and NaN.
    """
    kind = type(expected)
    remedy = "Use init_meta, or the optimizer that these were trained for."
    if not isinstance(phi, kind) or len(leaves(phi)) != len(leaves(expected)):
        came = f"a {type(phi).__name__} with {len(leaves(phi))} arrays"
        bad_type(where, "phi", came, f"{kind.__qualname__} with {len(leaves(expected))} arrays", remedy)
    lead: tuple[int, ...] | None = None
    for path, leaf, want in zip(paths(phi), leaves(phi), leaves(expected), strict=True):
        name = f"phi{path}"
        if not is_array(leaf) or leaf.dtype.kind != "f":
            came = f"an array of {leaf.dtype}" if is_array(leaf) else f"a {type(leaf).__name__}"
            bad_type(where, name, came, "a float array", remedy)
        cut = leaf.ndim - want.ndim
        lead = leaf.shape[: max(cut, 0)] if lead is None else lead
        if cut < 0 or leaf.shape != lead + want.shape:
            bad_value(where, name, f"of shape {leaf.shape}", f"shape {lead + want.shape}", remedy)
        if not bool(namespace(leaf).isfinite(leaf).all()):
            bad_value(where, name, "not finite everywhere", "finite numbers", "Look for NaN and inf.")
    return phi
