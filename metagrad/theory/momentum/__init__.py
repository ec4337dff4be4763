"""Heavy ball and Nesterov with constant eta and beta on f(w) = w'Hw/2, started at w_0 at rest: all closed forms.

| symbol        | code                              | meaning                                                 |
|---------------|-----------------------------------|---------------------------------------------------------|
| h, b          |                                   | h = eta lambda, b = sqrt(beta)                          |
| z1, z2        | `roots.Roots`                     | the roots of z^2 - tau z + delta, one pair per mode     |
| P_t, Q_t, S_t | `lucas.sequences`                 | Lucas sequence of (tau, delta), and its tau-derivatives |
| r_t           | `iterates.iterates`               | w_t/w_0 of a mode, with first and second derivatives    |
| F, F_a, F_ab  | `objective`, `d_`, `d2_objective` | F = sum_i kappa_i r_t(eta lambda_i, beta)^2             |
| G, G_a, G_ab  | `log_objective`, `d_`, `d2_`      | G = (1/t) log F                                         |

| file               | what it implements                                                                          |
|--------------------|---------------------------------------------------------------------------------------------|
| `lucas`            | powers of a 2 x 2 matrix and their derivatives, without roots: nothing is lost where they meet |
| `iterates`         | r_t of heavy ball, Nesterov, and Nesterov at the point ahead, up to second derivatives      |
| `last_iterate`     | F and G of the last iterate, gradients and Hessians in (eta, beta)                          |
| `weighted`         | Phi = sum_k rho^k f(w_k) and its derivatives                                                |
| `roots`            | the kinds of roots, double roots, stability                                                 |
| `bounds`           | how large the slope of G can be: linear in t at a double root, no bound at complex roots    |
| `optimal`          | the best eta and beta: as t grows (Polyak, Nesterov), and at a finite horizon               |
| `marchenko_pastur` | the best momentum per step on average (Pedregosa and Scieur 2020)                           |
| `symbolic`         | the sympy derivation of each closed form                                                    |

The names of `last_iterate` and `weighted` are exported here. Of the theory, `numbers`, `quadratic` and
`least_squares` are imported."""

from __future__ import annotations

from metagrad.theory.momentum.iterates import Rule
from metagrad.theory.momentum.last_iterate import (
    Curvature,
    RateCurvature,
    RateSlope,
    Slope,
    d2_log_objective,
    d2_objective,
    d_log_objective,
    d_objective,
    log_objective,
    log_slope,
    objective,
)
from metagrad.theory.momentum.weighted import d_weighted_sum, weighted_sum

__all__ = [
    "Curvature",
    "RateCurvature",
    "RateSlope",
    "Rule",
    "Slope",
    "d2_log_objective",
    "d2_objective",
    "d_log_objective",
    "d_objective",
    "d_weighted_sum",
    "log_objective",
    "log_slope",
    "objective",
    "weighted_sum",
]
