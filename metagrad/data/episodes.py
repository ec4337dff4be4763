"""Few-shot classification: many small problems, each of a few classes with few samples, drawn from characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.data.characters import Characters
from metagrad.data.images import check_labels
from metagrad.errors import bad_type, bad_value
from metagrad.xp import is_array, rng

_WHERE = "Episodes"


@dataclass(frozen=True, eq=False)
class Episodes:
    """B problems of `ways` classes: the support set to learn from, and queries to be tested on.

    `support_x` (B, n, p) and `query_x` (B, m, p), floats of one dtype; `support_y` (B, n) and `query_y` (B, m),
    integer labels 0 .. ways - 1. Each support set has a sample of each class, and there is a query at least: ValueError
    otherwise, TypeError for a wrong kind.
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any
    ways: int

    def __post_init__(self) -> None:
        """Check images, labels and classes."""
        checks.count(_WHERE, "ways", self.ways, 2)
        for part in ("support", "query"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if not is_array(x) or x.dtype.kind != "f":
                came = f"an array of {x.dtype}" if is_array(x) else checks.shown(x)
                bad_type(_WHERE, f"{part}_x", came, "an array of floats")
            if x.ndim != 3 or 0 in x.shape:
                bad_value(_WHERE, f"{part}_x", f"of shape {x.shape}", "(B, samples, inputs), none of them 0")
            check_labels(_WHERE, f"{part}_y", y, self.ways)
            if y.shape != x.shape[:2]:
                bad_value(_WHERE, f"{part}_y", f"of shape {y.shape}", f"a label for each sample, {x.shape[:2]}")
        s, q = self.support_x, self.query_x
        if (s.shape[0], s.shape[2], s.dtype) != (q.shape[0], q.shape[2], q.dtype):
            came, expected = f"{q.shape} of {q.dtype}", f"(B, m, p) of B and p of support_x, {s.shape} of {s.dtype}"
            bad_value(_WHERE, "query_x", came, expected)
        there = (self.support_y[:, :, None] == np.arange(self.ways)).any(axis=1)
        if not bool(there.all()):
            task, label = (int(k) for k in np.argwhere(~there)[0])
            came = f"without class {label} in problem {task}"
            bad_value(_WHERE, "support_y", came, f"a sample of each of the {self.ways} classes in each problem")

    @property
    def count(self) -> int:
        """The number of problems, B."""
        return int(self.support_x.shape[0])


def draw_episodes(  # the sizes of a problem, all of them
    characters: Characters, ways: int, shots: int, queries: int, count: int, seed: int = 0
) -> Episodes:
    """Return `count` problems of `ways` characters each, `shots` drawings of each to learn from, `queries` to test on.

    Characters and drawings are drawn by `seed` without replacement within a problem: no drawing is in support and
    query, and x is a row of pixels. ValueError where there are too few. Source: Vinyals et al. 2016, section 4.1.

    >>> drawn = draw_episodes(Characters(np.zeros((6, 20, 4, 4), np.float32), ("Greek",) * 6), 5, 1, 3, count=8)
    >>> drawn.support_x.shape, drawn.query_x.shape
    ((8, 5, 16), (8, 15, 16))
    """
    where = "draw_episodes"
    checks.instance(where, "characters", characters, Characters)
    for name, value, least in (("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1), ("count", count, 1)):
        checks.count(where, name, value, least)
    checks.count(where, "seed", seed, 0)
    classes, drawings = characters.images.shape[:2]
    if ways > classes:
        bad_value(where, "ways", ways, f"at most the {classes} characters that there are")
    if shots + queries > drawings:
        came = f"{shots} shots and {queries} queries"
        bad_value(where, "shots", came, f"together at most the {drawings} drawings of a character")
    stream = rng(seed, where)
    chosen = np.argsort(stream.random((count, classes)), axis=1)[:, :ways]
    drawn = np.argsort(stream.random((count, ways, drawings)), axis=2)[:, :, : shots + queries]
    x = characters.images[chosen[:, :, None], drawn].reshape(count, ways, shots + queries, -1)
    y = np.broadcast_to(np.arange(ways)[:, None], x.shape[:3])
    support, query = (slice(None), slice(None), slice(shots)), (slice(None), slice(None), slice(shots, None))

    def rows(part: Any) -> Any:
        return np.ascontiguousarray(part.reshape(count, -1, *part.shape[3:]))

    return Episodes(rows(x[support]), rows(y[support]), rows(x[query]), rows(y[query]), ways)
