"""Exact moments of Gaussian samples: E prod_l tr(W^m_l), W = X'X with X (n, d) of independent standard normal entries.

Integration by parts, E[x f(x)] = E[f'(x)], in one entry after the other gives, with p_m = tr(W^m), p_0 = d, and
F = prod_l p_(m_l),

    E[p_(k+1) F] = (n + k) E[p_k F] + sum_{j<k} E[p_(j+1) p_(k-1-j) F] + sum_l 2 m_l E[p_(k+m_l) F/p_(m_l)].

Every term on the right is of one degree less, so that each moment is an integer, found in a finite number of steps, at
every n and d: no limit is taken. Derived; checked by tests against means over drawn samples, against what is known of
W by hand, and against the Marchenko-Pastur law as n and d grow.
"""

from __future__ import annotations

from functools import lru_cache

from metagrad.theory.numbers.checks import bad_value, count

LARGEST_DEGREE = 30


def moment(n: int, d: int, powers: tuple[int, ...]) -> int:
    """Return E prod_l tr(W^m_l) for the `powers` m_l, integers >= 0 of a sum of at most 30. n >= 1 rows, d >= 1.

    >>> moment(5, 3, (1,)), moment(5, 3, (2,)), moment(5, 3, (1, 1))  # nd, nd(n + d + 1), nd(nd + 2)
    (15, 135, 255)
    """
    rows, columns = count("moment", "n", n), count("moment", "d", d)
    if not isinstance(powers, tuple) or not powers:
        bad_value("moment", "powers", repr(powers), "a tuple of at least one integer")
    wanted = [count("moment", "powers", m, 0) for m in powers]
    if sum(wanted) > LARGEST_DEGREE:
        bad_value("moment", "powers", powers, f"a sum of at most {LARGEST_DEGREE}", "Take fewer steps.")
    return _moments(rows, columns).of(tuple(wanted))


class _Moments:
    """The moments of one n and d, kept as they are found."""

    def __init__(self, n: int, d: int) -> None:
        self.n, self.d = n, d
        self.known: dict[tuple[int, ...], int] = {(): 1}

    def of(self, powers: tuple[int, ...]) -> int:
        whole = tuple(sorted(m for m in powers if m))
        scale: int = self.d ** (len(powers) - len(whole))  # tr(W^0) = d
        if whole not in self.known:
            self.known[whole] = self._found(whole)
        return scale * self.known[whole]

    def _found(self, powers: tuple[int, ...]) -> int:
        *others, last = powers
        rest, k = tuple(others), last - 1
        total: int = (self.n + k) * self.of((k, *rest))
        total += sum(self.of((j + 1, k - 1 - j, *rest)) for j in range(k))
        total += sum(2 * m * self.of((k + m, *rest[:i], *rest[i + 1 :])) for i, m in enumerate(rest))
        return total


@lru_cache(maxsize=256)
def _moments(n: int, d: int) -> _Moments:
    return _Moments(n, d)
