"""Numbers far outside the range of floating point: digits in the working dtype, and an exponent beside every entry.

`Scaled` is one idea in two uses. It is what the engine answers with: a meta-gradient of 10^-60000 has digits as good as
any other's. And it is an array that NumPy's functions work on, so that the tape and the engine run on it as they are
where entries of one state part company by more than a float holds (`metagrad.unroll.rescue`).

    numbers     the class: digits, exponents, arithmetic, comparisons
    ranges      how a number fits into a float type
    entrywise   NumPy's functions of one entry or two
    whole       sums, products, extremes, sorting, and what moves entries
"""

from metagrad.scaled import entrywise, whole  # fill the tables of NumPy's functions
from metagrad.scaled.numbers import Scaled, digits_of, narrow
from metagrad.scaled.ranges import ldexp, surely_finite, surely_in_range, surely_positive

__all__ = [
    "Scaled",
    "digits_of",
    "entrywise",
    "ldexp",
    "narrow",
    "surely_finite",
    "surely_in_range",
    "surely_positive",
    "whole",
]
