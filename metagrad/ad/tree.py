"""Trees of arrays: tuples, NamedTuples, lists and dicts, with None for nothing; whatever else there is, is a leaf.

The order of leaves is from left to right, in a dict in the order of its sorted keys, which are strings: two dicts with
the same keys are one structure, however they were filled. What is built from a dict keeps its keys as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from metagrad.ad.tape import Var
from metagrad.errors import bad_type, bad_value

Tree = Any
_BRANCHES = (tuple, list, dict)
_LEAVES = frozenset({np.ndarray, Var, float})  # the usual kinds of leaf: known at a glance, as trees are walked often


class _DiffersError(Exception):
    """Two trees differ somewhere; where is looked for when it is reported."""


def is_branch(tree: Tree) -> bool:
    """Tell whether `tree` holds trees: a tuple, NamedTuple, list or dict.

    >>> is_branch({"W": 1.0}), is_branch(1.0), is_branch(None)
    (True, False, False)
    """
    return isinstance(tree, _BRANCHES)


def _below(tree: Tree) -> Any:
    """Return the trees right below a branch, in the order of leaves."""
    return tree if isinstance(tree, tuple) else [tree[key] for key in _keys(tree)] if isinstance(tree, dict) else tree


def _keys(tree: dict[str, Any]) -> list[str]:
    for key in tree:
        if not isinstance(key, str):
            bad_type("tree", "a key of a dict", f"{key!r}, a {type(key).__name__}", "a string")
    return sorted(tree)


def rebuild(tree: Tree, items: Iterable[Any]) -> Tree:
    """Return `items`, in the order of leaves, as a branch of the type and with the keys of `tree`."""
    if isinstance(tree, tuple):
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    if isinstance(tree, list):
        return list(items)
    built = tree.copy()  # keeps the order of the keys
    built.update(zip(_keys(tree), items, strict=True))
    return built


def tree_map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply `f` to the leaves of trees of one structure; None stays None.

    TypeError, with the path of the place, where the structures differ.

    >>> tree_map(lambda a, b: a + b, (1, {"W": 2, "b": None}), (10, {"b": None, "W": 20}))
    (11, {'W': 22, 'b': None})
    """
    if type(tree) in _LEAVES and (not others or (len(others) == 1 and type(others[0]) in _LEAVES)):
        return f(tree, *others)
    try:
        return _map(f, tree, others)
    except _DiffersError:
        pass
    return _report("tree_map", [tree, *others])


def _map(f: Callable[..., Any], tree: Tree, others: Sequence[Tree]) -> Tree:
    if isinstance(tree, _BRANCHES):
        below = tree if isinstance(tree, tuple) else _below(tree)
        if not others:
            return rebuild(tree, [f(x) if type(x) in _LEAVES else _map(f, x, ()) for x in below])
        columns = [_below_like(tree, other) for other in others]
        if len(columns) == 1:  # written out: sums of two trees are the most frequent of all
            pairs = zip(below, columns[0], strict=True)
            items = [f(x, y) if type(x) in _LEAVES and type(y) in _LEAVES else _map(f, x, (y,)) for x, y in pairs]
            return rebuild(tree, items)
        return rebuild(tree, [_map(f, x, rest) for x, *rest in zip(below, *columns, strict=True)])
    if tree is None:
        return None
    for other in others:
        if isinstance(other, _BRANCHES):
            raise _DiffersError
    return f(tree, *others)


def _below_like(tree: Tree, other: Tree) -> Any:
    """Return the trees right below `other`, a branch built like `tree`."""
    if isinstance(tree, tuple):
        if isinstance(other, tuple) and len(other) == len(tree):
            return other
    elif isinstance(tree, list):
        if isinstance(other, list) and len(other) == len(tree):
            return other
    elif isinstance(other, dict) and other.keys() == tree.keys():
        return _below(other)
    raise _DiffersError


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of `tree` from left to right, without None.

    >>> leaves((1.0, (), {"b": 3.0, "W": [2.0, None]}))
    [1.0, 2.0, 3.0]
    """
    if type(tree) in _LEAVES:
        return [tree]
    found: list[Any] = []
    _collect(tree, found)
    return found


def _collect(tree: Tree, found: list[Any]) -> None:
    if isinstance(tree, _BRANCHES):
        for item in tree if isinstance(tree, tuple) else _below(tree):
            if type(item) in _LEAVES:
                found.append(item)
            else:
                _collect(item, found)
    elif tree is not None:
        found.append(tree)


def paths(tree: Tree) -> list[str]:
    """Return the path of every leaf, in the order of `leaves`.

    >>> paths((1.0, {"layer1": {"W": 2.0, "b": None}}))
    ['[0]', "[1]['layer1']['W']"]
    """
    return [path for path, leaf in _walk(tree, "") if leaf is not None]


def _walk(tree: Tree, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, _BRANCHES):
        yield path, tree
        return
    for step, item in zip(_steps(tree), _below(tree), strict=True):
        yield from _walk(item, path + step)


def _steps(tree: Tree) -> list[str]:
    """Return how each tree below a branch is written in code, in the order of leaves."""
    if isinstance(tree, dict):
        return [f"[{key!r}]" for key in _keys(tree)]
    return [f".{name}" for name in tree._fields] if hasattr(tree, "_fields") else [f"[{i}]" for i in range(len(tree))]


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


def leaves_as(tree: Tree, other: Tree, where: str, argument: str, *, or_none: bool = True) -> list[Any]:
    """Return what stands in `other` at each leaf of `tree`; None in `other` may stand for a whole subtree.

    `or_none` False: an error does not advise to write None, because the caller refuses it. TypeError, for `argument` of
    the function `where` and with the path of the place, where the structures differ.
    """
    if type(tree) in _LEAVES and type(other) in _LEAVES:
        return [other]
    found: list[Any] = []
    try:
        _collect_as(tree, other, found)
    except _DiffersError:
        pass
    else:
        return found
    return _report(where, [tree, other], argument, or_none=or_none)


def _collect_as(tree: Tree, other: Tree, found: list[Any]) -> None:
    if isinstance(tree, _BRANCHES):
        below = [None] * len(tree) if other is None else _below_like(tree, other)
        for item, at in zip(_below(tree), below, strict=True):
            _collect_as(item, at, found)
    elif isinstance(other, _BRANCHES):
        raise _DiffersError
    elif tree is not None:
        found.append(other)


def add(x: Tree, y: Tree) -> Tree:
    """Return x + y leaf by leaf, where None is zero; TypeError, with the path of the place, where structures differ.

    >>> add((1.0, {"W": None}), (2.0, {"W": 3.0}))
    (3.0, {'W': 3.0})
    """
    if type(x) in _LEAVES and type(y) in _LEAVES:
        return x + y
    try:
        return _add(x, y)
    except _DiffersError:
        pass
    return _report("add", [x, y], or_none=True)


def _add(x: Tree, y: Tree) -> Tree:
    if x is None or y is None:
        return y if x is None else x
    if isinstance(x, _BRANCHES):
        pairs = zip(_below(x), _below_like(x, y), strict=True)
        return rebuild(x, [a + b if type(a) in _LEAVES and type(b) in _LEAVES else _add(a, b) for a, b in pairs])
    if isinstance(y, _BRANCHES):
        raise _DiffersError
    return x + y


def _report(where: str, trees: list[Tree], argument: str = "a tree", *, or_none: bool = False) -> NoReturn:
    """Raise the TypeError that says where the first tree and another differ."""
    for other in trees[1:]:
        for path, came, expected in _differences(trees[0], other, "", or_none):
            remedy = "None may stand for a part." if or_none else "Give both the same structure."
            bad_type(where, f"{argument} at {path}" if path else argument, came, expected, remedy)
    raise AssertionError("no difference was found between trees that differ")


def _differences(tree: Tree, other: Tree, path: str, or_none: bool) -> Iterator[tuple[str, str, str]]:
    """Yield (path, what came, what was expected) for each place where `other` is not built like `tree`."""
    if (other is None and or_none) or (tree is None and (or_none or other is None)):
        return
    if not isinstance(tree, _BRANCHES):
        if tree is not None and isinstance(other, _BRANCHES):
            yield path, f"a {type(other).__name__} in the place of a leaf", "a tree of the same structure"
        return
    try:
        below = _below_like(tree, other)
    except _DiffersError:
        yield path, _kind(other), f"{_kind(tree)} in this place"
        return
    for step, a, b in zip(_steps(tree), _below(tree), below, strict=True):
        yield from _differences(a, b, path + step, or_none)


def _kind(tree: Tree) -> str:
    if isinstance(tree, dict):
        return f"a dict with the keys {', '.join(map(repr, _keys(tree))) or 'none'}"
    return f"a {type(tree).__name__} of {len(tree)}" if isinstance(tree, _BRANCHES) else f"a {type(tree).__name__}"
