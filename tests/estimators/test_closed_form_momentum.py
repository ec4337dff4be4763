"""`ClosedForm` of heavy ball and Nesterov: as reverse mode has it, at any horizon, or an error that says why not."""

import numpy as np
import pytest

import metagrad as mg

DRAW = np.random.default_rng(7)
SHAPED = DRAW.standard_normal((3, 6, 4))
DENSE = mg.Quadratic(np.einsum("bij,bik->bjk", SHAPED, SHAPED) / 6, DRAW.standard_normal((3, 4)))
DIAGONAL = mg.DiagonalQuadratic(np.tile([0.1, 0.4, 1.0, 2.0], (3, 1)), DRAW.standard_normal((3, 4)))
RULES = [mg.Momentum(), mg.Nesterov()]
PAIRS = [(0.3, 0.9), (0.3, 1.0), (0.1, 0.0), (1.7, 0.3), (0.2, 0.5), (0.025, 0.25)]


def ratio(found, right):
    with np.errstate(all="ignore"):
        return (found / right).to_float()


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("task", [DENSE, DIAGONAL], ids=["dense", "diagonal"])
@pytest.mark.parametrize(
    "objective",
    [mg.Final(), mg.LogFinal(), mg.LogFinal(measure="squared_norm"), mg.Mean(), mg.WeightedSum(0.9)],
    ids=["final", "log", "log of norm", "mean", "weighted"],
)
@pytest.mark.parametrize("steps", [1, 2, 60])
def test_it_is_what_reverse_mode_finds(rule, task, objective, steps):
    for eta, mu in PAIRS:
        phi = rule.Phi(np.float64(eta), np.float64(mu))
        found, right = (method(task, rule, objective, phi, steps=steps) for method in (mg.ClosedForm(), mg.Reverse()))
        assert found.ok
        assert ratio(found.value, right.value) == pytest.approx(1.0, rel=1e-10)
        assert ratio(found.grad.eta, right.grad.eta) == pytest.approx(1.0, rel=1e-9)
        if steps == 1 and rule == mg.Momentum():
            assert found.grad.mu.mantissa == right.grad.mu.mantissa == 0
        else:
            assert ratio(found.grad.mu, right.grad.mu) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_one_pair_a_task_and_one_for_all(rule):
    eta, mu = np.array([0.1, 0.2, 0.3]), np.array([[0.5], [0.0], [0.9]])
    found = mg.ClosedForm(per_task=True)(DIAGONAL, rule, mg.LogFinal(), rule.Phi(eta, mu), steps=30)
    right = mg.Reverse(per_task=True)(DIAGONAL, rule, mg.LogFinal(), rule.Phi(eta[:, None], mu), steps=30)
    assert (found.grad.eta.shape, found.grad.mu.shape) == ((3,), (3, 1))
    assert found.grad.eta.to_float() == pytest.approx(right.grad.eta.to_float()[:, 0], rel=1e-10)
    assert found.grad.mu.to_float() == pytest.approx(right.grad.mu.to_float(), rel=1e-10)
    joint = mg.ClosedForm()(DIAGONAL, rule, mg.LogFinal(), mg.Joint(rule.Phi(0.1, 0.5), None), steps=30)
    alone = mg.ClosedForm()(DIAGONAL, rule, mg.LogFinal(), rule.Phi(0.1, 0.5), steps=30)
    assert joint.grad.rule.mu.to_float() == alone.grad.mu.to_float()


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_a_million_steps(rule):
    def at(eta):
        asked = {"steps": 10**6, "method": "closed_form"}
        return mg.meta_gradient(DIAGONAL, rule, mg.LogFinal(), rule.Phi(eta, 0.9), **asked)

    found, ends = at(0.1), [at(0.1 + x).value.to_float().mean() for x in (1e-9, -1e-9)]
    assert found.ok
    assert found.grad.eta.to_float() == pytest.approx((ends[0] - ends[1]) / 2e-9, rel=1e-4)


def test_a_loss_of_zero_has_its_status():
    task = mg.DiagonalQuadratic(np.ones((1, 1)), np.ones((1, 1)))
    found = mg.ClosedForm()(task, mg.Nesterov(), mg.LogFinal(), mg.Nesterov.Phi(1.0, 0.5), steps=5)
    assert found.status[0] == mg.Status.LOG_OF_ZERO.code


def test_singular_matrices_count_their_zeros():
    task = mg.Quadratic(np.ones((3, 3)) / 3, np.array([[1.0, 2.0, 0.0]]))
    phi = mg.Momentum.Phi(np.float64(0.7), np.float64(0.2))
    found, right = (m(task, mg.Momentum(), mg.LogFinal(), phi, steps=20) for m in (mg.ClosedForm(), mg.Reverse()))
    assert found.grad.mu.to_float() == pytest.approx(float(right.grad.mu.to_float()), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"objective": mg.MeanLog()}, "WeightedSum or Mean"),
        ({"gradient": "stop_gradient"}, "'full' with Momentum"),
        ({"rule": mg.Scheduled(mg.Momentum()), "eta": np.full(4, 0.1), "mu": 0.5}, "along the first axis"),
        ({"rule": mg.Scheduled(mg.Momentum()), "eta": np.full(4, 0.1), "mu": np.full(4, 0.1)}, "expected"),
        ({"eta": np.full(4, 0.1)}, "one for all"),
        ({"mu": np.inf}, "finite"),
        ({"steps": 2**27 + 1}, r"2\^27"),
        ({"task": "regression"}, "Quadratic or DiagonalQuadratic"),
        ({"rule": mg.Adam()}, "GradientDescent, Momentum or Nesterov"),
    ],
)
def test_what_has_no_closed_form_is_refused(change, says):
    given = {"task": DIAGONAL, "rule": mg.Momentum(), "objective": mg.Final(), "steps": 4, "eta": 0.1, "mu": 0.5}
    given |= change
    if given["task"] == "regression":
        given["task"] = mg.random_least_squares(1, 3, 2, sigma=0.1)
    phi = mg.Momentum.Phi(given["eta"], given["mu"]) if given["rule"] != mg.Adam() else mg.Adam.Phi(0.1)
    closed = mg.ClosedForm(gradient=given.get("gradient", "full"))
    with pytest.raises(ValueError, match=says):
        closed(given["task"], given["rule"], given["objective"], phi, steps=given["steps"])


def test_a_momentum_of_one_is_out_of_range_where_meta_parameters_are_checked():
    with pytest.raises(ValueError, match=r"mu is 1.0; expected a .*decay in \[0, 1\)"):
        mg.meta_gradient(
            DIAGONAL, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(0.1, 1.0), steps=4, method="closed_form"
        )
