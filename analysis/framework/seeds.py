"""The seeds that a command line names: one, a list, or a range; figures ask for them in the same words."""

from __future__ import annotations

import argparse
import re

MOST = 1000


def parse(text: str, option: str = "--seeds") -> tuple[int, ...]:
    """Return the seeds of "3", "0,2,7" or "0..4" (both ends), in this order; ValueError says what is wrong.

    >>> parse("0..3,7")
    (0, 1, 2, 3, 7)
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\.\.(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < first + MOST:
            raise ValueError(
                f"{option} is {text!r}, of which {part!r} is no seed; expected integers of at least 0, "
                f"such as 3, 0,2,7 or 0..4, at most {MOST} of them."
            )
        found += range(first, last + 1)
    if len(found) > MOST:
        raise ValueError(f"{option} is {text!r}, {len(found)} seeds; expected at most {MOST} of them.")
    if len(set(found)) != len(found):
        raise ValueError(f"{option} is {text!r}, which has a seed twice; name each once.")
    return tuple(found)


def said(seeds: tuple[int, ...]) -> str:
    """Return seeds as text.

    >>> said((0, 1, 2, 3)), said((4,)), said((0, 2))
    ('seeds 0 to 3', 'seed 4', 'seeds 0, 2')
    """
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the options --seed and --seeds, of which one may be given."""
    one = command.add_mutually_exclusive_group()
    one.add_argument("--seed", metavar="SEED", help="seed of everything random (default: 0)")
    text = "several, such as 0..4: every claim at each of them, and the range of each number"
    one.add_argument("--seeds", metavar="SEEDS", help=text)


def chosen(args: argparse.Namespace) -> tuple[int, ...]:
    """Return the seeds that the options name; ValueError says what is wrong with them."""
    if args.seeds is not None:
        return parse(args.seeds, "--seeds")
    found = parse(args.seed if args.seed is not None else "0", "--seed")
    if len(found) != 1:
        raise ValueError(f"--seed is {args.seed!r}; expected one integer of at least 0. --seeds takes several.")
    return found
