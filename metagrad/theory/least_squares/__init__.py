"""Gradient descent on least squares, f(w) = ||Xw - y||^2/(2n): given the sample, on average, and with many inputs.

| file                 | what it implements                                                                      |
|----------------------|-----------------------------------------------------------------------------------------|
| `regression`         | `Regression`: train loss, validation loss, risk and slopes on a sample, w_0 = 0         |
| `krylov`             | `krylov_regressions`: the same from t products with X, without a decomposition          |
| `average_case`       | the averages over the targets, y = Xw* + xi, given the inputs                           |
| `marchenko_pastur`   | the law of the eigenvalues of X'X/n, and quadrature rules exact for polynomials         |
| `proportional_limit` | the curves of train loss, risk and validation loss for d/n -> gamma                     |
| `tuned_limit`        | the step sizes that train-by-train and train-by-validation choose there, and their risk |
| `generalization`     | the paper's statements on the two ways to tune, as predicates with constants            |
| `symbolic`           | the sympy derivation of the closed forms                                                |
| `checks`             | the checks of a sample, of noise levels and ratios                                      |

The names of `regression` are exported here, and `fits_exactly`. Of the theory, `numbers` and `quadratic` are imported.
"""

from __future__ import annotations

from metagrad.theory.least_squares.checks import fits_exactly
from metagrad.theory.least_squares.regression import (
    Regression,
    d_risk,
    d_train_loss,
    d_validation_loss,
    excess_train_loss,
    first_exit,
    log_rate,
    risk,
    train_loss,
    validation_loss,
    weights,
)

__all__ = [
    "Regression",
    "d_risk",
    "d_train_loss",
    "d_validation_loss",
    "excess_train_loss",
    "first_exit",
    "fits_exactly",
    "log_rate",
    "risk",
    "train_loss",
    "validation_loss",
    "weights",
]
