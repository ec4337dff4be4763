"""Trees of arrays: tuples and NamedTuples, with None for nothing; whatever else there is, is a leaf."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from metagrad.errors import bad_type, bad_value

Tree = Any


def rebuild(tree: tuple[Any, ...], items: Iterable[Any]) -> Tree:
    """Return `items` as a tuple of the type of `tree`."""
    return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)


def tree_map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply `f` to the leaves of trees of one structure; None stays None.

    TypeError or ValueError where the structures differ.

    >>> tree_map(lambda a, b: a + b, (1, (2, None)), (10, (20, None)))
    (11, (22, None))
    """
    if tree is None:
        return None
    if isinstance(tree, tuple):
        return rebuild(tree, [tree_map(f, *row) for row in zip(tree, *others, strict=True)])
    return f(tree, *others)


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of `tree` from left to right, without None.

    >>> leaves((1.0, (), (2.0, None)))
    [1.0, 2.0]
    """
    found: list[Any] = []
    _collect(tree, found)
    return found


def _collect(tree: Tree, found: list[Any]) -> None:
    if isinstance(tree, tuple):
        for item in tree:
            _collect(item, found)
    elif tree is not None:
        found.append(tree)


def unflatten(tree: Tree, flat: Iterable[Any]) -> Tree:
    """Return the structure of `tree` with the leaves of `flat`: the inverse of `leaves`.

    ValueError where their numbers differ.
    """
    items = list(flat)
    count = len(leaves(tree))
    if len(items) != count:
        bad_value("unflatten", "flat", f"{len(items)} items", f"the {count} leaves of the tree")
    rest = iter(items)
    return tree_map(lambda _: next(rest), tree)


def leaves_as(tree: Tree, other: Tree, where: str, argument: str) -> list[Any]:
    """Return what stands in `other` at each leaf of `tree`; None in `other` may stand for a whole subtree.

    TypeError, for `argument` of the function `where`, where the structures differ.
    """
    if not isinstance(tree, tuple):
        if isinstance(other, tuple):
            bad_type(where, argument, "a tuple in the place of a leaf", "a tree of the same structure")
        return [] if tree is None else [other]
    if other is not None and (not isinstance(other, tuple) or len(other) != len(tree)):
        came = f"a tuple of {len(other)}" if isinstance(other, tuple) else f"a {type(other).__name__}"
        bad_type(where, argument, came, f"a tuple of {len(tree)} in this place, or None")
    below = other or [None] * len(tree)
    return [x for item, at in zip(tree, below, strict=True) for x in leaves_as(item, at, where, argument)]


def add(x: Tree, y: Tree) -> Tree:
    """Return x + y leaf by leaf, where None is zero.

    >>> add((1.0, None), (2.0, 3.0))
    (3.0, 3.0)
    """
    if x is None or y is None:
        return y if x is None else x
    if isinstance(x, tuple):
        return rebuild(x, [add(a, b) for a, b in zip(x, y, strict=True)])
    return x + y
