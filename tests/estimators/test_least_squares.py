"""Least squares: the engine against the closed forms, also where values leave float64, and SGD against its theory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metagrad as mg
from metagrad.kernels import fused_step
from metagrad.theory import sgd
from metagrad.xp import rng
from tests.estimators.test_agreement import worst_difference
from tests.strategies import phi_of, random_quadratic

MEASURES = ["loss", "train", "excess", "validation", "risk", "squared_norm"]
RULE, Phi = mg.GradientDescent(), mg.GradientDescent.Phi


def random_task(n, d, seed, start=False, **options):
    """Two tasks, with a start away from zero where asked for: the closed form covers any."""
    task = mg.random_least_squares(2, 2 * n, d, sigma=0.8, seed=seed, split=0.5, **options)
    w0 = rng(seed, "start").standard_normal((2, d)).astype(task.X.dtype) if start else None
    return mg.LeastSquares(task.X, task.y, w0=w0, validation=task.validation, w_star=task.w_star)


def spectrum_of(task):
    return np.linalg.eigvalsh(np.einsum("bni,bnj->bij", task.X, task.X) / task.n)


@given(
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(0, 2**31),
    st.booleans(),
    st.floats(0.02, 3.0),
    st.integers(1, 30),
    st.sampled_from(MEASURES),
)
def test_engine_and_closed_form_agree(n, d, seed, start, size, steps, measure):
    """Step sizes from 0.02/L to 3/L, n below, at and above d: to what rounding leaves of value and derivative.

    The excess is small beside the weights, and the derivative sums terms of both signs, each up to t L f: so errors
    are measured against the largest loss on the way, that at the start included.
    """
    task = random_task(n, d, seed, start)
    L = spectrum_of(task)[:, -1]
    phi, objective = Phi(size / L), mg.Final(measure)
    ours, exact = (m(per_task=True)(task, RULE, objective, phi, steps=steps) for m in (mg.Reverse, mg.ClosedForm))
    # One step of 1/L solves a task of one dimension: then what is left is rounding, and is said to be.
    assert np.isin(ours.status, [mg.Status.OK.code, mg.Status.GRADIENT_ROUNDING.code]).all()
    assert exact.ok
    growth = max(1.0, abs(1 - size)) ** (2 * steps)
    at_start = mg.Final(measure).measure.of(task, task.w0, None) + task.train_loss(task.w0) * (1 + 1 / L)
    scale = exact.value.to_float() + at_start * growth
    assert (np.abs(ours.value.to_float() - exact.value.to_float()) <= 1e-13 * steps * scale).all()
    slope_error = np.abs(ours.grad.eta.to_float() - exact.grad.eta.to_float())
    assert (slope_error <= 1e-12 * steps**2 * L * scale).all()


@pytest.mark.parametrize(("n", "d"), [(40, 20), (12, 30), (20, 20)])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("objective", [mg.Final, mg.LogFinal])
def test_well_conditioned_cases_agree_to_the_last_digits(n, d, measure, objective):
    task = random_task(n, d, seed=3)
    found = [
        mg.meta_gradient(task, RULE, objective(measure), 0.2, steps=15, method=m) for m in ("reverse", "closed_form")
    ]
    assert worst_difference(found[0].value, found[1].value) <= 1e-12
    assert worst_difference(*(f.grad.eta.reshape((1,)) for f in found)) <= 1e-11


@pytest.mark.parametrize("objective", [mg.LogExcess(), mg.LogExcess(1e-3), mg.LogExcess(np.array([1e-3, 2e-3]))])
@pytest.mark.parametrize("kind", ["shared", "task", "schedule", "schedule_task"])
def test_log_excess_and_schedules(objective, kind):
    task = random_task(30, 10, seed=4)
    shape = {"shared": (), "task": (2,), "schedule": (9,), "schedule_task": (9, 2)}[kind]
    eta = 0.3 * rng(1, kind).uniform(0.5, 1.5, size=shape)
    rule = mg.Scheduled(RULE) if kind.startswith("schedule") else RULE
    found = [
        method(per_task=kind.endswith("task"))(task, rule, objective, Phi(eta), steps=9)
        for method in (mg.Reverse, mg.Forward, mg.ClosedForm)
    ]
    for other in found[1:]:
        assert worst_difference(found[0].value, other.value) <= 1e-12
        assert worst_difference(found[0].grad.eta.reshape((-1,)), other.grad.eta.reshape((-1,))) <= 1e-11


def test_a_schedule_a_task_on_quadratics_too():
    """The closed form leads with the task, phi with time: (T, B) is a transpose of it, not a reshape."""
    task, eta = random_quadratic(3, 4, seed=1), rng(2).uniform(0.2, 0.9, size=(5, 3))
    a, b = (
        method(per_task=True)(task, mg.Scheduled(RULE), mg.LogFinal(), Phi(eta), steps=5)
        for method in (mg.Reverse, mg.ClosedForm)
    )
    assert worst_difference(a.grad.eta, b.grad.eta) <= 1e-12


@pytest.mark.parametrize("eta", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("steps", [1000, 3000])
def test_beyond_the_range_of_floats(eta, steps):
    """The excess and its derivative from 1e-600 to 1e+6000: the centred task against the theory of the task itself."""
    task = mg.random_least_squares(2, 40, 10, sigma=1.0, seed=5)
    for objective in (mg.Final("excess"), mg.LogExcess()):
        ours = mg.Reverse()(task.centred(), RULE, objective, Phi(eta), steps=steps)
        exact = mg.ClosedForm()(task, RULE, objective, Phi(eta), steps=steps)
        assert ours.ok
        assert worst_difference(ours.value, exact.value) <= 1e-14 * steps * 10
        assert worst_difference(ours.grad.eta.reshape((1,)), exact.grad.eta.reshape((1,))) <= 1e-14 * steps * 100
    # at 6, far beyond 2/L, also the loss and the risk, in which nothing else counts
    far = [mg.ClosedForm()(task, RULE, mg.LogFinal(m), Phi(6.0), steps=steps).grad.eta.to_float() for m in MEASURES[:3]]
    np.testing.assert_allclose(far, far[0], rtol=1e-12)
    plain = mg.Reverse()(task, RULE, mg.Final("risk"), Phi(6.0), steps=steps)
    assert not plain.ok, "an affine step keeps no exponents: overflow is a Status"


@pytest.mark.parametrize(("dtype", "roundings"), [(np.float32, 8), (np.float16, 1)])  # float16 is carried in float32
@pytest.mark.parametrize("seed", range(3, 9))
def test_narrow_dtypes(dtype, roundings, seed):
    """Value and derivative, of order 0.1 to 1, are right to a few units in the last place of 1."""
    task = random_task(20, 6, seed=seed, dtype=dtype)
    for measure in MEASURES:
        phi = Phi(np.asarray(0.25, dtype=dtype))
        ours = mg.Reverse()(task, RULE, mg.LogFinal(measure), phi, steps=10)
        exact = mg.ClosedForm()(task, RULE, mg.LogFinal(measure), phi, steps=10)
        assert ours.ok
        tolerance = roundings * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(ours.value.to_float(), exact.value.to_float(), rtol=0, atol=tolerance)
        assert float(ours.grad.eta.to_float()) == pytest.approx(float(exact.grad.eta.to_float()), rel=0, abs=tolerance)


CASES = {
    "with replacement": ({"batch_size": 1}, 0.1),
    "larger batches": ({"batch_size": 4}, 0.2),
    "without replacement": ({"batch_size": 4, "replacement": False}, 0.25),
    "the full batch, drawn": ({"batch_size": 6, "replacement": False}, 0.3),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("measure", ["train", "excess", "validation", "risk"])
def test_the_average_over_seeds_is_the_theory_of_sgd(name, measure):
    """3000 runs on one sample: values and derivatives within four standard errors; GD's would be refused."""
    (options, eta), count, steps = CASES[name], 3000, 8
    draw = rng(7, "sgd")
    X, y, w0, w_star = (draw.standard_normal(shape) for shape in ((6, 3), 6, 3, 3))
    X_val, y_val = draw.standard_normal((5, 3)), draw.standard_normal(5)
    task = mg.LeastSquares(X, np.tile(y, (count, 1)), w0=w0, validation=(X_val, y_val), w_star=w_star, **options)
    found = mg.Reverse(per_task=True)(task, RULE, mg.Final(measure), Phi(np.full(count, eta)), steps=steps, seed=2)
    problem = sgd.SgdProblem(X, y, w0=w0, **options)
    which = {
        "train": sgd.train_measure(problem),
        "excess": sgd.excess_measure(problem),
        "validation": sgd.validation_measure(problem, X_val, y_val),
        "risk": sgd.risk_measure(problem, w_star),
    }[measure]
    ((value, slope),) = sgd.values_and_slopes(problem, [which], eta, steps)
    exact = np.array([value[-1].to_float(), slope[-1].to_float()])
    numbers = np.array([found.value.to_float(), found.grad.eta.to_float()])
    if "full" in name:
        np.testing.assert_allclose(numbers, np.tile(exact[:, None], count), rtol=1e-10)
        return
    error = numbers.std(axis=1, ddof=1) / np.sqrt(count)
    assert (np.abs(numbers.mean(axis=1) - exact) <= 4 * error).all()
    whole = mg.LeastSquares(X, y, w0=w0, validation=(X_val, y_val), w_star=w_star)
    of_gd = mg.ClosedForm()(whole, RULE, mg.Final(measure), Phi(eta), steps=steps)
    assert abs(of_gd.value.to_float()[0] - numbers[0].mean()) > 4 * error[0]


def test_the_gradient_of_a_schedule_of_sgd():
    count, steps = 3000, 5
    draw = rng(8, "schedule")
    X, y, schedule = draw.standard_normal((5, 2)), draw.standard_normal(5), np.linspace(0.3, 0.1, steps)
    task = mg.LeastSquares(X, np.tile(y, (count, 1)), batch_size=2)
    per_run = np.tile(schedule[:, None], (1, count))
    found = mg.Reverse(per_task=True)(task, mg.Scheduled(RULE), mg.Final("train"), Phi(per_run), steps=steps, seed=3)
    problem = sgd.SgdProblem(X, y, batch_size=2)
    exact = sgd.schedule_gradient(problem, sgd.train_measure(problem), schedule).to_float()
    slopes = found.grad.eta.to_float()
    assert (np.abs(slopes.mean(axis=1) - exact) <= 4 * slopes.std(axis=1, ddof=1) / np.sqrt(count)).all()


@pytest.mark.parametrize(
    ("task", "rule", "objective", "phi", "options", "message"),
    [
        ({"batch_size": 2}, RULE, mg.Final(), 0.1, {}, "batch_size=2; expected the full batch.*metagrad.theory.sgd"),
        ({}, RULE, mg.MeanLog(), 0.1, {}, "a MeanLog; expected one of Final, LogFinal, LogExcess on a LeastSquares"),
        ({}, RULE, mg.Final(), np.full(2, 0.1), {}, r"eta of shape \(2,\) with per_task=False"),
        ({}, RULE, mg.Final(), 0.1, {"gradient": "stop_gradient"}, "gradient is 'stop_gradient'"),
        ({}, mg.Scheduled(RULE), mg.Final("risk"), np.full(3, 0.1), {}, "'risk' with a schedule"),
        ({}, mg.Stopped(RULE, np.inf), mg.Final(), 0.1, {}, "a Stopped; expected GradientDescent"),
        ({}, RULE, mg.Final("validation"), 0.1, {}, "validation is None"),
    ],
)
def test_what_the_closed_form_does_not_cover(task, rule, objective, phi, options, message):
    data = mg.LeastSquares(np.eye(4)[:, :3], np.ones(4), w_star=np.ones(3), **task)
    with pytest.raises(ValueError, match=message):
        mg.meta_gradient(data, rule, objective, phi, steps=3, method="closed_form", **options)


@pytest.mark.parametrize("objective", [mg.Final("risk"), mg.LogExcess(), mg.WeightedSum(measure="train")], ids=repr)
@pytest.mark.parametrize("kind", ["shared", "coordinate", "task", "schedule", "schedule_task"])
@pytest.mark.parametrize("scaling", ["auto", "none"])
def test_the_fused_step_is_the_tapes_step(objective, kind, scaling):
    for shared_design in (False, True):
        task = random_task(12, 5, seed=9)
        task = mg.LeastSquares(task.X[0], task.y, w_star=task.w_star) if shared_design else task
        optimizer, phi, per_task = phi_of(kind, task, 7, 0.2)
        for gradient in ("full", "stop_gradient"):
            for method in (mg.Reverse, mg.Forward):
                fused, taped = (
                    method(gradient=gradient, scaling=scaling, per_task=per_task, fused=f)(
                        task, optimizer, objective, phi, steps=7
                    )
                    for f in (True, False)
                )
                assert worst_difference(fused.value, taped.value) <= 1e-12
                assert worst_difference(fused.grad.eta, taped.grad.eta) <= 1e-11


def test_minibatches_have_no_fused_step():
    assert fused_step(mg.LeastSquares(np.ones((3, 1)), np.ones(3)), RULE, "full") is not None
    assert fused_step(mg.LeastSquares(np.ones((3, 1)), np.ones(3), batch_size=2), RULE, "full") is None
