"""Drawings of characters by alphabet: what few-shot tasks are drawn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metagrad import checks
from metagrad.errors import bad_type, bad_value, nearest
from metagrad.xp import is_array, rng

_WHERE = "Characters"
_TURNS = (0, 90, 180, 270)


@dataclass(frozen=True, eq=False)
class Characters:
    """`images` (characters, drawings, side, side), float32 in [0, 1] with ink 1, and the alphabet of each character.

    `alphabets`: a text a character. A wrong shape or value raises ValueError, a wrong kind TypeError.

    >>> two = Characters(np.zeros((2, 20, 4, 4), np.float32), ("Greek", "Latin"))
    >>> two.of(["Latin"]).images.shape, two.turned().images.shape
    ((1, 20, 4, 4), (8, 20, 4, 4))
    """

    images: Any
    alphabets: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the drawings and their alphabets."""
        x: Any = self.images
        if not is_array(x) or x.dtype != np.float32:
            came = f"an array of {x.dtype}" if is_array(x) else checks.shown(x)
            bad_type(_WHERE, "images", came, "an array of float32", "Use x.astype(np.float32).")
        if x.ndim != 4 or x.shape[2] != x.shape[3] or 0 in x.shape:
            bad_value(_WHERE, "images", f"of shape {x.shape}", "(characters, drawings, side, side), none of them 0")
        if not bool(((x >= 0) & (x <= 1)).all()):
            bad_value(_WHERE, "images", "outside of [0, 1] somewhere", "ink from 0 to 1, no NaN")
        if not isinstance(self.alphabets, tuple) or not all(isinstance(one, str) for one in self.alphabets):
            bad_type(_WHERE, "alphabets", checks.shown(self.alphabets), "a tuple of texts, one a character")
        if len(self.alphabets) != len(x):
            came = f"of {len(self.alphabets)} characters"
            bad_value(_WHERE, "alphabets", came, f"one for each of the {len(x)} characters of images")

    @property
    def side(self) -> int:
        """The height and the width of a drawing, in pixels."""
        return int(self.images.shape[-1])

    @property
    def drawings(self) -> int:
        """How many drawings there are of each character."""
        return int(self.images.shape[1])

    @property
    def known(self) -> tuple[str, ...]:
        """The names of the alphabets, each once, sorted."""
        return tuple(sorted(set(self.alphabets)))

    def of(self, alphabets: Iterable[str]) -> Characters:
        """Return the characters of some alphabets alone; ValueError names one that is not there."""
        given: Any = alphabets
        wanted: list[Any] = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [None]
        if not all(isinstance(name, str) for name in wanted):
            bad_type("Characters.of", "alphabets", checks.shown(alphabets), "a list of names")
        for name in wanted:
            if name not in self.known:
                expected = "an alphabet that is there"
                bad_value("Characters.of", "alphabets", repr(name), expected, nearest(name, list(self.known)))
        if not wanted:
            bad_value("Characters.of", "alphabets", "empty", "at least one name")
        rows = [k for k, name in enumerate(self.alphabets) if name in wanted]
        return Characters(self.images[rows], tuple(self.alphabets[k] for k in rows))

    def turned(self) -> Characters:
        """Return every character in four ways, turned by 0, 90, 180 and 270 degrees: each is a class of its own.

        Source: Santoro et al. 2016, who have more classes to train on by it; what tests is not turned.
        """
        turns = [np.rot90(self.images, k, axes=(2, 3)) for k in range(len(_TURNS))]
        return Characters(np.concatenate(turns), self.alphabets * len(_TURNS))


def split_alphabets(characters: Characters, test: int, seed: int = 0) -> tuple[Characters, Characters]:
    """Return the characters to train on and those to test on: `test` alphabets, drawn by `seed`, are kept for tests.

    No alphabet is in both. ValueError unless at least one is left to train on.
    """
    checks.instance("split_alphabets", "characters", characters, Characters)
    checks.count("split_alphabets", "test", test)
    checks.count("split_alphabets", "seed", seed, 0)
    known = characters.known
    if test >= len(known):
        expected = f"fewer than the {len(known)} alphabets that there are ({', '.join(known)})"
        bad_value("split_alphabets", "test", test, expected)
    order = rng(seed, "split_alphabets").permutation(len(known))
    kept = {known[k] for k in order[:test]}
    return characters.of(name for name in known if name not in kept), characters.of(sorted(kept))
