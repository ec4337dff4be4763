"""Gradient descent w_{k+1} = (I - eta H) w_k on f(w) = w'Hw/2, started at w_0: all closed forms under one name.

| symbol        | code                               | meaning                                            |
|---------------|------------------------------------|----------------------------------------------------|
| lambda_i, c_i | `Spectrum.eigenvalues`, `.weights` | eigenvalues of H, c_i = (q_i'w_0)^2                |
| alpha, L      | `Spectrum.alpha`, `.L`             | smallest, largest lambda_i > 0 with c_i > 0        |
| eta, t        | `eta`, `steps`                     | step size, horizon                                 |
| a_i, mu       | `modes.Factors`, `modes.Modes`     | a_i = 1 - eta lambda_i, mu = max_i abs(a_i)        |
| kappa_i       | `spectrum.log_kappa`               | c_i lambda_i / 2 (loss) or c_i (squared norm)      |
| F, F', F''    | `objective`, `d_`, `d2_objective`  | F = sum_i kappa_i a_i^{2t}, the last iterate       |
| G, G', G''    | `log_objective`, `d_`, `d2_`       | G = (1/t) log F                                    |
| Phi, Phi'     | `weighted_sum`, `d_weighted_sum`   | Phi = sum_k rho^k f(w_k), k = 1..t                 |
| eta*          | `minimiser`, `limit_minimiser`     | F'(eta*) = 0; eta* -> 2/(alpha + L)                |
| B             | `bounds.global_gradient_bound`     | sup over eta of abs(G') <= B                       |

| file            | what it implements                                                             |
|-----------------|--------------------------------------------------------------------------------|
| `spectrum`      | `Spectrum`: eigenvalues and weights                                            |
| `last_iterate`  | F, F', F'' and G, G', G'' of the last iterate, constant step size              |
| `weighted`      | Phi = sum_k rho^k f(w_k) and its derivative                                    |
| `schedule`      | F with a step size per step, and one per coordinate                            |
| `stop_gradient` | the derivatives with the optimizee's gradient held constant                    |
| `minimisers`    | eta* at finite t, its limit 2/(alpha + L), first correction and curvature      |
| `bounds`        | F' explodes or vanishes almost everywhere, abs(G') <= B                        |
| `meta_descent`  | eta <- max(floor, eta - gamma_k G'(eta)) and its convergence                   |
| `implicit`      | a penalty tuned through an inner optimum: unrolled, implicit, and their errors |
| `horizons`      | the horizon at which backpropagation leaves the range of a float type          |
| `symbolic`      | the sympy derivation of each closed form                                       |

The names of the first six are exported here. Of the theory, `numbers` alone is imported.
"""

from __future__ import annotations

from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.quadratic.last_iterate import (
    d2_log_objective,
    d2_objective,
    d_log_objective,
    d_objective,
    log_objective,
    log_slope,
    objective,
)
from metagrad.theory.quadratic.minimisers import (
    curvature_at_minimiser,
    first_correction,
    limit_minimiser,
    minimiser,
    two_eigenvalue_minimiser,
)
from metagrad.theory.quadratic.schedule import (
    coordinate_objective,
    d_coordinate_objective,
    d_schedule_objective,
    schedule_objective,
)
from metagrad.theory.quadratic.spectrum import Measure, Spectrum, exactly_singular, is_diagonal
from metagrad.theory.quadratic.stop_gradient import stop_gradient_d_log_objective, stop_gradient_d_objective
from metagrad.theory.quadratic.weighted import d_weighted_sum, weighted_sum

__all__ = [
    "Measure",
    "SignedLog",
    "Spectrum",
    "coordinate_objective",
    "curvature_at_minimiser",
    "d2_log_objective",
    "d2_objective",
    "d_coordinate_objective",
    "d_log_objective",
    "d_objective",
    "d_schedule_objective",
    "d_weighted_sum",
    "exactly_singular",
    "first_correction",
    "is_diagonal",
    "limit_minimiser",
    "log_objective",
    "log_slope",
    "minimiser",
    "objective",
    "schedule_objective",
    "stop_gradient_d_log_objective",
    "stop_gradient_d_objective",
    "two_eigenvalue_minimiser",
    "weighted_sum",
]
