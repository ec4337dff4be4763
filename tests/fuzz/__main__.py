"""`python -m tests.fuzz --cases 1000 --seed 7`: cases by chance, a table of outcomes, and a snippet of each failure."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.campaign import campaign, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="the index of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=int, default=400, help="the longest horizon")
    parser.add_argument("--shown", type=int, default=10, help="how many failures are shown as snippets")
    given = parser.parse_args()
    indices = range(given.first, given.first + given.cases)
    found = campaign(given.seed, indices, given.longest)
    for one in found.failures[: given.shown]:
        print(one.smaller().told(), end="\n\n")
    print(table(found))
    return 1 if found.failures else 0


sys.exit(main())
