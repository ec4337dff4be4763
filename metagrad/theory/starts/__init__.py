"""A learned start: MAML, first-order MAML and Reptile on quadratic tasks, in closed form, and their expansions.

| file              | what it implements                                                                              |
|-------------------|-------------------------------------------------------------------------------------------------|
| `quadratic_tasks` | `QuadraticTasks`: support and query losses                                                      |
| `adaptation`      | what k steps of descent make of a start, the query loss there, and the three meta-gradients     |
| `fixed_points`    | the start at which each of the three meta-gradients vanishes: three different points             |
| `symbolic`        | the sympy derivation of the expansions in the inner step size, to second order                   |

Finn, Abbeel and Levine 2017 (MAML); Nichol, Achiam and Schulman 2018 (first-order MAML, Reptile, the expansion).
"""

from __future__ import annotations

from metagrad.theory.starts.adaptation import METHODS, adapted, meta_gradient, meta_loss
from metagrad.theory.starts.fixed_points import fixed_point
from metagrad.theory.starts.quadratic_tasks import QuadraticTasks

__all__ = ["METHODS", "QuadraticTasks", "adapted", "fixed_point", "meta_gradient", "meta_loss"]
