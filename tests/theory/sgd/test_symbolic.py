"""What sympy derives from one step of SGD, against the printed formulas and against the numbers of the theory."""

import numpy as np
import pytest
import sympy as sp

from metagrad.theory import sgd
from metagrad.theory.sgd import noisy_quadratic, noisy_schedules, single_pass, symbolic
from metagrad.theory.sgd.noisy_quadratic import NoisyQuadratic
from metagrad.theory.sgd.single_pass import SinglePass


@pytest.mark.parametrize(("d", "b"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_the_printed_formulas_are_the_derived_ones(d, b):
    for name, difference in symbolic.identities(d, b).items():
        assert sp.simplify(difference) == 0, name


def test_a_wrong_formula_is_not_zero():
    """Without replacement is not with; a batch of one is not a batch of two."""
    second, within, squared = symbolic.batch_second_moment(3, 2, False)
    assert sp.expand(within / 2 + squared / 2 - second) != 0
    assert sp.expand(symbolic.isotropic_factor(2, 1) - symbolic.isotropic_factor(2, 2)) != 0


@pytest.mark.parametrize(("n", "steps"), [(2, 1), (2, 2), (2, 3), (3, 2)])
def test_the_enumerated_loss_and_its_slope_are_those_of_sgd(n, steps):
    loss = symbolic.enumerated_loss(n, steps)
    rng = np.random.default_rng([n, steps])
    x, y, w0, eta = rng.normal(size=n), rng.normal(size=n), float(rng.normal()), 0.3
    point = {f"x{i + 1}": x[i] for i in range(n)} | {f"y{i + 1}": y[i] for i in range(n)} | {"w": w0, "eta": eta}
    values = {symbol: point[symbol.name] for symbol in loss.free_symbols}
    slope = sp.diff(loss, symbolic.symbols(1)["eta"])
    problem = sgd.SgdProblem(x[:, None], y, [w0], 1)
    assert sgd.train_loss(problem, eta, steps)[-1].to_float() == pytest.approx(float(loss.subs(values)), rel=1e-12)
    assert sgd.d_train_loss(problem, eta, steps)[-1].to_float() == pytest.approx(float(slope.subs(values)), rel=1e-11)


def test_two_derived_steps_are_those_of_single_pass():
    d, b, eta, sigma = 2, 2, 0.3, 0.7
    problem = SinglePass([1.5, 0.2], [1.0, 3.0], sigma, b)
    s = symbolic.symbols(d)
    fixed = dict(zip(s["eigenvalues"], problem.eigenvalues, strict=True)) | {s["eta"]: eta, s["sigma"]: sigma}
    now = list(problem.start)
    for k in (1, 2):
        at = fixed | {s["S"][i, i]: now[i] for i in range(d)}
        now = [float(step.subs(at)) for step in symbolic.single_pass_step(d, b)]
        assert single_pass.risk(problem, eta, k).to_float() == pytest.approx(sum(now), rel=1e-13)


def test_the_derived_greedy_step_and_moment_are_those_of_the_noisy_quadratic():
    problem = NoisyQuadratic([1.0, 0.25], [0.5, 2.0], [3.0, 1.0])
    s = symbolic.symbols(2)
    at = {}
    for name, values in (("curvatures", problem.curvatures), ("noise", problem.noise), ("moments", problem.start)):
        at |= dict(zip(s[name], values, strict=True))
    eta = float(symbolic.greedy_step(2).subs(at))
    assert noisy_schedules.greedy_schedule(problem, 1)[0] == pytest.approx(eta, rel=1e-14)
    one = symbolic.symbols(1)
    inverse = symbolic.best_inverse_moment().subs({one["moments"][0]: 3.0, one["noise"][0]: 0.5, one["k"]: 7})
    assert noisy_quadratic.one_dimensional(3.0, 0.5, 7) == pytest.approx(1 / float(inverse), rel=1e-14)


def test_a_dimension_of_zero_is_refused():
    with pytest.raises(ValueError, match="symbols: d is 0"):
        symbolic.symbols(0)
