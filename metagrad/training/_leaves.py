"""Leaves of meta-parameters as flat numbers on the host, and back, and the sizes of meta-gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree
from metagrad.scaled import Scaled
from metagrad.xp import Array, move, namespace, to_host


def like(leaf: Any, numbers: Any) -> Any:
    """Return the numbers in the kind (array, Python number), the dtype and on the device of `leaf`."""
    if not hasattr(leaf, "dtype"):
        return type(leaf)(to_host(numbers).item())
    if isinstance(leaf, np.generic):
        return leaf.dtype.type(numbers)
    xp = namespace(leaf)
    return move(numbers if namespace(numbers) is xp else to_host(numbers), xp).astype(leaf.dtype, copy=False)


def flat(tree: Tree) -> Array:
    """Return the numbers of all leaves, one after the other, on the host."""
    return np.concatenate([np.ravel(to_host(leaf)) for leaf in ad.leaves(tree)])


def shapes_of(tree: Tree) -> dict[str, tuple[int, ...]]:
    """Return what every leaf is called, its path, and its shape, in the order of `flat`.

    >>> shapes_of({"eta": np.zeros(2), "mu": 0.9})
    {"phi['eta']": (2,), "phi['mu']": ()}
    """
    names = [path[1:] if path.startswith(".") else f"phi{path}" for path in ad.paths(tree)]
    return {name: tuple(getattr(x, "shape", ())) for name, x in zip(names, ad.leaves(tree), strict=True)}


def flat_names(tree: Tree) -> tuple[str, ...]:
    """Return what each number of `flat` is called: the path of its leaf, and where it stands in it.

    >>> flat_names({"eta": np.zeros(2), "mu": 0.9})
    ("phi['eta'][0]", "phi['eta'][1]", "phi['mu']")
    """
    names: list[str] = []
    for name, shape in shapes_of(tree).items():
        names += [f"{name}[{', '.join(map(str, at))}]" if shape else name for at in np.ndindex(*shape)]
    return tuple(names)


def is_finite(x: Scaled) -> bool:
    """Tell whether no entry is inf or NaN, however large or small the finite ones are."""
    return bool(np.isfinite(to_host(x.mantissa)).all())


def all_finite(tree: Tree) -> bool:
    """Tell whether no number of the tree is inf or NaN."""
    return all(bool(namespace(leaf).isfinite(leaf).all()) for leaf in ad.leaves(tree))


def log2_norm(numbers: list[Scaled]) -> float:
    """Return log2 of the Euclidean norm of all numbers, formed beside their largest exponent."""
    logs = np.concatenate([np.ravel(to_host(x.log2abs())) for x in numbers])
    top = float(np.max(logs, initial=-np.inf))
    if not math.isfinite(top):
        return top
    return top + 0.5 * math.log2(float(np.sum(np.exp2(2 * (logs - top)))))
