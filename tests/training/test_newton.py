"""`minimise` with second derivatives: the minimum of BFGS in fewer steps, and Hessians against central differences."""

import numpy as np
import pytest

import metagrad as mg
from metagrad.files import read_npz

DIAGONAL = mg.DiagonalQuadratic(np.array([[1.0, 2.5, 4.0], [1.5, 2.0, 5.0]]), np.array([[1.0, 2.0, 0.5], [1.0] * 3]))
DENSE = mg.random_quadratics(3, 4, seed=1)
RULES = [
    (mg.GradientDescent(), mg.GradientDescent.Phi(0.15)),
    (mg.Momentum(), mg.Momentum.Phi(0.2, 0.4)),
    (mg.Nesterov(), mg.Nesterov.Phi(0.15, 0.3)),
]
OBJECTIVES = [mg.Final(), mg.LogFinal(), mg.Final("squared_norm"), mg.LogFinal("squared_norm")]


def vector(estimate):
    return np.array([float(leaf.to_float()) for leaf in mg.ad.leaves(estimate.grad)])


@pytest.mark.parametrize("task", [DIAGONAL, DENSE], ids=["diagonal", "dense"])
@pytest.mark.parametrize(("rule", "phi"), RULES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_hessian_is_the_difference_of_the_engines_meta_gradients(task, rule, phi, objective):
    """In the meta-parameters themselves, and the meta-gradients by reverse mode through the steps."""
    found = mg.ClosedForm().hessian(task, rule, objective, phi, steps=7).to_float()
    assert found.shape == (len(phi), len(phi))
    h = 1e-5
    for k in range(len(phi)):
        ends = []
        for sign in (1, -1):
            moved = type(phi)(*(x + sign * h * (i == k) for i, x in enumerate(phi)))
            ends.append(vector(mg.meta_gradient(task, rule, objective, moved, steps=7)))
        np.testing.assert_allclose(found[k], (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-7 * np.abs(found).max())


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("logarithm", [True, False])
@pytest.mark.parametrize(("rule", "phi"), RULES)
def test_the_hessian_in_its_coordinates(ranges, logarithm, rule, phi, monkeypatch):
    """What SciPy is given, against differences of the gradients that it is given."""
    import scipy.optimize

    asked = []

    def looked_at(function, x0, **options):
        asked.append((function, x0, options["hess"]))
        return exact(function, x0, **options)

    exact = scipy.optimize.minimize
    monkeypatch.setattr(scipy.optimize, "minimize", looked_at)
    mg.minimise(DIAGONAL, rule, mg.Final(), phi, steps=6, method="Newton", ranges=ranges, logarithm=logarithm)
    ((function, x, hessian),) = asked
    found, h = hessian(x), 1e-5
    for k in range(len(x)):
        up, down = (function(x + sign * h * np.eye(len(x))[k])[1] for sign in (1, -1))
        np.testing.assert_allclose(found[k], (up - down) / (2 * h), rtol=1e-6, atol=1e-7 * np.abs(found).max())


MANY = mg.random_quadratics(3, 12, seed=1)
EVEN = mg.DiagonalQuadratic(np.linspace(1.0, 5.0, 8), np.ones(8))


@pytest.mark.parametrize("task", [EVEN, MANY], ids=["diagonal", "dense"])
@pytest.mark.parametrize("objective", OBJECTIVES[:2])
@pytest.mark.parametrize(("rule", "phi"), RULES)
def test_the_minimum_of_bfgs_in_fewer_evaluations(task, objective, rule, phi):
    """Three steps: with momentum and more of them there are several minima, and the two may find different ones."""
    given, settings = (task, rule, objective, phi), {"steps": 3, "tolerance": 1e-7}
    newton = mg.minimise(*given, **settings, method="Newton")
    bfgs = mg.minimise(*given, **settings, estimator=mg.ClosedForm())
    assert newton.converged
    assert newton.slope <= 1e-7
    np.testing.assert_allclose(list(newton.phi), list(bfgs.phi), rtol=1e-6)
    assert newton.evaluations < bfgs.evaluations


@pytest.mark.parametrize("steps", [5, 8, 20, 100])
@pytest.mark.parametrize("objective", OBJECTIVES[:2])
def test_the_minimum_of_theory_to_many_digits(steps, objective):
    from metagrad.theory.quadratic import Spectrum, minimisers

    found = mg.minimise(EVEN, mg.GradientDescent(), objective, 0.1, steps=steps, tolerance=1e-9, method="Newton")
    exact = float(minimisers.minimiser(Spectrum.diagonal(np.linspace(1.0, 5.0, 8), np.ones(8)), steps))
    assert found.converged
    assert found.phi.eta == pytest.approx(exact, rel=1e-9)


def test_objectives_out_of_the_range_of_floats():
    task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    found = mg.minimise(task, mg.GradientDescent(), mg.Final(), 0.3, steps=10**6, method="Newton")
    assert float(found.value.log10abs()[0]) < -400_000
    assert found.phi.eta == pytest.approx(0.4, rel=1e-6)
    begins = mg.minimise(task, mg.GradientDescent(), mg.Final(), 10.0, steps=200, method="Newton")
    assert begins.value_log2[0] > 2000
    assert begins.phi.eta == pytest.approx(0.4, rel=2e-2)


class InterruptError(Exception):
    pass


def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(tmp_path):
    given = (DIAGONAL, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(0.05, 0.1))
    settings = {"steps": 15, "method": "Newton"}
    whole = mg.minimise(*given, **settings)

    def interrupt(calls, f):
        if calls == 4:
            raise InterruptError

    path = tmp_path / "run.npz"
    with pytest.raises(InterruptError):
        mg.minimise(*given, **settings, checkpoint=path, progress=interrupt)
    assert len(read_npz(path, "test")[0]["f"]) == 4
    assert mg.minimise(*given, **settings, checkpoint=path).path.tobytes() == whole.path.tobytes()


X = np.random.default_rng(0).standard_normal((6, 3))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rule": mg.Adam(), "phi": mg.Adam.Phi(0.1)}, r"rule is a Adam; expected .*second derivatives.*'BFGS'"),
        ({"rule": mg.Scheduled(mg.GradientDescent()), "phi": np.full(3, 0.1)}, r"rule is a Scheduled.*'BFGS'"),
        ({"task": mg.LeastSquares(X, X @ np.ones(3))}, r"task is a LeastSquares.*'BFGS'"),
        ({"steps": 2**53}, r"steps is 9007199254740992; expected an integer from 1 to 2\^52"),
        ({"objective": mg.Mean()}, r"objective is a Mean; expected Final or LogFinal.*'BFGS'"),
        ({"phi": np.full(3, 0.1), "task": DIAGONAL}, r"phi is eta of shape \(3,\); expected one for all.*'BFGS'"),
        ({"estimator": mg.Reverse()}, r"minimise: estimator is Reverse\(.*; expected ClosedForm\(\), or None"),
        ({"estimator": mg.ClosedForm("stop_gradient")}, r"gradient is 'stop_gradient'; expected 'full'.*'BFGS'"),
        ({"estimator": mg.ClosedForm(per_task=True)}, r"per_task is True; expected False.*'BFGS'"),
    ],
)
def test_clear_errors(given, expected):
    usual = {"task": DENSE, "rule": mg.GradientDescent(), "objective": mg.Final(), "phi": 0.2, "steps": 3} | given
    with pytest.raises(ValueError, match=expected):
        mg.minimise(**usual, method="Newton")


def test_meta_parameters_of_the_task_have_no_second_derivatives():
    task = mg.FunctionTask(
        lambda w, theta: np.sum(np.exp(theta) * w * w, axis=-1), np.ones((1, 2)), theta=np.array(0.0)
    )
    phi = mg.Joint(rule=0.1, task=np.array(0.0))
    with pytest.raises(ValueError, match=r"task is a FunctionTask.*'BFGS'"):
        mg.minimise(task, mg.GradientDescent(), mg.Final(), phi, steps=3, method="Newton")
    with pytest.raises(ValueError, match=r"phi is a Joint with meta-parameters of the task"):
        mg.ClosedForm().hessian(DENSE, mg.GradientDescent(), mg.Final(), phi, steps=3)


@pytest.mark.parametrize("kind", ["identity", "log", "logit", "softplus"])
def test_the_second_derivative_of_every_coordinate(kind):
    rule = mg.Unconstrained(mg.Adam(), maps={"beta1": "logit", "eps": kind if kind != "identity" else "log"})
    if kind == "identity":
        rule = mg.Unconstrained(mg.Adam(), maps={"eps": "identity"})
    free, h = rule.free(mg.Adam.Phi(0.1, 0.8, 0.9, 0.5)), 1e-6
    for k, bend in enumerate(rule.bends(free)):
        up, down = (rule.slopes(free._replace(**{free._fields[k]: free[k] + s * h}))[k] for s in (1, -1))
        np.testing.assert_allclose(bend, (up - down) / (2 * h), rtol=1e-6, atol=1e-9)


def test_in_float32():
    task = mg.DiagonalQuadratic(*(x.astype(np.float32) for x in (DIAGONAL.eigenvalues, DIAGONAL.w0)))
    phi = mg.Momentum.Phi(np.array(0.2, "float32"), np.array(0.4, "float32"))
    found = mg.minimise(task, mg.Momentum(), mg.LogFinal(), phi, steps=3, method="Newton", tolerance=1e-4)
    exact = mg.minimise(DIAGONAL, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(0.2, 0.4), steps=3, method="Newton")
    assert found.phi.eta.dtype == np.float32
    np.testing.assert_allclose(list(found.phi), list(exact.phi), rtol=1e-3)


def test_some_can_be_held():
    phi = mg.Momentum.Phi(0.24, 0.5)  # near a minimum, of several
    task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    given = (task, mg.Momentum(), mg.LogFinal(), phi)
    found = mg.minimise(*given, steps=3, method="Newton", held=("mu",))
    by_gradients = mg.minimise(*given, steps=3, held=("mu",))
    assert (found.names, found.phi.mu) == (("log_eta",), 0.5)
    assert found.phi.eta == pytest.approx(by_gradients.phi.eta, rel=1e-6)
