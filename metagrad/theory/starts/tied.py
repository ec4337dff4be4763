"""Where the way without a split learns a wrong start: tasks of several kinds, whose inputs and answers are tied.

A task is of kind j with the chance p_j. Then its inputs are N(0, c_j I_d), and its w is N(m_j u, signal_j^2 I/d) with
one unit vector u: what is asked of a task shows in the size of its inputs. Every task alone is a linear model, but w
depends on X, which the result for realisable tasks of Bai et al. 2021 excludes. In their agnostic case the meta-loss
with a split is minimised by the best start, that without one in general is not (their abstract). Here is how far off.

With the `kappa`, `spread` and `noise` of each kind (`split.meta_moments`) T tasks teach, as T grows, the start

    place  = sum p_j kappa_j m_j / sum p_j kappa_j                                 times u
    E(phi) = place u + drift u/T,   drift = sum p_j spread_j (place - m_j)/kappa^2,    kappa = sum p_j kappa_j
    E |phi - place u|^2 = V/T,      V = sum p_j [(signal_j^2 + (place - m_j)^2) spread_j + sigma_j^2 noise_j]/kappa^2

up to O(1/T^2). The test adapts to m fresh samples of a fresh task, and asks for the loss on others: its best start has
the weights p_j c_j m(b_j^2) of m samples, the same as those of the split where n_1 = m. So the split is right at any
kinds; without one a kind with large inputs, which the steps fit, counts for less on its own samples than on fresh ones.
The excess test loss, with K = sum p_j c_j m(b_j^2), is

    (K/2) [(place - best)^2 + (V + 2 (place - best) drift)/T] + O(1/T^2).

Derived; checked by tests against drawn tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_kind, count, finite_floats, real_floats
from metagrad.theory.starts.split import MetaMoments, meta_moments


@dataclass(frozen=True, eq=False)
class Kinds:
    """Kinds of tasks: `shares` p_j, `scales` c_j > 0 (variance of an input), `places` m_j; `signal` and `sigma` >= 0.

    Each a list of one number a kind, or one number for all; the shares sum to 1.

    >>> Kinds([0.5, 0.5], [1.0, 4.0], [-1.0, 1.0], sigma=0.5).count
    2
    """

    shares: Floats
    scales: Floats
    places: Floats
    signal: ArrayLike = 1.0
    sigma: ArrayLike = 0.0

    def __post_init__(self) -> None:
        """Validate."""
        names = ("shares", "scales", "places", "signal", "sigma")
        shares = finite_floats("Kinds", "shares", self.shares)
        if shares.ndim != 1 or not shares.size or (shares < 0).any() or abs(shares.sum() - 1) > 1e-12:
            bad_value("Kinds", "shares", shares.tolist(), "a list of chances that sum to 1")
        for name in names:
            given = finite_floats("Kinds", name, getattr(self, name))
            if given.shape not in ((), shares.shape):
                bad_value("Kinds", name, f"of shape {given.shape}", f"one number, or {shares.size} as shares has")
            if name != "places" and ((given < 0).any() or (name == "scales" and (given == 0).any())):
                least = "above 0" if name == "scales" else "of at least 0"
                bad_value("Kinds", name, given.tolist(), f"numbers {least}")
            object.__setattr__(self, name, np.broadcast_to(given, shares.shape))

    @property
    def count(self) -> int:
        """The number of kinds."""
        return len(self.shares)


@dataclass(frozen=True)
class Taught:
    """The start that T tasks teach, along u: `place` + `drift`/T in the mean, and E |phi - place u|^2 = `error`/T."""

    place: float
    drift: float
    error: float


def taught_start(kinds: Kinds, n: int, d: int, alpha: float, steps: int, *, train: int | None = None) -> Taught:
    """Return what many tasks of n samples teach; `train`: None without a split, else n_1, see `split.meta_moments`.

    >>> tied = Kinds([0.5, 0.5], [0.5, 1.5], [-1.0, 1.0])
    >>> [round(taught_start(tied, 20, 10, 0.3, 3, train=n_1).place, 4) for n_1 in (None, 10)]
    [-0.2378, 0.3248]
    """
    check_kind("taught_start", "kinds", kinds, Kinds)
    of_kinds = [meta_moments(n, d, alpha, steps, train=train, scale=float(c)) for c in kinds.scales]
    total = sum(
        (Fraction(p) * each.kappa for p, each in zip(kinds.shares.tolist(), of_kinds, strict=True)), Fraction(0)
    )
    if not total:
        bad_value("taught_start", "alpha", alpha, "a step size that leaves the loss something to say of the start")
    kappa, spread, noise = (_floats(of_kinds, name, total) for name in ("kappa", "spread", "noise"))
    place = float((kinds.shares * kappa) @ kinds.places)
    off = place - kinds.places
    scale = float(total)  # spread and noise over total have one kappa left to be divided by
    drift = float((kinds.shares * spread) @ off) / scale
    squares = np.square(kinds.signal) + off**2
    error = float(kinds.shares @ (squares * spread + np.square(kinds.sigma) * noise)) / scale
    return Taught(place, drift, error)


def best_start(kinds: Kinds, samples: int, d: int, alpha: float, steps: int) -> tuple[float, float]:
    """Return the place along u of the best start for tests that adapt to `samples`, and K, the test loss's curvature.

    >>> tied = Kinds([0.5, 0.5], [0.5, 1.5], [-1.0, 1.0])
    >>> round(best_start(tied, 10, 10, 0.3, 3)[0], 4)
    0.3248
    """
    check_kind("best_start", "kinds", kinds, Kinds)
    rows = count("best_start", "samples", samples)
    # the mean of the split's meta-gradient does not depend on the number of samples held out
    of_kinds = [meta_moments(rows + 1, d, alpha, steps, train=rows, scale=float(c)) for c in kinds.scales]
    weights = kinds.shares * np.array([float(each.kappa) for each in of_kinds])
    return float(weights @ kinds.places / weights.sum()), float(weights.sum())


def excess_loss(taught: Taught, best: tuple[float, float], taught_by: ArrayLike) -> Floats:
    """Return the excess test loss of the start that T = `taught_by` tasks teach, up to O(1/T^2); T may be inf.

    `best`: what `best_start` returns. ValueError unless T > 0.

    >>> float(excess_loss(Taught(1.0, 0.0, 2.0), (0.5, 4.0), np.inf)), float(excess_loss(Taught(1, 0, 2), (0.5, 4), 4))
    (0.5, 1.5)
    """
    where = "excess_loss"
    check_kind(where, "taught", taught, Taught)
    pair, T = finite_floats(where, "best", best), real_floats(where, "taught_by", taught_by)
    if pair.shape != (2,):
        bad_value(where, "best", f"of shape {pair.shape}", "a place and a curvature", "Take those of best_start.")
    if not (T > 0).all():
        bad_value(where, "taught_by", T.tolist(), "numbers of tasks above 0")
    place, curvature = pair
    off = taught.place - place
    return np.asarray(curvature / 2 * (off**2 + (taught.error + 2 * off * taught.drift) / T))


def _floats(of_kinds: list[MetaMoments], name: str, total: Fraction) -> Floats:
    return np.array([float(getattr(each, name) / total) for each in of_kinds])
