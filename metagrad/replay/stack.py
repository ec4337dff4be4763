"""Trees of several steps, of one structure: one by one, or leaf by leaf with the steps in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad import ad
from metagrad.protocols import Tree


class Stack:
    """n trees; what was made leaf by leaf is taken apart when that is asked for, and the other way round."""

    def __init__(
        self,
        trees: list[Tree] | None = None,
        *,
        leaves: list[Any] | None = None,
        apart: Callable[[list[Any]], list[Tree]] | None = None,
    ) -> None:
        """Take the trees, or their leaves, each (n, ...), and what makes trees of them."""
        self._trees, self._leaves, self._apart = trees, leaves, apart

    def __len__(self) -> int:
        """Return n."""
        if self._trees is not None:
            return len(self._trees)
        assert self._leaves is not None
        return len(self._leaves[0]) if self._leaves else 0

    @property
    def is_apart(self) -> bool:
        """Whether the trees are there one by one."""
        return self._trees is not None

    @property
    def trees(self) -> list[Tree]:
        """The trees, one by one."""
        if self._trees is None:
            assert self._apart is not None
            assert self._leaves is not None
            self._trees = self._apart(self._leaves)
        return self._trees

    @property
    def leaves(self) -> list[Any]:
        """The leaves, (n, ...) each; a list where they are no arrays."""
        if self._leaves is None:
            assert self._trees is not None
            columns = zip(*map(ad.leaves, self._trees), strict=True)
            self._leaves = [np.array(x) if isinstance(x[0], np.ndarray | np.generic) else list(x) for x in columns]
        return self._leaves

    @property
    def last(self) -> Tree:
        """The last of them."""
        return self.trees[-1] if self._trees is not None else self.part(len(self) - 1, len(self)).trees[0]

    def pairs(self) -> tuple[Stack, Stack]:
        """Return the first and the second trees, where these are pairs of trees of one structure."""
        half, (like, _) = len(self.leaves) // 2, self.part(0, 1).trees[0]

        def apart(leaves: list[Any]) -> list[Tree]:
            rows = [iter(row) for row in zip(*leaves, strict=True)]
            return [ad.tree_map(lambda _, row=row: next(row), like) for row in rows]

        return Stack(leaves=self.leaves[:half], apart=apart), Stack(leaves=self.leaves[half:], apart=apart)

    def in_turn(self, other: Stack) -> Stack:
        """Return the trees of both in turn."""
        leaves = [_in_turn(*pair) for pair in zip(self.leaves, other.leaves, strict=True)]
        return Stack(leaves=leaves, apart=self._apart)

    def part(self, first: int, end: int) -> Stack:
        """Return those from `first` to before `end`."""
        if first == 0 and end >= len(self):
            return self
        trees = None if self._trees is None else self._trees[first:end]
        leaves = None if self._leaves is None else [x[first:end] for x in self._leaves]
        return Stack(trees, leaves=leaves, apart=self._apart)


def _in_turn(some: Any, others: Any) -> Any:
    """Return the entries along the first axis of two arrays in turn."""
    if type(some) is not np.ndarray:
        return [x for pair in zip(some, others, strict=True) for x in pair]
    return np.stack([some, others], axis=1).reshape((-1, *some.shape[1:]))
