"""A meta-gradient that is rounding says so, against the closed forms; one that has its digits does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metagrad as mg
from metagrad.scaled import Scaled
from metagrad.system import begin
from metagrad.xp import move, rng
from tests.cupy_double import double

RULE, Phi = mg.GradientDescent(), mg.GradientDescent.Phi
ROUNDING = mg.Status.GRADIENT_ROUNDING


def statuses(found):
    return {mg.Status.from_code(code) for code in np.asarray(found.status)}


def relative_error(found, exact):
    """|found - exact| / |exact| task by task, 2**100 at most."""
    ours = Scaled(found.grad.eta.mantissa.astype(np.float64), found.grad.eta.exponent)
    with np.errstate(invalid="ignore"):
        power = (ours - exact.grad.eta).log2abs() - exact.grad.eta.log2abs()
    return np.exp2(np.clip(power, -100, 100))


def regressions(n=20, d=5, sigma=1.0, **options):
    return mg.random_least_squares(2, n, d, sigma=sigma, seed=1, **options)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("objective", [mg.Final(), mg.LogFinal(), mg.LogExcess(), mg.WeightedSum(1.2)], ids=repr)
def test_a_state_at_the_floor(dtype, objective):
    """The truth is 1e-70 and less, or (LogExcess) of order 1; what comes out is neither."""
    task = regressions(dtype=dtype)
    for method in (mg.Reverse(), mg.Reverse(fused=False), mg.Forward()):
        found = method(task, RULE, objective, Phi(0.4), steps=500)
        assert statuses(found) == {ROUNDING}
        assert (found.status_step == 500).all()
        assert "task.centred()" in found.report()
    if not isinstance(objective, mg.WeightedSum):
        exact = mg.ClosedForm()(task, RULE, objective, Phi(float(dtype(0.4))), steps=500)
        assert exact.ok
        assert relative_error(found, exact) > 0.5
    assert mg.Reverse()(task.centred(), RULE, objective, Phi(0.4), steps=500).ok


@pytest.mark.parametrize("steps", [1, 20, 400])
def test_the_same_on_the_double(steps):
    task, phi = regressions(), Phi(np.asarray(0.4))
    for objective in (mg.LogFinal(), mg.LogExcess(), mg.Final("risk"), mg.MeanLog()):
        here = mg.Reverse()(task, RULE, objective, phi, steps=steps)
        there = mg.Reverse()(move(task, double.NAMESPACE), RULE, objective, move(phi, double.NAMESPACE), steps=steps)
        assert np.array_equal(here.status, there.status.get())


OBJECTIVES = [mg.Final(), mg.LogFinal(), mg.LogExcess(), mg.LogFinal("risk"), mg.Final("validation")]


@given(
    st.sampled_from([1, 2, 3, 10, 40]),
    st.sampled_from([1, 2, 5, 20]),
    st.sampled_from([0.1, 1.0, 30.0]),
    st.integers(0, 2**31),
    st.floats(0.02, 1.95),
    st.floats(0.0, 1.3),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(OBJECTIVES),
)
def test_wrong_numbers_say_so_and_good_ones_do_not(n, d, sigma, seed, size, share, dtype, objective):
    """Horizons up to 1.3 times the one at which the state is down to rounding, or 2000.

    A number off by more than a third is never OK; in between, where one or two digits are left, either may be said.
    """
    task = mg.random_least_squares(2, 2 * n, d, sigma=sigma, seed=seed, split=0.5, dtype=dtype)
    eigenvalues = np.linalg.eigvalsh(np.einsum("bni,bnj->bij", task.X, task.X).astype(np.float64) / n)
    eta = (size / eigenvalues[:, -1]).astype(dtype)
    lowest = np.where(eigenvalues > 1e-6 * eigenvalues[:, -1:], eigenvalues, np.inf).min()
    rate = -np.log(np.clip(np.abs(1 - eta[0] * np.array([lowest, eigenvalues[0, -1]])).max(), 1e-9, 1 - 1e-9))
    steps = int(np.clip(-share * np.log(np.finfo(dtype).eps) / rate, 1, 2000))
    found = mg.Reverse(per_task=True)(task, RULE, objective, Phi(eta), steps=steps)
    exact = mg.ClosedForm(per_task=True)(task, RULE, objective, Phi(eta.astype(np.float64)), steps=steps)
    error = relative_error(found, exact)
    assert (found.status[~(error <= 1 / 3)] != 0).all()
    assert (error[found.status == ROUNDING.code] > 1e-5).all()


@pytest.mark.parametrize("steps", [200, 400, 1000])
@pytest.mark.parametrize("objective", [mg.MeanLog(), mg.WeightedSum(1.2), mg.WeightedSum(), mg.Mean()], ids=repr)
def test_a_sum_is_lost_only_where_its_late_terms_count(steps, objective):
    """No floor (n < d): the centred task is homogeneous, and right."""
    task, phi = regressions(5, 20), Phi(np.full(2, 0.1))
    found, exact = (mg.Reverse(per_task=True)(t, RULE, objective, phi, steps=steps) for t in (task, task.centred()))
    assert exact.ok
    error = relative_error(found, exact)
    assert (found.status[~(error <= 0.1)] != 0).all()
    if isinstance(objective, mg.Mean) or objective == mg.WeightedSum():
        assert found.ok
        assert (error < 1e-10).all()
    elif steps == 1000:
        assert not (found.status == 0).any()


def singular():
    """Eigenvalues 1, 1/2 and 0 along no axis: w ends in the null space, where Hw is rounding."""
    Q = np.linalg.qr(rng(1).standard_normal((3, 3)))[0]
    H = Q @ np.diag([1.0, 0.5, 0.0]) @ Q.T
    return mg.Quadratic((H + H.T) / 2, np.array([1.0, 2.0, 3.0]))


def bowl():
    return mg.FunctionTask(lambda w: np.sum((w - 1.3) ** 2 * np.array([1.0, 0.5]), axis=-1) + 0.1, np.full((2, 2), 3.0))


INTERPOLATED = mg.LeastSquares(regressions(5, 20).X, regressions(5, 20).y, batch_size=2)
CONVERGED = {
    "a singular quadratic": (singular, RULE, mg.Final(), Phi(0.5), 500),
    "its norm": (singular, RULE, mg.Final("squared_norm"), Phi(0.5), 500),
    "a function": (bowl, RULE, mg.LogFinal(), Phi(0.1), 1000),
    "its norm, too": (bowl, RULE, mg.Final("squared_norm"), Phi(0.1), 1000),
    "random regressions": (
        lambda: mg.random_regressions(2, 4, family="gaussian"), RULE, mg.LogFinal(), Phi(0.03), 15_000,
    ),
    "minibatches without noise": (lambda: INTERPOLATED, RULE, mg.Final("train"), Phi(0.05), 3000),
    "risk in the null space": (lambda: regressions(2, 6, 0.0), RULE, mg.Final("risk"), Phi(0.1), 400),
    "momentum": (regressions, mg.Momentum(), mg.LogFinal(), mg.Momentum.Phi(0.05, 0.8), 1500),
    "steps that round away": (
        lambda: regressions(dtype=np.float32), RULE, mg.LogFinal(), Phi(np.asarray(5e-3, dtype=np.float32)), 15_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERGED)
def test_other_states_that_have_converged(name):
    task, rule, objective, phi, steps = CONVERGED[name]
    assert statuses(mg.meta_gradient(task(), rule, objective, phi, steps=steps)) == {ROUNDING}


def at_the_optimum():
    X, w = regressions().X, rng(2).standard_normal((2, 5))
    return mg.LeastSquares(X, np.matmul(X, w[..., None])[..., 0], w0=w)


FLAT = {"dtype": np.float16}
RIGHT = {
    "a step size that moves nothing": (regressions, mg.Final(), 1e-20, 300),
    "a state that shrinks": (lambda: mg.DiagonalQuadratic(np.array([0.3, 1.0]), np.ones(2)), mg.LogFinal(), 0.5, 9999),
    "a dense one": (lambda: mg.random_quadratics(2, 3, seed=1), mg.LogFinal(), 0.1, 5000),
    "a start at the optimum": (at_the_optimum, mg.Final(), 0.1, 50),
    "data without inputs": (lambda: mg.LeastSquares(np.zeros((3, 2)), np.ones(3)), mg.LogFinal(), 0.1, 50),
    "a column without data": (lambda: mg.LeastSquares(np.eye(3)[:, :2] * [1, 0], np.ones(3)), mg.Final(), 0.1, 50),
    "few digits": (lambda: regressions(**FLAT), mg.LogFinal(), np.float16(0.2), 6),
    "a sum with a floor": (regressions, mg.MeanLog(), 0.4, 1500),
    "minibatches with a floor": (lambda: mg.LeastSquares(regressions().X, regressions().y, batch_size=2), mg.Final(),
                                 0.05, 1500),
    "solved in one step, measured elsewhere": (
        lambda: mg.LeastSquares(np.array([[3.0]]), np.array([1.0]), w_star=np.array([0.7])), mg.Final("risk"), 1 / 9, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", [mg.Reverse(), mg.Forward()], ids=repr)
@pytest.mark.parametrize("name", RIGHT)
def test_numbers_that_are_right_are_ok(name, method):
    make, objective, eta, steps = RIGHT[name]
    task = make()
    found = method(task, RULE, objective, Phi(np.asarray(eta, dtype=task.w0.dtype)), steps=steps)
    assert found.ok, found.report()


def test_a_stopped_gradient_keeps_its_early_terms():
    """sum_t g_t = (w_0 - w_T)/eta does not vanish: right on other samples, rounding on the train loss."""
    task, held = regressions(40, split=0.5), mg.Reverse(gradient="stop_gradient")
    found = held(task, RULE, mg.Final("validation"), Phi(0.4), steps=500)
    assert found.ok
    w = task.solution()
    residual = np.einsum("bni,bi->bn", task.validation[0], w) - task.validation[1]
    slope = np.einsum("bn,bni,bi->", residual, task.validation[0], w) / residual.shape[1] / 0.4 / 2
    assert float(found.grad.eta.to_float()) == pytest.approx(slope, rel=1e-10)
    assert statuses(held(task, RULE, mg.Final(), Phi(0.4), steps=500)) == {ROUNDING}


def test_every_task_has_its_own():
    task, eta = regressions(), Phi(np.array([1e-4, 0.4]))
    found = mg.Reverse(per_task=True)(task, RULE, mg.LogFinal(), eta, steps=1000)
    assert [mg.Status.from_code(code) for code in found.status] == [mg.Status.OK, ROUNDING]


def test_a_window_after_the_floor_was_reached():
    task = regressions()
    first = mg.Reverse()(task, RULE, mg.Final(), Phi(0.4), steps=500, at=begin(task, RULE, Phi(0.4)))
    for objective in (mg.Final(), mg.Mean()):
        found = mg.Reverse()(task, RULE, objective, Phi(0.4), steps=5, at=first.end)
        assert statuses(found) == {ROUNDING}


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_level_is_that_of_float32(scale, shared, seed):
    """The rounding level of the gradient in float32 against its formula, and the errors that float32 makes.

    Over twelve seeds these are 0.65 to 1.31 of the level (root of the mean square over 32 entries).
    """
    draw = rng(seed, "level")
    X, y, w = (draw.standard_normal(shape).astype(np.float32) for shape in ((4, 60, 8), (4, 60), (4, 8)))
    X = X[0] if shared else X
    wide = mg.LeastSquares(X.astype(np.float64), y.astype(np.float64))
    g, level = mg.LeastSquares(X, y).gradient_rounding(w)
    error = g - wide.gradient(w.astype(np.float64), None)
    assert 0.5 < np.sqrt(np.mean((error / level) ** 2)) < 1.6
    rows, w64, u = np.broadcast_to(X.astype(np.float64), (4, 60, 8)), w.astype(np.float64), np.finfo(np.float32).eps / 2
    p = np.einsum("bni,bi->bn", rows, w64)
    of_residual = u * (np.sqrt(np.einsum("bni,bi->bn", rows**2, w64**2)) + abs(p) + abs(p - y))
    np.testing.assert_allclose(level, np.sqrt(np.einsum("bni,bn->bi", rows**2, of_residual**2)) / 60, rtol=1e-6)
    far_w = w.astype(np.float64) / scale
    far = mg.LeastSquares(X.astype(np.float64) * scale, y.astype(np.float64)).gradient_rounding(far_w)[1] / scale
    np.testing.assert_allclose(far * 2.0**29, level, rtol=1e-5)
