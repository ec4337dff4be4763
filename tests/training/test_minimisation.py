"""The meta-parameters at which an objective is least: what theory says they are, from one plain start."""

import re

import numpy as np
import pytest

import metagrad as mg
from metagrad.files import read_npz, write_npz

METHODS = ["BFGS", "L-BFGS-B", "CG", "TNC", "SLSQP"]
SCHEDULED = mg.Scheduled(mg.GradientDescent())


def limit(gamma, nodes=300, dtype="float64"):
    """Return least squares without noise in the limit d/n = gamma < 1: Gauss nodes of s times its law."""
    angles = np.arange(1, nodes + 1) * np.pi / (nodes + 1)
    s = 1 + gamma + 2 * np.sqrt(gamma) * np.cos(angles)
    weights = np.sin(angles) ** 2 / s
    w0 = np.sqrt(2 * weights / s)[None]  # the loss is sum_i s_i w_i^2 / 2, the risk without the s_i
    return mg.DiagonalQuadratic(s.astype(dtype), w0.astype(dtype))


def best_steps(gamma, steps):
    """Return the best steps of least squares without noise (Pedregosa and Scieur 2020, as a schedule)."""
    k = np.arange(1, steps + 1)
    return np.sort(1 / (1 + gamma + 2 * np.sqrt(gamma) * np.cos(k * np.pi / (steps + 1))))


@pytest.mark.parametrize("method", METHODS)
def test_the_best_schedule_is_found(method):
    found = mg.minimise(
        limit(0.25), SCHEDULED, mg.Final(), np.linspace(0.6, 0.9, 4), steps=4, method=method, tolerance=1e-8
    )
    np.testing.assert_allclose(np.sort(found.phi.eta), best_steps(0.25, 4), rtol=1e-5)
    assert found.logarithm
    assert found.names == tuple(f"log_eta[{k}]" for k in range(4))
    assert found.evaluations == len(found.path) == len(found.value_log2) == len(found.status)
    assert found.value_log2.min() == pytest.approx(float(found.value.log2abs()[0]), abs=1e-12)
    assert re.match(r"Minimum\((NOT )?converged.*meta-gradients\)$", repr(found), re.DOTALL)


@pytest.mark.parametrize("gamma", [0.25, 0.5])
def test_to_many_digits(gamma):
    found = mg.minimise(
        limit(gamma), SCHEDULED, mg.Final(), np.linspace(0.5, 0.8, 3), steps=3, tolerance=1e-13, method="BFGS"
    )
    np.testing.assert_allclose(np.sort(found.phi.eta), best_steps(gamma, 3), rtol=3e-8)


def test_in_float32():
    task = limit(0.25, dtype="float32")
    start = np.linspace(0.6, 0.9, 3, dtype="float32")
    found = mg.minimise(task, SCHEDULED, mg.Final(), start, steps=3, tolerance=1e-4, most=30)
    assert found.phi.eta.dtype == np.float32
    np.testing.assert_allclose(np.sort(found.phi.eta), best_steps(0.25, 3), rtol=1e-2)


def test_objectives_far_out_of_range():
    task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    found = mg.minimise(task, mg.GradientDescent(), mg.Final(), 0.3, steps=1000)
    assert float(found.value.log10abs()[0]) < -400  # (1 - 0.4)^2000
    assert found.phi.eta == pytest.approx(0.4, rel=1e-3)
    begins = mg.minimise(task, mg.GradientDescent(), mg.Final(), 10.0, steps=200)  # explodes
    assert begins.value_log2[0] > 2000
    assert begins.phi.eta == pytest.approx(0.4, rel=2e-2)


def test_both_parts_and_held_ones():
    rule = mg.Unconstrained(mg.Momentum(), start=mg.Momentum.Phi(0.1, 0.5), fixed=("mu",))
    task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    held = mg.minimise(task, rule, mg.LogFinal(), rule.free(), steps=6)
    assert held.names == ("log_eta",)
    named = mg.minimise(task, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(0.1, 0.5), steps=6, held=("mu",))
    assert (named.names, named.phi.mu) == (("log_eta",), 0.5)
    assert named.phi.eta == pytest.approx(float(rule.phi(held.phi).eta), rel=1e-6)
    both = mg.minimise(task, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(0.1, 0.5), steps=3, most=30)
    assert not both.logarithm
    assert (
        float(both.value.to_float()[0])
        < mg.value(task, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(0.1, 0.5), steps=3).value.to_float().item()
    )


@pytest.mark.parametrize("method", ["BFGS", "Newton"])
def test_what_is_held_may_be_at_the_end_of_its_range(method):
    """Momentum held at 0 is gradient descent; of a schedule, a step may be held where no coordinate is."""
    task = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))
    plain = mg.minimise(task, mg.GradientDescent(), mg.Final(), 0.1, steps=5, method=method)
    held = mg.minimise(task, mg.Momentum(), mg.Final(), mg.Momentum.Phi(0.1, 0.0), steps=5, held=("mu",), method=method)
    assert held.phi.mu == 0.0
    assert held.phi.eta == pytest.approx(float(plain.phi.eta), rel=1e-8)
    rule = mg.Scheduled(mg.Momentum())
    start = mg.Momentum.Phi(np.full(3, 0.1), np.array([0.0, 0.5, 0.2]))
    found = mg.minimise(task, rule, mg.Final(), start, steps=3, held=("eta", "mu[0]"))
    np.testing.assert_array_equal(found.phi.eta, start.eta)
    assert found.phi.mu[0] == 0.0
    assert (found.phi.mu[1:] != start.mu[1:]).all()
    with pytest.raises(ValueError, match=r"mu is 0.0; expected a number in \(0, 1\)"):
        mg.minimise(task, mg.Momentum(), mg.Final(), mg.Momentum.Phi(0.1, 0.0), steps=3)


def test_a_decay_and_a_step_size():
    """Ridge regression with so many steps that the minimum is at the best decay of the validation loss."""
    draw = np.random.default_rng(3)
    x, xv, star = draw.standard_normal((1, 30, 5)), draw.standard_normal((1, 500, 5)), draw.standard_normal(5)
    y, yv = x @ star + 2.0 * draw.standard_normal((1, 30)), xv @ star + 2.0 * draw.standard_normal((1, 500))

    def loss(w, theta):
        off = np.einsum("bni,bi->bn", x, w) - y
        return np.mean(off * off, axis=-1) / 2 + np.exp(theta) * np.sum(w * w, axis=-1) / 2

    def validation(w):
        off = np.einsum("bni,bi->bn", xv, w) - yv
        return np.mean(off * off, axis=-1) / 2

    def of_ridge(theta):
        w = np.linalg.solve(x[0].T @ x[0] / 30 + np.exp(theta) * np.eye(5), x[0].T @ y[0] / 30)
        return float(np.mean((xv[0] @ w - yv[0]) ** 2) / 2)

    task = mg.FunctionTask(loss, np.zeros((1, 5)), validation=validation, theta=np.array(0.0))
    phi = mg.Joint(rule=0.1, task=np.array(0.0))
    found = mg.minimise(task, mg.GradientDescent(), mg.Final("validation"), phi, steps=60, most=30)
    assert found.names == ("rule.log_eta", "task")
    thetas = np.linspace(-6, 3, 400)
    assert float(found.value.to_float()[0]) <= min(map(of_ridge, thetas)) * (1 + 1e-6)


def test_the_task_alone_or_the_rule_alone():
    def loss(w, theta):
        return np.sum((w - theta) ** 2, axis=-1) / 2

    task = mg.FunctionTask(
        loss, np.zeros((1, 2)), validation=lambda w: np.sum((w - 3.0) ** 2, axis=-1), theta=np.ones(2)
    )
    phi = mg.Joint(rule=0.5, task=np.array([1.0, 2.0]))
    found = mg.minimise(task, mg.GradientDescent(), mg.Final("validation"), phi, steps=1, held=("rule",))
    assert found.phi.rule.eta == 0.5
    np.testing.assert_allclose(found.phi.task, [6.0, 6.0], rtol=1e-5)
    found = mg.minimise(task, mg.GradientDescent(), mg.Final("validation"), phi, steps=1, held=("task[0]", "rule"))
    assert found.phi.task[0] == 1.0
    assert found.phi.task[1] == pytest.approx(6.0, rel=1e-5)


def test_weights_of_a_network_are_moved_as_they_are():
    rule = mg.CoordinatewiseLSTM(hidden=(3,))
    phi = rule.init_meta(np.random.default_rng(0))
    task = mg.random_quadratics(2, 4, seed=1)
    found = mg.minimise(task, rule, mg.LogFinal(), phi, steps=5, most=3)
    assert found.path.shape[1] == sum(np.size(leaf) for leaf in mg.ad.leaves(phi))
    assert found.value_log2.shape == (found.evaluations,)


def test_nothing_leaves_its_range():
    task = mg.Quadratic(np.diag([1.0, 100.0]), np.ones(2))
    found = mg.minimise(task, mg.Adam(), mg.Final(), mg.Adam.Phi(1e-3), steps=20, most=40)
    for leaf in (found.phi.beta1, found.phi.beta2):
        assert 0 < leaf < 1
    assert found.phi.eta > 0


class InterruptError(Exception):
    pass


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(method, tmp_path):
    given = (limit(0.25), SCHEDULED, mg.Final(), np.linspace(0.6, 0.9, 3))
    settings = {"steps": 3, "method": method}
    whole = mg.minimise(*given, **settings)

    def interrupt(calls, f):
        if calls == 9:
            raise InterruptError

    path = tmp_path / "run.npz"
    with pytest.raises(InterruptError):
        mg.minimise(*given, **settings, checkpoint=path, progress=interrupt)
    assert len(read_npz(path, "test")[0]["f"]) == 9
    found = mg.minimise(*given, **settings, checkpoint=path)
    assert found.phi.eta.tobytes() == whole.phi.eta.tobytes()
    assert found.path.tobytes() == whole.path.tobytes()
    assert (found.logarithm, found.message) == (True, whole.message)


def test_the_checkpoint_of_another_run(tmp_path):
    path, task = tmp_path / "run.npz", limit(0.25)
    mg.minimise(task, mg.GradientDescent(), mg.Final(), 0.5, steps=3, checkpoint=path)
    with pytest.raises(ValueError, match=r"^minimise: checkpoint is .*, of another run \(phi .*0\.5.*0\.6"):
        mg.minimise(task, mg.GradientDescent(), mg.Final(), 0.6, steps=3, checkpoint=path)
    arrays, about = read_npz(path, "test")
    write_npz(path, {name: x for name, x in arrays.items() if name != "g"}, about)
    with pytest.raises(ValueError, match=r"^minimise: checkpoint is .*no checkpoint of minimise"):
        mg.minimise(task, mg.GradientDescent(), mg.Final(), 0.5, steps=3, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"^minimise: checkpoint is .*cannot be read"):
        mg.minimise(task, mg.GradientDescent(), mg.Final(), 0.5, steps=3, checkpoint=path)


TASK = mg.Quadratic(np.diag([1.0, 4.0]), np.ones(2))


@pytest.mark.parametrize(
    ("given", "error", "expected"),
    [
        ({"method": "Powell"}, ValueError, r"minimise: method is 'Powell'; expected .*'SLSQP'"),
        ({"tolerance": 0.0}, ValueError, r"minimise: tolerance is 0\.0; expected a number above 0"),
        ({"most": 0}, ValueError, r"minimise: most is 0"),
        ({"steps": 0}, ValueError, r"minimise: steps is 0"),
        ({"held": "eta"}, TypeError, r"minimise: held is 'eta'; expected a tuple of names. Write \('eta',\)"),
        ({"held": ("eta",)}, ValueError, r"at least one meta-parameter that is free"),
        ({"held": ("mu",)}, ValueError, r"minimise: held is 'mu'; expected a meta-parameter by its name"),
        ({"ranges": 1}, TypeError, r"minimise: ranges is"),
        ({"logarithm": "yes"}, TypeError, r"minimise: logarithm is"),
        ({"rule": mg.Momentum(), "phi": mg.Momentum.Phi(0.1, 0.0)}, ValueError, r"mu is 0\.0; expected a number in"),
        ({"phi": -0.1}, ValueError, r"eta"),
        ({"estimator": mg.Reptile()}, ValueError, r"minimise: estimator is Reptile\(.*of the objective's gradient"),
        (
            {"objective": mg.LogFinal(), "logarithm": True},
            ValueError,
            r"minimise: logarithm is True, and the objective",
        ),
        ({"phi": 1e3, "steps": 1000, "logarithm": False}, ValueError, r"minimise: phi is .*range of floats"),
        ({"task": mg.Quadratic(np.eye(2), np.zeros(2)), "objective": mg.LogFinal()}, ValueError, r"is a number"),
    ],
)
def test_clear_errors(given, error, expected):
    usual = {"task": TASK, "rule": mg.GradientDescent(), "objective": mg.Final(), "phi": 0.2, "steps": 10} | given
    with pytest.raises(error, match=expected):
        mg.minimise(**usual)


@pytest.mark.parametrize("method", [*METHODS, "Newton"])
def test_converged_says_that_the_slope_is_within_the_tolerance(method):
    """One step of one mode reaches 0 at 1/h, so that its log has no minimum: L-BFGS-B and TNC stop there content."""
    one = mg.Quadratic(np.array([[2.0]]), np.ones(1))
    never = mg.minimise(one, mg.GradientDescent(), mg.Final(), 0.3, steps=1, method=method)
    assert never.slope > 1e4
    assert never.converged == (method == "SLSQP")  # its tolerance is not one of the slope
    if method in ("L-BFGS-B", "TNC"):
        assert re.match(r"The slope is .*, above the tolerance\. ", never.message)
    there = mg.minimise(TASK, mg.GradientDescent(), mg.Final(), 0.1, steps=5, method=method, tolerance=1e-6)
    assert there.converged


def test_the_derivative_of_every_coordinate():
    rule = mg.Unconstrained(mg.Adam(), maps={"eps": "softplus"})
    free = rule.free(mg.Adam.Phi(0.1, 0.8, np.array([0.9, 0.99]), 0.5))
    h = 1e-6
    for k, slope in enumerate(rule.slopes(free)):
        up, down = (rule.phi(free._replace(**{free._fields[k]: free[k] + s * h})) for s in (1, -1))
        np.testing.assert_allclose(slope, (up[k] - down[k]) / (2 * h), rtol=1e-7)
