"""A start learned with or without a train-validation split, on linear tasks with Gaussian inputs: exact at any n, d.

The linear centroid problem of Bai, Chen, Zhou, Zhao, Lee, Kakade, Wang and Xiong 2021 (how important the
train-validation split is in meta-learning): T tasks with n samples each,

    y = X w + sigma xi,    x ~ N(0, c I_d),    w = w* + N(0, signal^2 I/d),

k steps of gradient descent of size alpha from the start phi on a task's samples, or on n_1 of them. With
S = X'X/n, B = (I - alpha S)^k and h(S) = (I - B)/S of the samples adapted to,
w_k - w = B (phi - w) + h(S) X'xi sigma/n.

Without a split the meta-loss is the loss of w_k on the samples adapted to, with one it is that on n_2 = n - n_1 others
(S_2). Its meta-gradient in phi is A (phi - w*) + z, z of mean 0, so that the start that T tasks teach has
E |phi - w*|^2 = V/T + O(1/T^2). With m(f) = E tr f(S)/d and m(f, g) = E tr f(S) tr g(S)/d^2:

                without                    with n_1 + n_2
    kappa       m(s b^2)                   c m(b^2)                                        E A = kappa I
    spread      m(s^2 b^4)                 c^2 [(1 + 1/n_2) m(b^4) + (d/n_2) m(b^2, b^2)]
    noise       (d/n) m(s b^4)             c^2 (d/n_1) [(1 + 1/n_2) m(b^2 q) + (d/n_2) m(b^2, q)] + c (d/n_2) m(b^2)

b = (1 - alpha s)^k, q = (1 - b)^2/s = s h^2, and V = (signal^2 spread + sigma^2 noise)/kappa^2. The split uses
E[S_2 M S_2] = c^2 (M + (M + tr M I)/n_2) for symmetric M. All are polynomials, whose means `wishart` has.

Proved, from this table, for tasks of one kind (c = 1, w independent of X):
- Where no step enlarges in the mean, m(b^2) <= 1, the split has V >= signal^2 (1 + (d+1)/n_2) + sigma^2 d/n_2, as
  m(b^4) >= m(b^2)^2 and m(b^2, b^2) >= m(b^2)^2. The least of all splits and step sizes of that range is no adaptation
  and all samples held out, n_2 = n.
- Without a split V is that number at alpha = 0, and dV/d alpha = -4 k signal^2 (M_3 - M_2^2) there, M_j = m(s^j); the
  noise falls out, as M_1 = 1. M_3 > M_2^2 by Cauchy-Schwarz, as S varies: a small enough step does strictly better
  than every such split. That is the paper's result for realisable tasks (its abstract: strictly better also where
  regularisation and split are tuned), here at finite n and d, with noise, and for steps of descent in place of ridge
  regression; the paper's theorems with their constants could not be read word for word and are not used.
Derived; checked by tests against means over drawn tasks and against the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from metagrad.theory.numbers.checks import bad_value, count, number, one_horizon
from metagrad.theory.starts.wishart import LARGEST_DEGREE, moment

LARGEST_STEPS = (LARGEST_DEGREE - 2) // 4
_ZERO = Fraction(0)


@dataclass(frozen=True)
class MetaMoments:
    """What the meta-gradient of one task is in the mean: `kappa`, `spread` and `noise` of the table above."""

    kappa: Fraction
    spread: Fraction
    noise: Fraction


def meta_moments(
    n: int, d: int, alpha: float, steps: int, *, train: int | None = None, scale: float = 1.0
) -> MetaMoments:
    """Return the mean, spread and noise of the meta-gradient, exactly, for the float `alpha`.

    n samples a task, d inputs of variance `scale` = c > 0; `train`: None without a split, else n_1, 0 <= n_1 < n; 0
    holds all samples out, and adapts to none. steps = k from 1 to 7.

    >>> meta_moments(4, 2, 0.0, 1).kappa, meta_moments(4, 2, 0.5, 1).kappa
    (Fraction(1, 1), Fraction(9, 32))
    """
    where = "meta_moments"
    rows, columns, k = count(where, "n", n), count(where, "d", d), one_horizon(where, steps)
    c, size = Fraction(number(where, "scale", scale)), Fraction(number(where, "alpha", alpha))
    if c <= 0:
        bad_value(where, "scale", float(c), "a number above 0")
    if k > LARGEST_STEPS:
        bad_value(where, "steps", k, f"at most {LARGEST_STEPS}", "The moments are exact, of degree 4 k + 2.")
    first = rows if train is None else count(where, "train", train, 0)
    if train is not None and first >= rows:
        bad_value(where, "train", first, f"fewer than all n = {rows} samples", "Take None for no split.")
    at = _Spectrum(max(first, 1), columns)
    s = [_ZERO, c]
    b = _power([Fraction(1), -size * c], k if first else 0)
    b2 = _times(b, b)
    if train is None:
        over = Fraction(columns, rows)
        spread, noise = at.mean(_times(_times(s, s), _times(b2, b2))), over * at.mean(_times(s, _times(b2, b2)))
        return MetaMoments(at.mean(_times(s, b2)), spread, noise)
    held = rows - first
    one, ratio = 1 + Fraction(1, held), Fraction(columns, held)
    spread = c**2 * (one * at.mean(_times(b2, b2)) + ratio * at.pair(b2, b2))
    noise = c * ratio * at.mean(b2)
    if first:
        fallen = [-x for x in b]
        fallen[0] += 1  # 1 - b, without a constant term
        q = _times(fallen, [x / c for x in fallen[1:]])
        noise += c**2 * Fraction(columns, first) * (one * at.mean(_times(b2, q)) + ratio * at.pair(b2, q))
    return MetaMoments(c * at.mean(b2), spread, noise)


def start_error(
    n: int,
    d: int,
    alpha: float,
    steps: int,
    *,
    train: int | None = None,
    sigma: float = 0.0,
    signal: float = 1.0,
) -> float:
    """Return V: T E |phi - w*|^2 of the start that T tasks teach, as T grows. Tasks of one kind, inputs of variance 1.

    `train`: None for the meta-loss on all n samples that are adapted to, else n_1 samples to adapt to, n - n_1 held
    out. sigma >= 0 and signal >= 0. ValueError where kappa is 0, and the meta-loss says nothing of the start.

    >>> start_error(10, 10, 0.0, 1, train=0), start_error(10, 10, 0.2, 1) < 2.1
    (2.1, True)
    """
    where = "start_error"
    noise, size = _at_least_zero(where, "sigma", sigma), _at_least_zero(where, "signal", signal)
    found = meta_moments(n, d, alpha, steps, train=train)
    if not found.kappa:
        bad_value(where, "alpha", alpha, "a step size that leaves the loss something to say of the start")
    return float((size**2 * found.spread + noise**2 * found.noise) / found.kappa**2)


def adapted_risk(n: int, d: int, alpha: float, steps: int, *, sigma: float = 0.0, signal: float = 1.0) -> float:
    """Return E |w_k - w|^2 from the start w*: signal^2 m(b^2) + sigma^2 (d/n) m(q). Inputs of variance 1.

    What a step size is good for on fresh samples, at any n and d: train-by-validation on n_1 samples minimises it at
    n_1, as far as many tasks go.

    >>> adapted_risk(4, 2, 0.0, 3, sigma=1.0), round(adapted_risk(4, 2, 0.25, 1, sigma=1.0), 9)
    (1.0, 0.640625)
    """
    where = "adapted_risk"
    noise, size = _at_least_zero(where, "sigma", sigma), _at_least_zero(where, "signal", signal)
    kept, moved, _, _ = _risks(where, n, d, alpha, steps)
    return float(size**2 * kept + noise**2 * moved)


def adapted_train_loss(n: int, d: int, alpha: float, steps: int, *, sigma: float = 0.0, signal: float = 1.0) -> float:
    """Return E |X w_k - y|^2/(2n) from w*: [signal^2 m(s b^2) + sigma^2 (1 - d/n + (d/n) m(b^2))]/2.

    What train-by-train minimises, as far as many tasks go.

    >>> adapted_train_loss(4, 2, 0.0, 3, sigma=1.0)
    1.0
    """
    where = "adapted_train_loss"
    noise, size = _at_least_zero(where, "sigma", sigma), _at_least_zero(where, "signal", signal)
    kept, _, left, ratio = _risks(where, n, d, alpha, steps)
    return float((size**2 * left + noise**2 * (1 - ratio + ratio * kept)) / 2)


def _risks(where: str, n: int, d: int, alpha: float, steps: int) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Return m(b^2), (d/n) m(q), m(s b^2) and d/n."""
    rows, columns, k = count(where, "n", n), count(where, "d", d), one_horizon(where, steps)
    if k > LARGEST_STEPS:
        bad_value(where, "steps", k, f"at most {LARGEST_STEPS}", "`proportional_limit` has every horizon.")
    at, ratio = _Spectrum(rows, columns), Fraction(columns, rows)
    b = _power([Fraction(1), -Fraction(number(where, "alpha", alpha))], k)
    fallen = [-x for x in b]
    fallen[0] += 1
    b2 = _times(b, b)
    return at.mean(b2), ratio * at.mean(_times(fallen, fallen[1:])), at.mean([_ZERO, *b2]), ratio


class _Spectrum:
    """Means over the eigenvalues of S = Z'Z/n, Z (n, d) standard normal, of polynomials in s (lowest power first)."""

    def __init__(self, n: int, d: int) -> None:
        self.n, self.d = n, d

    def mean(self, f: list[Fraction]) -> Fraction:
        """Return m(f) = E tr f(S)/d."""
        whole, below = _integers(f)
        top = len(f) - 1
        total = sum(x * moment(self.n, self.d, (j,)) * self.n ** (top - j) for j, x in enumerate(whole) if x)
        return Fraction(total, below * self.n**top * self.d)

    def pair(self, f: list[Fraction], g: list[Fraction]) -> Fraction:
        """Return m(f, g) = E tr f(S) tr g(S)/d^2."""
        (one, below), (two, under) = _integers(f), _integers(g)
        top = len(f) + len(g) - 2
        total = sum(
            x * y * moment(self.n, self.d, (i, j)) * self.n ** (top - i - j)
            for i, x in enumerate(one)
            for j, y in enumerate(two)
            if x and y
        )
        return Fraction(total, below * under * self.n**top * self.d**2)


def _integers(f: list[Fraction]) -> tuple[list[int], int]:
    """Return the coefficients as integers over one denominator: sums of them need no common divisor on the way."""
    below = math.lcm(*(x.denominator for x in f))
    return [x.numerator * (below // x.denominator) for x in f], below


def _times(f: list[Fraction], g: list[Fraction]) -> list[Fraction]:
    (one, below), (two, under) = _integers(f), _integers(g)
    found = [0] * (len(f) + len(g) - 1)
    for i, x in enumerate(one):
        for j, y in enumerate(two):
            found[i + j] += x * y
    return [Fraction(x, below * under) for x in found]


def _power(f: list[Fraction], k: int) -> list[Fraction]:
    found = [Fraction(1)]
    for _ in range(k):
        found = _times(found, f)
    return found


def _at_least_zero(where: str, name: str, value: float) -> Fraction:
    found = number(where, name, value)
    if found < 0:
        bad_value(where, name, found, "a number of at least 0")
    return Fraction(found)
