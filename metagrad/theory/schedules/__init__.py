"""The best schedules of step sizes, in closed form: on average, against the worst case, and under noise.

| file           | what it implements                                                                               |
|----------------|--------------------------------------------------------------------------------------------------|
| `average_case` | `AverageCase`: a spectrum, signal and noise; a sample's, or the limit of many inputs             |
| `risk`         | the risk of a given schedule with weight decay, and its derivative in every step and in decay    |
| `orthogonal`   | the orthogonal polynomials of s dmu(s) and their zeros, by Lanczos' method                       |
| `optimal`      | the theorem: the best T steps are 1/(zeros + decay), on the loss with weight decay               |
| `proportional` | the same for many inputs, d/n -> gamma, in closed form                                           |
| `regimes`      | when step sizes without decay reach the best polynomial: the boundary, exactly                   |
| `descent`      | the best real steps without decay beyond the boundary, by descent on the exact risk              |
| `chebyshev`    | the best schedule for the worst spectrum in [m, M], orders of its steps and their range          |
| `silver`       | the silver schedules for smooth convex and strongly convex functions                             |
| `minimax`      | steps of least worst case on smooth convex functions, up to five, and the best constant          |
| `certificate`  | the exact worst case of a given schedule, with a proof, and its slope in every step              |
| `decays`       | linear, cosine and other decays on the noisy quadratic, against its optimal schedule             |
| `symbolic`     | the sympy derivation of the closed forms with noise                                              |

The names of `risk` and `optimal` are exported here, and `AverageCase`. `numbers`, `least_squares` and `sgd` are
imported.
"""

from __future__ import annotations

from metagrad.theory.schedules.average_case import AverageCase
from metagrad.theory.schedules.optimal import best_excess, best_risk, best_schedule
from metagrad.theory.schedules.risk import bayes_risk, d_risk, d_risk_decay, excess_risk, risk

__all__ = [
    "AverageCase",
    "bayes_risk",
    "best_excess",
    "best_risk",
    "best_schedule",
    "d_risk",
    "d_risk_decay",
    "excess_risk",
    "risk",
]
