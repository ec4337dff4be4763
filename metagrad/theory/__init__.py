"""Closed forms, bounds and range analysis of meta-objectives and meta-gradients: the oracle of the engine.

Nothing here imports another part of metagrad, so that agreement with the engine is evidence. Gradient descent
w_{k+1} = (I - eta H) w_k on f(w) = w'Hw/2, started at w_0:

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

These are in `quadratic`, which gathers `last_iterate`, `weighted`, `schedule`, `stop_gradient` and `minimiser`.
`schedule` has a step size per step or per coordinate, `stop_gradient` the derivative with the optimizee's gradient
held constant, `meta_descent` the outer loop and its convergence, `horizons` where floating point breaks down, and
`symbolic` the sympy derivation of each closed form.

`sgd` has the exact expected losses of minibatch SGD on a finite least-squares sample, `sgd_average` their averages over
the targets, `single_pass` those of SGD on fresh Gaussian samples, `noisy_quadratic` the noisy quadratic model and
`noisy_quadratic_schedules` its best schedules and short-horizon bias; `symbolic_sgd` derives their recursions.

`least_squares` has gradient descent on a given sample, `average_case` its averages over the targets, `krylov` the same
without a decomposition, `proportional_limit` the curves for d/n -> gamma (over `marchenko_pastur`), `tuned_limit` the
step sizes that are chosen in them, `generalization` the paper's statements about them, `sgd_limit` the curves of
minibatch SGD; `symbolic_least_squares` derives those of gradient descent.
"""

from __future__ import annotations

from metagrad.theory.signed_log import SignedLog
from metagrad.theory.spectrum import Spectrum

__all__ = ["SignedLog", "Spectrum"]
