"""Least squares: losses, gradients, minibatches, the floor at every rank, and the excess at any horizon."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metagrad as mg
from metagrad import ad
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference

ETA = mg.GradientDescent.Phi(0.1)
MEASURES = ["train", "excess", "validation", "risk"]


def task_of(seed=1, n=9, d=4, count=2, **options):
    return mg.random_least_squares(count, n, d, sigma=0.7, seed=seed, **options)


def one_by_one(function, count):
    return np.array([function(b) for b in range(count)])


def test_every_measure_is_its_formula():
    task, w = task_of(split=0.5), rng(0).standard_normal((2, 4))
    X_val, y_val = task.validation

    def half(X, y):
        return one_by_one(lambda b: ((X[b] @ w[b] - y[b]) ** 2).sum() / (2 * len(y[b])), 2)

    solution = one_by_one(lambda b: np.linalg.lstsq(task.X[b], task.y[b], rcond=None)[0], 2)
    moved = one_by_one(lambda b: ((task.X[b] @ (w[b] - solution[b])) ** 2).sum() / (2 * task.n), 2)
    np.testing.assert_allclose(task.loss(w, None), half(task.X, task.y), rtol=1e-14)
    np.testing.assert_allclose(task.train_loss(w), half(task.X, task.y), rtol=1e-14)
    np.testing.assert_allclose(task.validation_loss(w), half(X_val, y_val), rtol=1e-14)
    np.testing.assert_allclose(task.risk(w), ((w - task.w_star) ** 2).sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(task.excess(w), moved, rtol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_the_gradient_is_the_tapes(shared, batch_size):
    draw = rng(2, "data")
    X = draw.standard_normal((7, 3) if shared else (4, 7, 3))
    task = mg.LeastSquares(X, draw.standard_normal((4, 7)), batch_size=batch_size)
    w, sample = draw.standard_normal((4, 3)), task.sample(rng(1), 0)
    taped = ad.grad(lambda u: task.loss(u, sample))(w)
    np.testing.assert_allclose(task.gradient(w, sample), taped, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("estimator", [mg.Reverse(), mg.Forward(), mg.Reverse(scaling="none")], ids=repr)
@pytest.mark.parametrize("objective", [mg.Final, mg.LogFinal, mg.WeightedSum, mg.MeanLog])
@pytest.mark.parametrize("measure", MEASURES)
def test_meta_gradients_are_difference_quotients(measure, objective, estimator):
    task = task_of(split=0.5)
    objective = objective(measure=measure)

    def solve(eta):
        return estimator(task, mg.GradientDescent(), objective, mg.GradientDescent.Phi(eta), steps=8)

    found = solve(0.1)
    assert found.ok
    slope = (solve(0.1 + 1e-6).value.to_float() - solve(0.1 - 1e-6).value.to_float()).mean() / 2e-6
    assert found.grad.eta.to_float() == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("measure", [*MEASURES, "loss"])
def test_every_dtype_here_and_on_the_double(dtype, measure):
    task = task_of(split=0.5, dtype=dtype)
    task = mg.LeastSquares(
        task.X, task.y, validation=task.validation, w_star=task.w_star, batch_size=3, replacement=False
    )
    phi = mg.GradientDescent.Phi(np.asarray(0.1, dtype=dtype))
    there_task, there_phi = move(task, double.NAMESPACE), move(phi, double.NAMESPACE)
    here = mg.Reverse()(task, mg.GradientDescent(), mg.LogFinal(measure), phi, steps=6, seed=3)
    there = mg.Reverse()(there_task, mg.GradientDescent(), mg.LogFinal(measure), there_phi, steps=6, seed=3)
    assert here.value.dtype == here.grad.eta.dtype == dtype
    assert here.ok
    for a, b in ((here.value, there.value), (here.grad.eta, there.grad.eta)):
        np.testing.assert_allclose(b.to_float().get(), a.to_float(), rtol=50 * np.finfo(dtype).eps)


def exact_floor(X, y):
    """The least train loss by the normal equations in fractions: the columns are orthogonalised, zeros dropped."""
    rest, basis = [Fraction(float(v)) for v in y], []
    for column in X.T:
        c = [Fraction(float(v)) for v in column]
        for q in basis:
            share = dot(c, q) / dot(q, q)
            c = [a - share * b for a, b in zip(c, q, strict=True)]
        if any(c):
            basis.append(c)
            share = dot(rest, c) / dot(c, c)
            rest = [a - share * b for a, b in zip(rest, c, strict=True)]
    return float(dot(rest, rest) / (2 * len(y))), len(basis)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from(["full", "collinear", "constant"]))
def test_the_floor_at_every_rank(n, d, seed, kind):
    draw = rng(seed, "floor")
    X, y = draw.integers(-4, 5, size=(n, d)).astype(float), draw.integers(-4, 5, size=n).astype(float)
    if kind == "collinear":
        X[:, -1] = X[:, 0] + (X[:, 1] if d > 2 else 0)
    if kind == "constant":
        X[:, 0] = 1.0
    task = mg.LeastSquares(X, y, w0=draw.standard_normal(d))
    floor, rank = exact_floor(X, y)
    assert task.train_floor()[0] == pytest.approx(floor, rel=1e-10, abs=1e-26)
    assert rank == np.linalg.matrix_rank(X), "the oracle and NumPy count the same rank"
    reached = task.train_loss(task.solution())[0]
    assert reached == pytest.approx(floor, rel=1e-10, abs=1e-26)
    # nearest to w0: the way there lies in the row space, so nothing that X does not see has moved
    step = task.solution()[0] - task.w0[0]
    unseen = np.linalg.svd(X)[2][rank:]
    assert np.abs(unseen @ step).max(initial=0.0) <= 1e-12 * (1 + np.abs(step).max())


def test_gradient_descent_ends_at_the_solution():
    for n, d in ((3, 6), (8, 3)):
        task = mg.LeastSquares(rng(n).standard_normal((n, d)), rng(d).standard_normal(n), w0=rng(9).standard_normal(d))
        w, eta = task.w0, 1.0 / np.linalg.eigvalsh(task.X.T @ task.X / n)[-1]
        for _ in range(20_000):
            w = w - eta * task.gradient(w, None)
        np.testing.assert_allclose(w, task.solution(), atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(40, 20), (12, 30), (20, 20)])
@pytest.mark.parametrize("measure", ["excess", "validation", "risk"])
def test_the_centred_task_is_the_same_task(n, d, measure):
    whole = task_of(n=2 * n, d=d, split=0.5)
    w0 = rng(3, "start").standard_normal((2, d))
    task = mg.LeastSquares(whole.X, whole.y, w0, validation=whole.validation, w_star=whole.w_star)
    eta = 0.9 / np.linalg.eigvalsh(np.einsum("bni,bnj->bij", task.X, task.X) / n)[:, -1].max()
    for objective in (mg.Final(measure), mg.LogFinal(measure)):
        here, there = (
            mg.meta_gradient(x, mg.GradientDescent(), objective, float(eta), steps=30) for x in (task, task.centred())
        )
        assert worst_difference(here.value, there.value) <= 1e-11
        assert worst_difference(here.grad.eta.reshape((1,)), there.grad.eta.reshape((1,))) <= 1e-10


def test_vanishing_derivatives_keep_their_digits_on_the_centred_task():
    """dV/deta is 1.6e-19 here: the centred engine has it to nine digits, the plain one has rounding noise instead."""
    task = task_of(n=80, d=20, split=0.5)
    exact, there, here = (
        mg.meta_gradient(x, mg.GradientDescent(), mg.Final("validation"), 0.6, steps=600, method=m, per_task=False).grad
        for x, m in ((task, "closed_form"), (task.centred(), "reverse"), (task, "reverse"))
    )
    assert exact.eta.log10abs() < -18
    assert there.eta.relative_difference(exact.eta) <= 1e-9
    assert here.eta.relative_difference(exact.eta) > 0.1


def test_the_log_of_the_excess_at_a_long_horizon():
    """On the task itself the excess ends where w rounds, at eps^2; centred, it falls on below the float range."""
    task = task_of(n=40, d=20, count=1)
    lam = np.linalg.eigvalsh(task.X[0].T @ task.X[0] / task.n)
    rate = np.log(np.abs(1 - 0.6 * lam).max())
    steps = 8000
    there = mg.meta_gradient(task.centred(), mg.GradientDescent(), mg.LogFinal("excess"), 0.6, steps=steps)
    here = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal("excess"), 0.6, steps=2000)
    assert there.ok
    assert there.value.to_float()[0] * steps < np.log(5e-324), "beyond float64"
    assert there.value.to_float()[0] == pytest.approx(2 * rate, rel=1e-2)
    assert here.value.to_float()[0] * 2000 > np.log(1e-40), "the task itself: no further down than its rounding"
    assert there.grad.eta.to_float() == pytest.approx(-2 * lam[0] / (1 - 0.6 * lam[0]), rel=1e-9)


def test_a_collinear_column_stays_out_of_the_centred_task():
    X = np.array([[1.0, 2.0], [0.5, 1.0], [2.0, 4.0]])
    centred = mg.LeastSquares(X, np.array([1.0, 0.0, 2.0])).centred()
    assert centred.degree == 2
    assert (np.abs(centred.w0[0]) > 0).sum() == 1, "one direction is seen, and one only moves"
    assert not centred.X[0][:, 1].any()


def test_overflow_is_a_status_not_a_number():
    task = task_of(n=40, d=20)
    for steps in (200, 250, 300, 2000):
        found = mg.meta_gradient(task, mg.GradientDescent(), mg.LogFinal("train"), 6.0, steps=steps)
        assert not found.ok
        assert any(word in found.report() for word in ("OVERFLOW", "NAN"))
    far = mg.meta_gradient(task.centred(), mg.GradientDescent(), mg.LogFinal("train"), 6.0, steps=2000)
    assert far.ok
    assert np.isfinite(far.grad.eta.to_float())


def test_zero_is_a_state_like_any_other_where_it_is_the_start():
    """One weight, eta = 2/L: w_1 = 2 w_ls, w_2 = 0 again; nothing underflowed. From another start zero is news."""
    X, y = np.array([[1.0], [1.0]]), np.array([1.0, 1.0])
    found = mg.meta_gradient(mg.LeastSquares(X, y), mg.GradientDescent(), mg.LogFinal(), 2.0, steps=2)
    assert found.ok
    assert found.value.to_float()[0] == pytest.approx(np.log(0.5) / 2)
    other = mg.LeastSquares(X, y, w0=np.array([2.0]))
    assert "STATE_ZERO" in mg.meta_gradient(other, mg.GradientDescent(), mg.LogFinal(), 2.0, steps=1).report()


def test_minibatches_are_a_function_of_seed_and_step():
    task = mg.LeastSquares(rng(1).standard_normal((3, 8, 2)), rng(2).standard_normal((3, 8)), batch_size=5)
    assert np.array_equal(task.sample(rng(4, "sample", 7), 7), task.sample(rng(4, "sample", 7), 7))
    assert not np.array_equal(task.sample(rng(4, "sample", 7), 7), task.sample(rng(4, "sample", 8), 8))
    whole = mg.LeastSquares(task.X, task.y, batch_size=8, replacement=False)
    drawn = whole.sample(rng(0), 0)
    assert np.array_equal(np.sort(drawn, axis=1), np.tile(np.arange(8), (3, 1)))
    assert not np.array_equal(drawn[0], drawn[1]), "every task draws its own"
    w = rng(3).standard_normal((3, 2))
    np.testing.assert_allclose(whole.gradient(w, drawn), whole.gradient(w, None), rtol=1e-12)


@pytest.mark.parametrize("replacement", [True, False])
def test_every_sample_is_drawn_alike(replacement):
    n, b, count = 5, 3, 4000
    task = mg.LeastSquares(np.ones((n, 1)), np.ones((count, n)), batch_size=b, replacement=replacement)
    drawn = task.sample(rng(11), 0)
    expected, spread = count * b / n, np.sqrt(count * b / n)
    assert np.abs(np.bincount(drawn.ravel(), minlength=n) - expected).max() <= 5 * spread
    twice = np.mean([len(set(row)) < b for row in drawn])
    assert (0.4 < twice < 0.65) if replacement else twice == 0  # 1 - (4/5)(3/5) = 0.52


@pytest.mark.parametrize("replacement", [True, False])
def test_the_average_over_seeds_is_the_average_over_all_sequences(replacement):
    """n = 3, b = 2, t = 2: the engine's mean over seeds against brute force over all sequences of minibatches."""
    X, y, eta, steps = np.array([[1.0], [-0.5], [2.0]]), np.array([0.5, 1.0, -1.0]), 0.4, 2
    pick = itertools.product if replacement else itertools.permutations
    batches = list(pick(range(3), repeat=2) if replacement else pick(range(3), 2))

    def run(batches_of_run):
        w = dw = 0.0
        for batch in batches_of_run:
            x, target = X[list(batch), 0], y[list(batch)]
            g, h = np.mean(x * (x * w - target)), np.mean(x * x)
            w, dw = w - eta * g, dw - g - eta * h * dw
        return np.mean((X[:, 0] * w - y) ** 2) / 2, np.mean(X[:, 0] * (X[:, 0] * w - y)) * dw

    exact = np.mean([run(sequence) for sequence in itertools.product(batches, repeat=steps)], axis=0)
    one_batch = run([(0, 1, 2), (0, 1, 2)])
    count = 4000
    task = mg.LeastSquares(X, np.tile(y, (count, 1)), batch_size=2, replacement=replacement)
    phi = mg.GradientDescent.Phi(np.full(count, eta))
    found = mg.Reverse(per_task=True)(task, mg.GradientDescent(), mg.Final("train"), phi, steps=steps, seed=1)
    numbers = np.array([found.value.to_float(), found.grad.eta.to_float()])
    error = numbers.std(axis=1, ddof=1) / np.sqrt(count)
    assert (np.abs(numbers.mean(axis=1) - exact) <= 4 * error).all()
    assert (np.abs(one_batch - exact) > 4 * error).all(), "gradient descent on all samples would be refused"


def test_random_tasks_are_the_papers():
    task = mg.random_least_squares(4000, 3, 2, sigma=2.0, seed=5)
    np.testing.assert_allclose(np.linalg.norm(task.w_star, axis=1), 1.0, rtol=1e-14)
    noise = task.y - np.einsum("bnd,bd->bn", task.X, task.w_star)
    assert noise.std() == pytest.approx(2.0, rel=5 / np.sqrt(2 * noise.size))
    assert np.abs(task.w_star.mean(axis=0)).max() <= 5 / np.sqrt(2 * 4000)
    assert task.X.std() == pytest.approx(1.0, rel=5 / np.sqrt(2 * task.X.size))
    assert not task.w0.any()
    exact = mg.random_least_squares(2, 5, 3, sigma=0.0)
    assert (exact.train_floor() <= 1e-28).all()


def test_a_split_is_a_partition():
    for X in (rng(1).standard_normal((6, 2)), rng(1).standard_normal((3, 6, 2))):
        task = mg.LeastSquares(X, rng(2).standard_normal((3, 6)), w_star=np.ones(2), batch_size=2)
        parts = mg.split_task(task, 1 / 3, seed=4)
        assert (parts.n, parts.validation[0].shape[-2], parts.batch_size) == (2, 4, 2)
        for b in range(3):
            rows = [x if x.ndim == 2 else x[b] for x in (task.X, parts.X, parts.validation[0])]
            before = np.column_stack([rows[0], task.y[b]])
            after = np.vstack(
                [np.column_stack([rows[1], parts.y[b]]), np.column_stack([rows[2], parts.validation[1][b]])]
            )
            assert sorted(map(tuple, before)) == sorted(map(tuple, after))
        assert not np.array_equal(parts.y, mg.split_task(task, 1 / 3, seed=5).y)


X, Y = np.ones((4, 2)), np.ones(4)
BAD = {
    "no sample": (lambda: mg.LeastSquares(np.ones((0, 2)), np.ones(0)), ValueError, r"X .*n = 0.*n >= 1 rows"),
    "no feature": (lambda: mg.LeastSquares(np.ones((4, 0)), Y), ValueError, "d >= 1"),
    "one axis": (lambda: mg.LeastSquares(np.ones(4), Y), ValueError, r"X is of shape \(4,\).*Use X\[:, None\]"),
    "length of y": (lambda: mg.LeastSquares(X, np.ones(5)), ValueError, r"y is of shape \(5,\).*each of the 4 rows"),
    "NaN in X": (lambda: mg.LeastSquares(X * np.nan, Y), ValueError, "X is not finite.*drop those rows"),
    "inf in y": (lambda: mg.LeastSquares(X, Y * np.inf), ValueError, "y is not finite"),
    "integers": (lambda: mg.LeastSquares(X.astype(int), Y), TypeError, r"X is an array of int64.*astype\(float\)"),
    "a list": (lambda: mg.LeastSquares([[1.0]], Y), TypeError, "X is a list.*np.asarray"),
    "two dtypes": (lambda: mg.LeastSquares(X, Y.astype(np.float32)), TypeError, "y is of float32 while X is float64"),
    "two counts": (lambda: mg.LeastSquares(np.ones((3, 4, 2)), np.ones((2, 4))), ValueError, "3 in X, 2 in y"),
    "w0": (lambda: mg.LeastSquares(X, Y, w0=np.ones(3)), ValueError, r"w0 is of shape \(3,\).*X has 2 columns"),
    "w_star": (lambda: mg.LeastSquares(X, Y, w_star=np.ones(1)), ValueError, "w_star is of shape"),
    "large batch": (
        lambda: mg.LeastSquares(X, Y, batch_size=5, replacement=False),
        ValueError,
        "batch_size is 5; expected at most n = 4 without replacement.*replacement=True",
    ),
    "empty batch": (lambda: mg.LeastSquares(X, Y, batch_size=0), ValueError, "batch_size is 0"),
    "half a sample": (lambda: mg.LeastSquares(X, Y, batch_size=1.5), TypeError, "batch_size is 1.5, a float"),
    "validation is no pair": (lambda: mg.LeastSquares(X, Y, validation=X), TypeError, "validation is a ndarray.*pair"),
    "validation of another d": (
        lambda: mg.LeastSquares(X, Y, validation=(np.ones((4, 3)), Y)),
        ValueError,
        r"X_val is of shape \(4, 3\); expected 2 columns",
    ),
    "empty validation": (
        lambda: mg.LeastSquares(X, Y, validation=(np.ones((0, 2)), np.ones(0))),
        ValueError,
        "X_val .*n = 0",
    ),
    "no validation": (lambda: mg.LeastSquares(X, Y).validation_loss(X), ValueError, "validation is None.*split_task"),
    "no truth": (lambda: mg.LeastSquares(X, Y).risk(X), ValueError, "w_star is None.*Give w_star"),
    "another task": (
        lambda: mg.meta_gradient(
            mg.Quadratic(np.eye(2), np.ones(2)), mg.GradientDescent(), mg.Final("risk"), 0.1, steps=1
        ),
        ValueError,
        r"measure is 'risk' on a Quadratic; expected a task with a method risk\(w\)",
    ),
    "negative sigma": (lambda: mg.random_least_squares(1, 4, 2, sigma=-1.0), ValueError, "sigma is -1.0"),
    "NaN sigma": (lambda: mg.random_least_squares(1, 4, 2, sigma=np.nan), ValueError, "sigma is nan"),
    "sigma no number": (lambda: mg.random_least_squares(1, 4, 2, sigma="1"), TypeError, "sigma is '1', a str"),
    "no sample drawn": (lambda: mg.random_least_squares(1, 0, 2, sigma=1.0), ValueError, "n is 0"),
    "one sample split": (
        lambda: mg.random_least_squares(1, 1, 2, sigma=1.0, split=0.5),
        ValueError,
        "n is 1; expected at least 2 samples to split",
    ),
    "an empty part": (
        lambda: mg.split_task(mg.LeastSquares(X, Y), 0.05),
        ValueError,
        "leaves 0 of 4 samples for training; expected both parts non-empty",
    ),
    "a share of 1": (lambda: mg.split_task(mg.LeastSquares(X, Y), 1.0), ValueError, r"fraction is 1.0; .*in \(0, 1\)"),
    "a share no number": (lambda: mg.split_task(mg.LeastSquares(X, Y), "half"), TypeError, "fraction is 'half', a str"),
    "split twice": (
        lambda: mg.split_task(mg.split_task(mg.LeastSquares(X, Y))),
        ValueError,
        "task is one with validation data",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()


def test_one_sample_is_enough_without_a_split():
    task = mg.random_least_squares(1, 1, 3, sigma=1.0)
    found = mg.Reverse()(task, mg.GradientDescent(), mg.Final("risk"), ETA, steps=3)
    assert found.ok
