"""The gradient at the inner optimum, by the implicit function theorem: no unrolled step is differentiated.

| file        | what it has                                                                                |
|-------------|--------------------------------------------------------------------------------------------|
| `estimator` | `Implicit`: the run to the optimum, whether it is one, and what is said of that             |
| `inner`     | the inner problem where the run has ended: what objective and inner gradient owe to theta   |
| `solvers`   | H v = r for all tasks: conjugate gradients, a Neumann series, a dense factorisation         |
"""

from metagrad.estimators.implicit.estimator import Implicit

__all__ = ["Implicit"]
