"""What an algorithm gains on some functions it loses on the others: the reading of the theorem for meta-learning.

Let loss(a, f) be any function of the sequence of values that algorithm a sees of f, and the mean over all algorithms
that of uniform random search. Then for every algorithm, and for every mixture of algorithms (a policy, learned or not),

    sum over f in S of [loss(a, f) - mean_a loss(., f)]  =  - sum over f not in S of the same,

and both are 0 where S is closed under permutations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.no_free_lunch._checks import how_many, mask, sequence_codes, table_sizes
from metagrad.theory.no_free_lunch.search import functions
from metagrad.theory.numbers.checks import Floats, bad_value, finite_floats


def losses(sequences: ArrayLike, points: int, values: int, *, seen: int) -> Floats:
    """Return the least of the first `seen` values, of each sequence in an array of `value_sequences`; same shape.

    >>> losses([[1, 2, 3]], 2, 2, seen=1).tolist()
    [[0.0, 1.0, 1.0]]
    """
    n, m = table_sizes("losses", points, values)
    seen, codes = how_many("losses", "seen", seen, n), sequence_codes("losses", "sequences", sequences, m**n)
    least = functions(n, m)[:, :seen].min(axis=1)  # the digits of a sequence are the values, the first in front
    found: Floats = least[codes].astype(np.float64)
    return found


def gains(loss: ArrayLike, among: ArrayLike) -> tuple[Floats, Floats]:
    """Return by how much each algorithm is better than their mean, summed over a set of functions, and over the rest.

    `loss`: (algorithms, functions), of all algorithms: their mean is random search. `among`: bools, (functions,).

    >>> gains([[0.0, 1.0], [1.0, 0.0]], [True, False])
    (array([ 0.5, -0.5]), array([-0.5,  0.5]))
    """
    given = finite_floats("gains", "loss", loss)
    if given.ndim != 2 or not len(given):
        bad_value("gains", "loss", f"of shape {given.shape}", "shape (algorithms, functions)")
    chosen = mask("gains", "among", among, given.shape[1])
    better = given.mean(axis=0) - given
    return better[:, chosen].sum(axis=1), better[:, ~chosen].sum(axis=1)
