"""Trees of arrays: tuples and NamedTuples, with None for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Tree = Any


def rebuild(tree: tuple[Any, ...], items: Sequence[Any]) -> Tree:
    """Return `items` as a tuple of the type of `tree`."""
    return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)


def tree_map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply `f` to the leaves of trees of one structure; None stays None.

    >>> tree_map(lambda a, b: a + b, (1, (2, None)), (10, (20, None)))
    (11, (22, None))
    """
    if tree is None:
        return None
    if isinstance(tree, tuple):
        rows = zip(tree, *others, strict=True)
        return rebuild(tree, [tree_map(f, *row) for row in rows])
    return f(tree, *others)


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of `tree` from left to right, without None."""
    if tree is None:
        return []
    if isinstance(tree, tuple):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def unflatten(tree: Tree, flat: Sequence[Any]) -> Tree:
    """Return the structure of `tree` with the leaves of `flat`: the inverse of `leaves`."""
    items = iter(flat)
    return tree_map(lambda _: next(items), tree)
