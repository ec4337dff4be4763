"""A learned start: MAML, first-order MAML and Reptile on quadratic tasks; their expansions; what a split does to it.

| file              | what it implements                                                                              |
|-------------------|-------------------------------------------------------------------------------------------------|
| `quadratic_tasks` | `QuadraticTasks`: support and query losses                                                      |
| `adaptation`      | what k steps of descent make of a start, the query loss there, and the three meta-gradients     |
| `fixed_points`    | the start at which each of the three meta-gradients vanishes: three different points             |
| `split`           | the error of a start learned with and without a train-validation split, exact at any n and d    |
| `split_limit`     | the same for many inputs, also with ridge regression; the least error of all linear estimates   |
| `tied`            | tasks whose answers go with their inputs: the wrong start that is learned without a split       |
| `wishart`         | exact moments of Gaussian samples, which `split` and `tied` rest on                             |
| `symbolic`        | the sympy derivation of the expansions in the inner step size, to second order                   |

Finn, Abbeel and Levine 2017 (MAML); Nichol, Achiam and Schulman 2018 (first-order MAML, Reptile, the expansion); Bai et
al. 2021 (the split).
"""

from __future__ import annotations

from metagrad.theory.starts.adaptation import METHODS, adapted, meta_gradient, meta_loss
from metagrad.theory.starts.fixed_points import fixed_point
from metagrad.theory.starts.quadratic_tasks import QuadraticTasks

__all__ = ["METHODS", "QuadraticTasks", "adapted", "fixed_point", "meta_gradient", "meta_loss"]
