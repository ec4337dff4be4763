"""All closed forms for gradient descent on w'Hw/2, under one name.

| module          | what it has                                                                  |
|-----------------|------------------------------------------------------------------------------|
| `spectrum`      | `Spectrum`: eigenvalues and weights                                          |
| `last_iterate`  | F, F', F'' and G, G', G'' of the last iterate, constant step size            |
| `weighted`      | sum_k rho^k f(w_k) and its derivative                                        |
| `schedule`      | a step size per step, and one per coordinate                                 |
| `stop_gradient` | the derivatives with the optimizee's gradient held constant                  |
| `minimiser`     | the best step size at finite t, its limit, first correction and curvature    |
"""

from __future__ import annotations

from metagrad.theory.last_iterate import (
    d2_log_objective,
    d2_objective,
    d_log_objective,
    d_objective,
    log_objective,
    objective,
)
from metagrad.theory.minimiser import (
    curvature_at_minimiser,
    first_correction,
    limit_minimiser,
    minimiser,
    two_eigenvalue_minimiser,
)
from metagrad.theory.schedule import (
    coordinate_objective,
    d_coordinate_objective,
    d_schedule_objective,
    schedule_objective,
)
from metagrad.theory.signed_log import SignedLog
from metagrad.theory.spectrum import Measure, Spectrum
from metagrad.theory.stop_gradient import stop_gradient_d_log_objective, stop_gradient_d_objective
from metagrad.theory.weighted import d_weighted_sum, weighted_sum

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
    "first_correction",
    "limit_minimiser",
    "log_objective",
    "minimiser",
    "objective",
    "schedule_objective",
    "stop_gradient_d_log_objective",
    "stop_gradient_d_objective",
    "two_eigenvalue_minimiser",
    "weighted_sum",
]
