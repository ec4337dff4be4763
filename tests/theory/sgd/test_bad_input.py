"""What SGD's theory refuses, and what it says."""

import numpy as np
import pytest

from metagrad.theory import sgd
from metagrad.theory.sgd import SgdProblem

X, Y = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]), np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ((np.zeros((0, 2)), np.zeros(0)), ValueError, "at least one sample"),
        ((np.zeros((3, 0)), Y), ValueError, "at least one sample and column"),
        ((X[0], Y), ValueError, "X is of shape"),
        ((X, Y[:2]), ValueError, "a target per row"),
        ((X, Y, np.zeros(3)), ValueError, "w0 is of shape"),
        ((X, Y * np.nan), ValueError, "y is nan"),
        ((X + np.inf, Y), ValueError, "X is"),
        ((X, Y, [np.nan, 0.0]), ValueError, "w0 is nan"),
        ((X * 1e70, Y), ValueError, "Rescale"),
        ((X * 1e-70, Y), ValueError, "Rescale"),
        ((X + 1j, Y), TypeError, "expected real numbers"),
        ((X, Y, None, 0), ValueError, "batch_size is 0"),
        ((X, Y, None, -1), ValueError, "batch_size is -1"),
        ((X, Y, None, 1.5), TypeError, "batch_size is a float"),
        ((X, Y, None, True), TypeError, "batch_size is a bool"),
        ((X, Y, None, 4, False), ValueError, "Draw with replacement"),
        ((X, Y, None, 1, True, np.eye(3)), ValueError, "second_moment is of shape"),
        ((X, Y, None, 1, True, [[1.0, 0.5], [0.0, 1.0]]), ValueError, "asymmetric"),
        ((X, Y, [1.0, 1.0], 1, True, np.eye(2)), ValueError, "covariance"),
    ],
)
def test_a_problem_that_is_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        SgdProblem(*arguments)


@pytest.mark.parametrize(
    ("eta", "steps", "kind", "says"),
    [
        (np.inf, 3, ValueError, "eta is inf"),
        (np.nan, 3, ValueError, "eta is nan"),
        (1e70, 3, ValueError, "sgd: eta is .*e-61 to 1.11e.59"),
        (1e-70, 3, ValueError, "sgd: eta is .*e-61 to 1.11e.59"),
        (0.1, 0, ValueError, "steps is 0"),
        (0.1, 2.5, TypeError, "expected integers"),
        (0.1, [1, 2], ValueError, "one integer"),
        (0.1, None, ValueError, "pass `steps`"),
        ([], None, ValueError, "T >= 1"),
    ],
)
def test_step_sizes_and_horizons_that_are_refused(eta, steps, kind, says):
    with pytest.raises(kind, match=says):
        sgd.train_loss(SgdProblem(X, Y), eta, steps)


def test_measures_that_are_refused():
    problem = SgdProblem(X, Y)
    with pytest.raises(ValueError, match="2 columns like X"):
        sgd.validation_loss(problem, np.ones((2, 3)), [1.0, 1.0], 0.1, 2)
    with pytest.raises(ValueError, match="a target per row of X_val"):
        sgd.validation_loss(problem, np.ones((2, 2)), [1.0], 0.1, 2)
    with pytest.raises(ValueError, match="at least one sample"):
        sgd.validation_loss(problem, np.ones((0, 2)), [], 0.1, 2)
    with pytest.raises(ValueError, match="w_star is of shape"):
        sgd.risk(problem, np.ones(3), 0.1, 2)
    with pytest.raises(ValueError, match="one schedule"):
        sgd.schedule_gradient(problem, sgd.train_measure(problem), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"at_steps: steps is of shape \(\)"):
        sgd.at_steps(problem, [sgd.train_measure(problem)], 0.1, 3)
    with pytest.raises(ValueError, match="at_steps: eta is nan"):
        sgd.at_steps(problem, [sgd.train_measure(problem)], np.nan, [3])
    with pytest.raises(ValueError, match="Every step size is stable"):
        sgd.stability_threshold(SgdProblem(0 * X, Y))


def test_one_sample_and_no_signal_are_no_special_cases():
    """n = 1 divides by n - 1 nowhere, constant columns and X = 0 are least squares like any other."""
    one = SgdProblem([[2.0]], [1.0], None, 1, False)
    assert one.spread == 0.0
    assert sgd.train_loss(one, 0.25, 2).to_float().tolist() == [0.5, 0.0, 0.0]
    assert sgd.train_loss(SgdProblem(0 * X, Y), 0.25, 2).to_float() == pytest.approx([7 / 3] * 3)
    constant = SgdProblem(np.ones((3, 2)), Y, None, 3, False)
    assert sgd.excess_train_loss(constant, 0.5, 1).to_float() == pytest.approx([2.0, 0.0], rel=1e-14, abs=1e-14)
