"""Closed forms, bounds and range analysis of meta-objectives and meta-gradients: the oracle of the engine.

Nothing here imports another part of metagrad, so that agreement with the engine is evidence. There are seven
folders, and each imports only from those above it:

| folder          | what it has                                                                             |
|-----------------|-----------------------------------------------------------------------------------------|
| `numbers`       | signed logarithms, factors and their powers, filters, checks: what the others share     |
| `quadratic`     | gradient descent on w'Hw/2: objectives, derivatives, bounds, best step sizes, horizons  |
| `least_squares` | gradient descent on a sample (X, y), its averages, its limit for many inputs            |
| `sgd`           | minibatch SGD: on a sample, on fresh samples, on the noisy quadratic                    |
| `schedules`     | the best schedules of step sizes: on average, under noise, and against the worst case   |
| `starts`        | a learned start on quadratics: MAML, first-order MAML, Reptile, and their expansions    |
| `no_free_lunch` | every search algorithm on every function of a few points                                |

`quadratic`, `least_squares` and `sgd` export their main functions; each folder says what its files have, and has the
sympy derivations of its closed forms in `symbolic`. `SignedLog` and `Spectrum` are here too.
"""

from __future__ import annotations

from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic.spectrum import Spectrum

__all__ = ["SignedLog", "Spectrum"]
