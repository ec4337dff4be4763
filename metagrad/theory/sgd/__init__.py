"""Minibatch SGD: exact moments along the trajectory, their derivatives in the step size, and stability thresholds.

| file              | what it implements                                                                            |
|-------------------|-----------------------------------------------------------------------------------------------|
| `problem`         | `SgdProblem`: a finite least-squares sample and its batches; `Measure`: what is measured of w |
| `losses`          | expected train loss, validation loss and risk of w_k, k = 0..T, and their derivatives         |
| `average`         | `SgdAverage`: the same averaged over the targets y = Xw* + xi, given the inputs               |
| `recursion`       | `Recursion`: the first two moments after one more step, at any magnitude                      |
| `stepping`        | the same in arrays that are made once, for measures along a trajectory                        |
| `powers`          | the moments after t steps with a constant step size by powers of one matrix                   |
| `adjoint`         | the derivative of an expected measure in each step size of a schedule                         |
| `stability`       | the largest step size at which the second moment stays bounded                                |
| `limit`           | train loss and risk for n, d -> infinity, the batch size fixed: a Volterra equation           |
| `single_pass`     | risk and excess loss on fresh Gaussian samples                                                |
| `noisy_quadratic` | expected loss on sum_i h_i w_i^2/2 with a fresh noisy target in each step                     |
| `noisy_schedules` | its greedy, optimal and look-ahead schedules, and the short-horizon bias                      |
| `symbolic`        | the sympy derivation of the recursions                                                        |

The names of `losses`, and what they take, are exported here. All other folders of the theory may be imported.
"""

from __future__ import annotations

from metagrad.theory.sgd.average import SgdAverage
from metagrad.theory.sgd.losses import (
    at_steps,
    d_excess_train_loss,
    d_risk,
    d_train_loss,
    d_validation_loss,
    excess_train_loss,
    expected,
    moments,
    risk,
    schedule_gradient,
    train_loss,
    validation_loss,
    values_and_slopes,
)
from metagrad.theory.sgd.problem import (
    Measure,
    SgdProblem,
    excess_measure,
    quadratic_measure,
    risk_measure,
    train_measure,
    validation_measure,
)
from metagrad.theory.sgd.stability import stability_threshold

__all__ = [
    "Measure",
    "SgdAverage",
    "SgdProblem",
    "at_steps",
    "d_excess_train_loss",
    "d_risk",
    "d_train_loss",
    "d_validation_loss",
    "excess_measure",
    "excess_train_loss",
    "expected",
    "moments",
    "quadratic_measure",
    "risk",
    "risk_measure",
    "schedule_gradient",
    "stability_threshold",
    "train_loss",
    "train_measure",
    "validation_loss",
    "validation_measure",
    "values_and_slopes",
]
