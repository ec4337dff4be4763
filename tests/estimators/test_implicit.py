"""The gradient at the inner optimum: closed forms, the limit of the unrolled one, and what is said where it is none."""

import numpy as np
import pytest

import metagrad as mg

GD = mg.GradientDescent()
SOLVERS = ["cg", "dense", "neumann"]


def with_solver(solver, **options):
    return mg.Implicit(solver, step=0.2 if solver == "neumann" else None, **options)


def ridge(seed, count=3, n=12, d=4, dtype="float64"):
    """Return a ridge regression with a log penalty, tuned on held-out data, and its data."""
    r = np.random.default_rng(seed)
    x, y, held, z = (r.standard_normal(s).astype(dtype) for s in ((count, n, d), (count, n), (count, 9, d), (count, 9)))

    def loss(w, theta):
        off = np.einsum("bnd,bd->bn", x, w) - y
        return np.mean(off * off, axis=-1) / 2 + np.sum(np.exp(theta) * w * w, axis=-1) / 2

    def validation(w):
        return np.mean((np.einsum("bnd,bd->bn", held, w) - z) ** 2, axis=-1) / 2

    task = mg.FunctionTask(loss, np.zeros((count, d), dtype), validation=validation, theta=np.array(0.0, dtype))
    return task, (x, y, held, z)


def closed_form(data, log_penalty):
    """Return the held-out loss of each ridge solution and its derivative in the log penalty, by linear algebra."""
    x, y, held, z = (a.astype(float) for a in data)
    values, slopes = [], []
    for X, t, Xv, tv in zip(x, y, held, z, strict=True):
        A = X.T @ X / len(t) + np.exp(log_penalty) * np.eye(X.shape[1])
        w = np.linalg.solve(A, X.T @ t / len(t))
        off = Xv @ w - tv
        values.append(np.mean(off**2) / 2)
        slopes.append(-(Xv.T @ off / len(tv)) @ np.linalg.solve(A, np.exp(log_penalty) * w))
    return np.array(values), np.array(slopes)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("solver", SOLVERS)
def test_ridge_in_closed_form(solver, seed):
    task, data = ridge(seed)
    values, slopes = closed_form(data, -1.5)
    phi = mg.Joint(rule=0.3, task=np.array(-1.5))
    found = with_solver(solver)(task, GD, mg.Final("validation"), phi, steps=2000)
    assert found.ok, found.report()
    np.testing.assert_allclose(found.value.to_float(), values, rtol=1e-9)
    np.testing.assert_allclose(found.grad.task.to_float(), slopes.mean(), rtol=1e-7)
    assert found.grad.rule.eta.to_float() == 0
    each = with_solver(solver, per_task=True)
    own = each(task, GD, mg.Final("validation"), mg.Joint(np.full(3, 0.3), np.full(3, -1.5)), steps=2000)
    np.testing.assert_allclose(own.grad.task.to_float(), slopes, rtol=1e-7)


@pytest.mark.parametrize("objective", [mg.Final("validation"), mg.LogFinal("validation")])
def test_the_limit_of_the_unrolled_gradient(objective):
    task, _ = ridge(5)
    phi = mg.Joint(rule=0.3, task=np.array(-1.0))
    unrolled = mg.meta_gradient(task, GD, objective, phi, steps=3000)
    found = mg.meta_gradient(task, GD, objective, phi, steps=3000, method="implicit")
    assert found.ok
    np.testing.assert_allclose(found.grad.task.to_float(), unrolled.grad.task.to_float(), rtol=1e-8)


def test_a_series_of_terms_is_backpropagation_of_as_many_steps_at_the_optimum():
    """J terms with the step size of the rule: windows of J steps that begin at the optimum."""
    task, _ = ridge(2)
    phi = mg.Joint(rule=0.3, task=np.array(-1.0))
    at = mg.rollout(task, GD, phi, steps=4000, with_end=True)[1]
    series = mg.Implicit("neumann", step=0.3, limit=7)(task, GD, mg.Final("validation"), phi, steps=4000)
    unrolled = mg.Reverse()(task, GD, mg.Final("validation"), phi, steps=7, at=at)
    np.testing.assert_allclose(series.grad.task.to_float(), unrolled.grad.task.to_float(), rtol=1e-8)
    assert {mg.Status.from_code(c) for c in series.status} == {mg.Status.INNER_UNSOLVED}


@pytest.mark.parametrize("seed", range(2))
def test_trees_of_parameters_and_of_theta(seed):
    """A penalty for each layer of a small network, against differences of the optimum itself."""
    r = np.random.default_rng(seed)
    x, y = r.standard_normal((2, 20, 3)), r.standard_normal((2, 20))
    w0 = {"first": r.standard_normal((2, 3, 2)) * 0.5, "last": [r.standard_normal((2, 2)) * 0.5]}

    def loss(w, theta):
        out = np.einsum("bnh,bh->bn", np.tanh(np.einsum("bnd,bdh->bnh", x, w["first"])), w["last"][0])
        norms = [np.sum(w["first"] ** 2, axis=(1, 2)), np.sum(w["last"][0] ** 2, axis=1)]
        return np.mean((out - y) ** 2, axis=-1) + np.exp(theta[0]) * norms[0] + np.exp(theta[1]) * norms[1]

    def held(w):
        return np.sum(w["first"], axis=(1, 2)) ** 2 + np.sum(w["last"][0], axis=1)

    theta = (np.array(-4.0), np.array(-3.5))
    task = mg.FunctionTask(loss, w0, validation=held, theta=theta)
    ask = (mg.Momentum(), mg.Final("validation"))
    rule = mg.Momentum.Phi(0.1, 0.8)
    for solver in ("cg", "dense"):
        found = mg.Implicit(solver)(task, *ask, mg.Joint(rule, theta), steps=3000)
        assert found.ok, found.report()
        for k in range(2):

            def value(by, k=k):
                moved = tuple(np.asarray(t + by * (i == k)) for i, t in enumerate(theta))
                return mg.value(task, *ask, mg.Joint(rule, moved), steps=3000).value.to_float().mean()

            slope = (value(1e-4) - value(-1e-4)) / 2e-4
            np.testing.assert_allclose(found.grad.task[k].to_float(), slope, rtol=1e-5, atol=1e-8)


def test_the_error_of_an_unconverged_inner_problem_falls_like_its_distance():
    """Bounded: |error| <= C |w_T - w*|; here on a quadratic, whose every step shrinks the distance by one factor."""
    task = mg.FunctionTask(
        lambda w, theta: np.sum((w - theta) ** 2, axis=-1) / 2, np.full((1, 1), 3.0), theta=np.array(1.0)
    )
    errors = []
    for steps in (5, 10, 20, 40):
        found = mg.Implicit()(task, GD, mg.Final("squared_norm"), mg.Joint(0.2, np.array(1.0)), steps=steps)
        errors.append(abs(found.grad.task.to_float() - 2.0))
        w = 1 + 2 * 0.8**steps
        np.testing.assert_allclose(errors[-1], 2 * (w - 1), rtol=1e-9)  # 2 w_T - 2
        assert (mg.Status.from_code(found.status[0]) is mg.Status.OK) == (0.8**steps <= 1e-6)
        # to first order the objective w^2 would go down by 2 w (w - 1)
        assert f"would change by 10^{np.log10(2 * w * (w - 1)):.3g}, to first order" in found.report()
    assert errors[2] / errors[3] == pytest.approx(0.8**-20, rel=1e-6)


def test_any_size():
    """Objectives of 1e-300 and 1e+300 beside each other: their logarithms have slopes that floats do not hold."""
    scale = np.array([[1e-150], [1e150]])
    task = mg.FunctionTask(
        lambda w, theta: np.sum((w - theta) ** 2, axis=-1),
        np.zeros((2, 1)),
        validation=lambda w: np.sum((scale * w) ** 2, axis=-1),
        theta=np.array(2.0),
    )
    found = mg.Implicit()(task, GD, mg.LogFinal("validation"), mg.Joint(0.4, np.array(2.0)), steps=60)
    assert found.ok, found.report()
    np.testing.assert_allclose(found.grad.task.to_float(), 1.0 / 60, rtol=1e-9)  # (1/T) d log theta^2 = 1/T


def test_float32():
    task, data = ridge(1, dtype="float32")
    phi = mg.Joint(rule=0.3, task=np.array(-1.0, np.float32))
    found = mg.Implicit()(task, GD, mg.Final("validation"), phi, steps=800)
    assert found.ok, found.report()
    assert found.grad.task.dtype == np.float32
    np.testing.assert_allclose(found.grad.task.to_float(), closed_form(data, -1.0)[1].mean(), rtol=1e-3)


def status_of(found):
    return {mg.Status.from_code(code).name for code in found.status}


def test_what_is_no_optimum_is_said():
    task, _ = ridge(0)
    phi = mg.Joint(rule=0.1, task=np.array(-1.0))
    assert status_of(mg.Implicit()(task, GD, mg.Final("validation"), phi, steps=5)) == {"INNER_NOT_STATIONARY"}
    assert mg.Implicit(stationary=0.99)(task, GD, mg.Final("validation"), phi, steps=60).ok


@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_an_indefinite_hessian_is_said(solver):
    """w = 0 is a saddle of (w_1^2 - w_2^2)/2 + w_2^4/4, at which descent along w_1 stays."""

    def loss(w, theta):
        return (w[:, 0] - theta) ** 2 / 2 - w[:, 1] ** 2 / 2 + w[:, 1] ** 4 / 4

    task = mg.FunctionTask(loss, np.array([[1.0, 0.0]]), theta=np.array(0.5))
    slanted = mg.FunctionTask(loss, np.array([[1.0, 0.0]]), validation=lambda w: w[:, 0] + w[:, 1], theta=np.array(0.5))
    phi = mg.Joint(rule=0.5, task=np.array(0.5))
    assert "INNER_INDEFINITE" in status_of(mg.Implicit(solver)(slanted, GD, mg.Final("validation"), phi, steps=80))
    blind = mg.Implicit(solver)(task, GD, mg.Final("squared_norm"), phi, steps=80)
    assert ("INNER_INDEFINITE" in status_of(blind)) == (solver == "dense")  # only this one looks in all directions


def test_conjugate_gradients_that_do_not_converge_are_said():
    curvatures = np.geomspace(1.0, 1e4, 30)
    task = mg.FunctionTask(
        lambda w, theta: np.sum(curvatures * (w - theta) ** 2, axis=-1) / 2, np.zeros((1, 30)), theta=np.array(1.0)
    )
    phi = mg.Joint(rule=1.5e-4, task=np.array(1.0))
    ask = (task, GD, mg.Final("squared_norm"), phi)
    assert status_of(mg.Implicit(limit=5)(*ask, steps=150_000)) == {"INNER_UNSOLVED"}
    assert mg.Implicit(limit=500)(*ask, steps=150_000).ok


def test_a_series_with_too_large_a_step_is_said():
    task, _ = ridge(0)
    phi = mg.Joint(rule=0.3, task=np.array(-1.0))
    found = mg.Implicit("neumann", step=5.0)(task, GD, mg.Final("validation"), phi, steps=2000)
    assert status_of(found) == {"INNER_UNSOLVED"}


def test_a_run_that_diverges_keeps_its_status():
    task, _ = ridge(0)
    found = mg.Implicit()(task, GD, mg.Final("validation"), mg.Joint(50.0, np.array(-1.0)), steps=1000)
    assert not found.ok
    assert status_of(found) & {"STATE_OVERFLOW", "OBJECTIVE_OVERFLOW"}


def test_through_the_outer_loop():
    task, data = ridge(2)
    trainer = mg.MetaTrainer(task, GD, mg.Final("validation"), 400, estimator=mg.Implicit(), scale=3.0)
    run = trainer.run(mg.Joint(0.3, np.array(-0.5)), 60)
    grid = np.linspace(-4, 3, 400)
    best = min(closed_form(data, t)[0].mean() for t in grid)
    last = run.phi[-1, 1]
    assert closed_form(data, float(last))[0].mean() == pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phi": mg.GradientDescent.Phi(0.1)}, "without meta-parameters of the task"),
        ({"objective": mg.Mean("validation")}, "one of the last iterate"),
        (
            {"task": mg.FunctionTask(
                lambda w, theta, sample: np.sum((w - theta * sample) ** 2, axis=-1), np.zeros((1, 1)),
                theta=np.array(1.0), sampler=lambda rng, t: rng.random(),
            )},
            "draws a sample for every step",
        ),
    ],
)  # fmt: skip
def test_what_has_no_inner_optimum_is_refused(change, message):
    given = {
        "task": ridge(0)[0], "rule": GD, "objective": mg.Final("validation"), "phi": mg.Joint(0.1, np.array(0.0)),
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        mg.Implicit()(**given, steps=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "gmres"}, "solver is 'gmres'"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"limit": 0}, "limit is 0"),
        ({"tolerance": 1e300}, r"tolerance is 1e\+300; expected a finite number above 0 and below 1"),
        ({"stationary": 1.0}, "stationary is 1.0"),
        ({"solver": "neumann"}, "step is None; expected a step size"),
        ({"step": 0.1}, "step is 0.1 with solver='cg'"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        mg.Implicit(**options)


def test_a_dense_solve_that_is_too_large():
    task = mg.FunctionTask(lambda w, theta: np.sum((w - theta) ** 2, axis=-1), np.zeros((1, 9000)), theta=np.array(1.0))
    with pytest.raises(ValueError, match="half a GiB"):
        mg.Implicit("dense")(task, GD, mg.Final("squared_norm"), mg.Joint(0.4, np.array(1.0)), steps=40)


def optimum_at_theta(curvatures, start, validation=None):
    """Return sum_i h_i (w_i - theta_i)^2 from a start: the optimum is theta, and d (|w*|^2/2)/d theta = theta."""
    h = np.asarray(curvatures)
    square = validation or (lambda w: np.sum(w * w, axis=-1) / 2)
    start = np.asarray(start, h.dtype)
    theta = np.full(len(h), 0.5, h.dtype)
    return mg.FunctionTask(
        lambda w, theta: np.sum(h * (w - theta) ** 2, axis=-1), start, validation=square, theta=theta
    )


@pytest.mark.parametrize("solver", ["cg", "dense"])
@pytest.mark.parametrize(
    ("task", "rule", "eta", "steps"),
    [
        (optimum_at_theta([1.0, 1e-7], [[1.0, 1.0]]), GD, 0.9, 100),  # a flat direction has not moved
        (optimum_at_theta([0.5, 0.5], [[1e6, 1e6]]), GD, 0.5, 20),  # a start so far away that all seems near
        (optimum_at_theta(np.float32([1000, 1]), [[5.0, 0.0]]), GD, 5e-4, 500),
        (optimum_at_theta([0.5, 0.5], [[1e4, 1e4]]), mg.SGDW(), None, 500),  # its decay leads elsewhere
    ],
)
def test_a_small_inner_gradient_is_no_proof_of_an_optimum(task, rule, eta, steps, solver):
    theta = task.theta
    phi = mg.Joint(mg.SGDW.Phi(0.5, 0.0, 1e-3) if eta is None else eta, theta)
    found = mg.Implicit(solver)(task, rule, mg.Final("validation"), phi, steps=steps)
    assert status_of(found) == {"INNER_NOT_STATIONARY"}


def test_an_entry_that_is_held_is_said():
    """The optimum over the others is another one, where the entry that is held pulls at them."""
    task = mg.FunctionTask(
        lambda w, theta: ((w[:, 0] - theta) ** 2 + (w[:, 1] - w[:, 0]) ** 2) / 2,
        np.array([[0.0, 1.0]]), theta=np.array(1.0), validation=lambda w: w[:, 0] ** 2 / 2,
    )  # fmt: skip
    masked = mg.Masked(GD, np.array([True, False]))
    found = mg.Implicit()(task, masked, mg.Final("validation"), mg.Joint(0.3, np.array(1.0)), steps=300)
    assert status_of(found) == {"INNER_NOT_STATIONARY"}
    with pytest.raises(ValueError, match="Stopped, which ends at a ball"):
        mg.Implicit()(
            task,
            mg.Stopped(GD, 1.0, np.array([1.0, 0.0])),
            mg.Final("validation"),
            mg.Joint(0.3, np.array(1.0)),
            steps=3,
        )


@pytest.mark.parametrize("steps", [40, 100, 2000])
def test_a_logarithm_of_a_loss_that_vanishes_at_the_optimum_is_said(steps):
    task = optimum_at_theta([0.5, 0.5], [[1.0, 2.0]])
    found = mg.Implicit()(task, GD, mg.LogFinal(), mg.Joint(0.2, task.theta), steps=steps)
    assert not found.ok
    assert "nan" not in found.report()
    scaled = mg.FunctionTask(
        lambda w, theta: np.sum(theta * w**2, axis=-1), np.ones((1, 2)), theta=np.ones(2), degree=2
    )
    assert not mg.Implicit()(scaled, GD, mg.LogFinal(), mg.Joint(0.2, np.ones(2)), steps=steps).ok


def test_a_residual_that_does_not_bound_the_error_is_found_out():
    h, far = np.array([1.0, 1e-11]), np.array([1.0, 1e10])
    task = mg.FunctionTask(
        lambda w, theta: np.sum(h * (w - theta * far) ** 2, axis=-1), np.zeros((1, 2)), theta=np.array(1.0),
        validation=lambda w: w[:, 0] + 9e-11 * w[:, 1],
    )  # fmt: skip
    phi = mg.Joint(np.array([0.5, 0.5e11]), np.array(1.0))
    assert not mg.Implicit()(task, GD, mg.Final("validation"), phi, steps=5).ok
    dense = mg.Implicit("dense")(task, GD, mg.Final("validation"), phi, steps=5)
    assert dense.ok, dense.report()
    np.testing.assert_allclose(dense.grad.task.to_float(), 1.9, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-200, 1e-25, 1.0, 1e160])
@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_inner_losses_of_any_size(solver, size):
    def loss(w, theta):
        return size * np.sum(np.sqrt(1 + (w - theta) ** 2), axis=-1)

    theta = np.array([1.0, 2.0])
    task = mg.FunctionTask(loss, np.zeros((1, 2)), theta=theta, validation=lambda w: np.sum(w * w, axis=-1) / 2)
    ask = task, GD, mg.Final("validation"), mg.Joint(0.5 / size, theta)
    assert not mg.Implicit(solver)(*ask, steps=2).ok
    found = mg.Implicit(solver)(*ask, steps=200)
    assert found.ok, found.report()
    np.testing.assert_allclose(found.grad.task.to_float(), theta, rtol=1e-6)


@pytest.mark.parametrize("solver", ["cg", "dense", "neumann"])
def test_a_bad_task_leaves_its_neighbours_alone(solver):
    """One diverges, one is a saddle, one is flat; the other two are as they are alone."""
    h = np.array([[1.0, 0.5], [9.0, 1.0], [1.0, -1e-3], [1.0, 0.0], [0.7, 1.0]])

    def loss(w, theta):
        return np.sum(h * (w - theta) ** 2, axis=-1) / 2

    task = mg.FunctionTask(loss, np.full((5, 2), 3.0), theta=np.array(1.0), validation=lambda w: np.sum(w * w, axis=-1))
    each = with_solver(solver, per_task=True)
    found = each(task, GD, mg.Final("validation"), mg.Joint(np.full(5, 0.9), np.full(5, 1.0)), steps=600)
    assert list(found.status == 0) == [True, False, False, False, True]
    np.testing.assert_allclose(found.grad.task.to_float()[[0, 4]], 4.0, rtol=1e-6)


def test_a_start_at_the_optimum_to_rounding():
    task = mg.FunctionTask(
        lambda w, theta: np.sum((w - theta) ** 2, axis=-1), np.full((1, 1), 0.1 * 3), theta=np.array(0.3)
    )
    found = mg.Implicit()(task, GD, mg.Final("squared_norm"), mg.Joint(0.3, np.array(0.3)), steps=10)
    assert found.ok, found.report()
    np.testing.assert_allclose(found.grad.task.to_float(), 0.6)
