"""No free lunch, exhaustively: every search algorithm on every function of a few points, counted.

| file          | what it implements                                                                                |
|---------------|---------------------------------------------------------------------------------------------------|
| `search`      | all deterministic algorithms that visit no point twice, and what each of them sees of a function   |
| `closed_sets` | orbits of functions under permutations of the points, and the sets that are closed under them      |
| `gains`       | what a mean over some functions gains and what it loses on the others                              |

Wolpert and Macready 1997 (No free lunch theorems for optimization); Schumacher, Vose and Whitley 2001 for closed sets.
`search` and `closed_sets` are exported here.
"""

from __future__ import annotations

from metagrad.theory.no_free_lunch.closed_sets import closed_set_count, is_closed, orbits, subset_count
from metagrad.theory.no_free_lunch.gains import gains, losses
from metagrad.theory.no_free_lunch.search import algorithm_count, functions, histograms, value_sequences

__all__ = [
    "algorithm_count",
    "closed_set_count",
    "functions",
    "gains",
    "histograms",
    "is_closed",
    "losses",
    "orbits",
    "subset_count",
    "value_sequences",
]
