"""Least squares with tasks of unequal sizes: each is what it is alone, in every measure and every meta-gradient."""

import numpy as np
import pytest

import metagrad as mg
from metagrad import ad
from metagrad.kernels import fused_step
from metagrad.xp import move, rng
from tests.cupy_double import double
from tests.estimators.test_agreement import worst_difference

SIZES, VALIDATION_SIZES, D = (3, 5, 8), (6, 2, 4), 4  # the first has fewer samples than weights
MEASURES = ["loss", "train", "excess", "validation", "risk", "squared_norm"]
VALUE, GRADIENT = {np.float32: 2e-5, np.float64: 1e-13}, {np.float32: 2e-4, np.float64: 1e-11}


def data(dtype=np.float64):
    """Return X, y, X_val, y_val as lists of one array a task, and w_star and w0 (3, d)."""
    draw = rng(0, "ragged")
    X, X_val = ([draw.standard_normal((n, D)).astype(dtype) for n in sizes] for sizes in (SIZES, VALIDATION_SIZES))
    y, y_val = ([draw.standard_normal(n).astype(dtype) for n in sizes] for sizes in (SIZES, VALIDATION_SIZES))
    return X, y, X_val, y_val, *(draw.standard_normal((3, D)).astype(dtype) for _ in range(2))


def scattered(rows, targets, n, seed):
    """The samples at random places of arrays that hold NaN elsewhere, with the mask."""
    X, y = np.full((len(rows), n, D), np.nan, rows[0].dtype), np.full((len(rows), n), np.nan, rows[0].dtype)
    mask = np.zeros((len(rows), n), dtype=bool)
    for b, (own, aims) in enumerate(zip(rows, targets, strict=True)):
        places = rng(seed, "places", b).permutation(n)[: len(aims)]
        X[b, places], y[b, places], mask[b, places] = own, aims, True
    return X, y, mask


def from_lists(dtype=np.float64, **more):
    X, y, X_val, y_val, w_star, w0 = data(dtype)
    return mg.LeastSquares(X, tuple(y), w0, validation=(X_val, y_val), w_star=w_star, **more)


def from_masks(dtype=np.float64, **more):
    X, y, X_val, y_val, w_star, w0 = data(dtype)
    (X, y, mask), (X_val, y_val, seen) = scattered(X, y, 10, 1), scattered(X_val, y_val, 7, 2)
    masks = {"mask": mask, "validation_mask": seen}
    return mg.LeastSquares(X, y, w0, validation=(X_val, y_val), w_star=w_star, **masks, **more)


def alone(b, dtype=np.float64, **more):
    X, y, X_val, y_val, w_star, w0 = data(dtype)
    return mg.LeastSquares(X[b], y[b], w0[b], validation=(X_val[b], y_val[b]), w_star=w_star[b], **more)


BUILDERS = pytest.mark.parametrize("build", [from_lists, from_masks])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@BUILDERS
@DTYPES
def test_what_is_measured_is_what_each_task_measures_alone(build, dtype):
    task, w = build(dtype), rng(1).standard_normal((3, D)).astype(dtype)
    calls = {
        "loss": lambda x, u: x.loss(u, None),
        "gradient": lambda x, u: x.gradient(u, None),
        "train_loss": lambda x, u: x.train_loss(u),
        "validation_loss": lambda x, u: x.validation_loss(u),
        "excess": lambda x, u: x.excess(u),
        "risk": lambda x, u: x.risk(u),
        "rounding": lambda x, u: x.gradient_rounding(u)[1],
        "solution": lambda x, u: x.solution(),
    }
    for name, call in calls.items():
        found, expected = call(task, w), np.concatenate([call(alone(b, dtype), w[b : b + 1]) for b in range(3)])
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found, expected, rtol=10 * VALUE[dtype], atol=VALUE[dtype] * 10 * np.abs(expected).max(), err_msg=name
        )
    floors = [float(alone(b, dtype).train_floor()[0]) for b in range(3)]
    np.testing.assert_allclose(task.train_floor(), floors, rtol=10 * VALUE[dtype], atol=1e-28)
    taped = ad.grad(lambda u: task.loss(u, None))(w)
    np.testing.assert_allclose(
        task.gradient(w, None), taped, rtol=GRADIENT[dtype], atol=VALUE[dtype] * np.abs(taped).max()
    )


@BUILDERS
def test_the_samples_of_a_task_are_those_that_were_given(build):
    X, y, X_val, y_val, *_ = data()
    task = build()
    for b in range(3):
        for (rows, aims), own, targets in ((task.samples(b), X, y), (task.validation_samples(b), X_val, y_val)):
            assert rows.shape == own[b].shape
            assert sorted(map(tuple, np.column_stack([rows, aims]))) == sorted(
                map(tuple, np.column_stack([own[b], targets[b]]))
            )
    assert task.sizes.tolist() == list(SIZES)
    assert task.validation_sizes.tolist() == list(VALIDATION_SIZES)


def agree(found, parts, per_task, dtype):
    """The values of the batch are those of its tasks; its meta-gradient is theirs, or their mean."""
    assert found.ok
    for b, part in enumerate(parts):
        assert worst_difference(found.value[b : b + 1], part.value) <= VALUE[dtype]
    for whole, *own in zip(*(ad.leaves(x.grad) for x in (found, *parts)), strict=True):
        slopes = np.array([float(x.to_float()) for x in own])
        expected = slopes if per_task else slopes.mean()
        np.testing.assert_allclose(
            whole.to_float(), expected, rtol=GRADIENT[dtype], atol=0.1 * GRADIENT[dtype] * np.abs(slopes).max()
        )


@pytest.mark.parametrize("method", [mg.Reverse, mg.Forward, mg.ClosedForm])
@pytest.mark.parametrize("per_task", [True, False])
@pytest.mark.parametrize("measure", MEASURES)
@DTYPES
def test_meta_gradients_are_those_of_each_task_alone(method, per_task, measure, dtype):
    for objective in (mg.Final(measure), mg.LogFinal(measure)):
        etas = np.array([0.1, 0.2, 0.15] if per_task else [0.12] * 3, dtype=dtype)
        phi = mg.GradientDescent.Phi(etas if per_task else etas[0])
        for build in (from_lists, from_masks):
            found = method(per_task=per_task)(build(dtype), mg.GradientDescent(), objective, phi, steps=6)
            parts = [
                method()(alone(b, dtype), mg.GradientDescent(), objective, mg.GradientDescent.Phi(etas[b]), steps=6)
                for b in range(3)
            ]
            agree(found, parts, per_task, dtype)


@pytest.mark.parametrize("per_task", [True, False])
@pytest.mark.parametrize("gradient", ["full", "stop_gradient"])
@pytest.mark.parametrize("rule", [mg.GradientDescent(), mg.Momentum(), mg.Adam()], ids=repr)
def test_rules_with_and_without_a_fused_step(rule, gradient, per_task):
    values = {"eta": 0.1, "mu": 0.5, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3}
    numbers = [values[name] for name in rule.Phi._fields]
    phi = rule.Phi(*(np.full(3, x) for x in numbers)) if per_task else rule.Phi(*map(np.float64, numbers))
    for method in (mg.Reverse, mg.Forward):
        found = method(gradient=gradient, per_task=per_task)(from_masks(), rule, mg.LogFinal(), phi, steps=9)
        single = [
            method(gradient=gradient)(alone(b), rule, mg.LogFinal(), rule.Phi(*map(np.float64, numbers)), steps=9)
            for b in range(3)
        ]
        agree(found, single, per_task, np.float64)
    assert (fused_step(from_masks(), rule, "full") is not None) == isinstance(rule, mg.GradientDescent)


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_closed_form_of_the_log_excess(scheduled):
    rule = mg.Scheduled(mg.GradientDescent()) if scheduled else mg.GradientDescent()
    eta = rng(3).uniform(0.05, 0.2, size=(7, 3) if scheduled else 3)
    for objective in (mg.LogExcess(), mg.LogExcess(np.array([-1e-3, -2e-3, -1e-2]))):
        ours, exact = (
            method(per_task=True)(from_masks(), rule, objective, mg.GradientDescent.Phi(eta), steps=7)
            for method in (mg.Reverse, mg.ClosedForm)
        )
        assert worst_difference(ours.value, exact.value) <= 1e-12
        assert worst_difference(ours.grad.eta.reshape((-1,)), exact.grad.eta.reshape((-1,))) <= 1e-11


@BUILDERS
@pytest.mark.parametrize("measure", ["excess", "validation", "risk"])
def test_the_centred_task_is_the_same_task(build, measure):
    task = build()
    for objective in (mg.Final(measure), mg.LogFinal(measure)):
        here, there = (
            mg.meta_gradient(x, mg.GradientDescent(), objective, 0.1, steps=12) for x in (task, task.centred())
        )
        assert worst_difference(here.value, there.value) <= 1e-11
        assert worst_difference(here.grad.eta.reshape((1,)), there.grad.eta.reshape((1,))) <= 1e-10
    assert task.centred().degree == 2
    assert np.array_equal(task.centred().sizes, SIZES)


def test_a_task_with_fewer_samples_than_weights_moves_in_its_row_space_alone():
    """Three rows span three directions, though the padded array has eight: the fourth stays where it starts."""
    task = from_lists()
    step = task.solution()[0] - task.w0[0]
    unseen = np.linalg.svd(data()[0][0])[2][3:]
    assert np.abs(unseen @ step).max() <= 1e-13
    assert task.train_floor()[0] <= 1e-28 < task.train_floor()[1]


def test_what_counts_as_zero_is_by_the_tasks_own_size():
    """1e-14 is no zero beside 1 in two rows; in the 200 rows of the padded array it would be."""
    small, large = np.diag([1.0, 1e-14]), rng(4).standard_normal((200, 2))
    task = mg.LeastSquares([small, large], [np.array([1.0, 1e-14]), np.ones(200)])
    single = mg.LeastSquares(small, np.array([1.0, 1e-14]))
    np.testing.assert_allclose(task.solution()[0], single.solution()[0], rtol=1e-12)
    assert (np.abs(task.centred().w0[0]) > 0.5).all()


@BUILDERS
@pytest.mark.parametrize("replacement", [True, False])
def test_minibatches_are_of_the_tasks_own_samples(build, replacement):
    task, w = build(batch_size=3, replacement=replacement), rng(1).standard_normal((3, D))
    taken = np.zeros((3, task.n))
    for t in range(2000):
        sample = task.sample(rng(7, t), t)
        np.add.at(taken, (np.arange(3)[:, None], sample), 1)
        if not replacement:
            assert all(len(set(row)) == 3 for row in sample)
    expected = task.mask * (2000 * 3 / np.array(SIZES))[:, None]
    assert (taken[~task.mask] == 0).all()
    assert (np.abs(taken - expected) <= 5 * np.sqrt(expected)).all()
    assert np.array_equal(sample, task.sample(rng(7, t), t))
    rows, aims = task.X[np.arange(3)[:, None], sample], task.y[np.arange(3)[:, None], sample]
    residual = np.einsum("bni,bi->bn", rows, w) - aims
    np.testing.assert_allclose(task.loss(w, sample), (residual**2).sum(axis=1) / 6, rtol=1e-13)
    np.testing.assert_allclose(task.gradient(w, sample), np.einsum("bn,bni->bi", residual, rows) / 3, rtol=1e-12)


def test_minibatches_larger_than_a_task_are_drawn_with_replacement():
    task = from_lists(batch_size=7)
    assert task.sample(rng(0), 0).shape == (3, 7)
    assert mg.Reverse()(task, mg.GradientDescent(), mg.Final("train"), mg.GradientDescent.Phi(0.1), steps=4).ok


def test_minibatches_average_to_the_full_gradient():
    task, w = from_masks(batch_size=2, replacement=False), rng(1).standard_normal((3, D))
    found = np.array([task.gradient(w, task.sample(rng(5, t), t)) for t in range(4000)])
    error = found.std(axis=0, ddof=1) / np.sqrt(4000)
    assert (np.abs(found.mean(axis=0) - task.gradient(w, None)) <= 4.5 * error).all()
    over_padding = np.einsum("bn,bni->bi", task.predictions(w) - task.y, task.X) / task.n
    assert (np.abs(found.mean(axis=0) - over_padding) > 4.5 * error).any(), "the mean over padding would be refused"


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"batch_size": 2, "replacement": False}])
@pytest.mark.parametrize("measure", MEASURES)
def test_on_the_double(measure, options):
    task, phi = from_masks(**options), mg.GradientDescent.Phi(np.asarray(0.1))
    there_task, there_phi = move(task, double.NAMESPACE), move(phi, double.NAMESPACE)
    here = mg.Reverse()(task, mg.GradientDescent(), mg.LogFinal(measure), phi, steps=6, seed=3)
    there = mg.Reverse()(there_task, mg.GradientDescent(), mg.LogFinal(measure), there_phi, steps=6, seed=3)
    np.testing.assert_allclose(there.value.to_float().get(), here.value.to_float(), rtol=1e-13)
    np.testing.assert_allclose(there.grad.eta.to_float().get(), here.grad.eta.to_float(), rtol=1e-12)


def test_lists_and_masks_are_built_on_the_double():
    X, y, *_ = move(tuple(map(tuple, data()[:2])), double.NAMESPACE)
    padded = mg.LeastSquares(X, y)
    again = mg.LeastSquares(padded.X, padded.y, mask=padded.mask)
    for task in (padded, again):
        assert np.array_equal(task.X.get(), from_lists().X)
        assert task.sizes.get().tolist() == list(SIZES)


def test_equal_sizes_need_no_mask_and_have_the_same_bits():
    whole = mg.random_least_squares(3, 6, D, sigma=1.0, seed=2, split=0.5)
    lists = mg.LeastSquares(list(whole.X), list(whole.y), validation=tuple(map(list, whole.validation)))
    masked = mg.LeastSquares(whole.X, whole.y, mask=np.ones((3, 3), dtype=bool), validation=whole.validation)
    for task in (lists, masked):
        assert task.mask is task.sizes is task.validation_mask is task.validation_sizes is None
        assert np.array_equal(task.X, whole.X)
        assert np.array_equal(task.y, whole.y)


def test_a_shared_design_of_which_each_task_sees_a_part():
    draw, mask = rng(9), np.array([[True, True, False, True], [False, True, False, False]])
    X, y, w = draw.standard_normal((4, 2)), draw.standard_normal(4), draw.standard_normal((2, 2))
    task = mg.LeastSquares(X, y, mask=mask)
    expected = [np.mean((X[own] @ u - y[own]) ** 2) / 2 for own, u in zip(mask, w, strict=True)]
    np.testing.assert_allclose(task.train_loss(w), expected, rtol=1e-14)


def test_one_that_is_all_zero_is_homogeneous_and_an_unequal_one_can_be_rebuilt():
    X, y, *_ = data()
    assert mg.LeastSquares(X, [0 * t for t in y]).degree == 2
    task = from_masks()
    again = mg.LeastSquares(
        task.X, task.y, task.w0, task.validation, mask=task.mask, validation_mask=task.validation_mask
    )
    w = rng(1).standard_normal((3, D))
    assert np.array_equal(again.train_loss(w), task.train_loss(w))
    assert np.array_equal(again.validation_loss(w), task.validation_loss(w))


X, Y, *_ = data()
PAD, AIM, MASK = scattered(X, Y, 8, 1)
HALF = MASK & (np.arange(3) > 0)[:, None]
BAD = {
    "an array of arrays": (
        lambda: mg.LeastSquares(np.array(X, dtype=object), Y),
        TypeError,
        r"X is an array of object.*list\(X\)",
    ),
    "y an array of arrays": (
        lambda: mg.LeastSquares(X, np.array(Y, dtype=object)),
        TypeError,
        r"y is an array of obj.*list\(y\)",
    ),
    "a list and an array": (lambda: mg.LeastSquares(X, AIM), TypeError, "y is a ndarray; expected a list.*as X is"),
    "an array and a list": (lambda: mg.LeastSquares(PAD, Y), TypeError, "X is a ndarray; expected a list.*as y is"),
    "two counts": (lambda: mg.LeastSquares(X, Y[:2]), ValueError, "the number of tasks is 3 in X, 2 in y"),
    "two lengths": (lambda: mg.LeastSquares(X, Y[::-1]), ValueError, r"y\[0\] is of shape \(8,\).*3 rows of X\[0\]"),
    "two widths": (
        lambda: mg.LeastSquares([X[0], X[1][:, :2]], Y[:2]),
        ValueError,
        r"X\[1\] is .*4 columns, as X\[0\]",
    ),
    "two dtypes": (lambda: mg.LeastSquares([X[0], X[1].astype(np.float32)], Y[:2]), TypeError, r"X\[1\] is of float32"),
    "batches in a list": (lambda: mg.LeastSquares([PAD], [AIM]), ValueError, r"X\[0\] is not finite"),
    "three axes in a list": (
        lambda: mg.LeastSquares([X[0][None]], [Y[0]]),
        ValueError,
        r"X\[0\] and y\[0\].*\(n_b, d\)",
    ),
    "an empty task": (lambda: mg.LeastSquares([X[0], X[1][:0]], [Y[0], Y[1][:0]]), ValueError, r"X\[1\] .*n = 0"),
    "NaN in a task": (lambda: mg.LeastSquares([X[0], X[1] * np.nan], Y[:2]), ValueError, r"X\[1\] is not finite"),
    "NaN under the mask": (lambda: mg.LeastSquares(PAD, AIM, mask=MASK | ~MASK), ValueError, "X is not finite"),
    "a mask beside lists": (lambda: mg.LeastSquares(X, Y, mask=MASK), ValueError, "mask is given beside lists"),
    "a mask of numbers": (
        lambda: mg.LeastSquares(PAD, AIM, mask=1.0 * MASK),
        TypeError,
        "mask is an array of float64.*bool",
    ),
    "a mask that is a list": (
        lambda: mg.LeastSquares(PAD, AIM, mask=MASK.tolist()),
        TypeError,
        "mask is a list.*np.asarray",
    ),
    "a mask of another n": (
        lambda: mg.LeastSquares(PAD, AIM, mask=MASK[:, 1:]),
        ValueError,
        r"mask is of shape \(3, 7\)",
    ),
    "a mask of another B": (lambda: mg.LeastSquares(PAD, AIM, mask=MASK[:2]), ValueError, "3 in X, 3 in y, 2 in mask"),
    "a task without a sample": (
        lambda: mg.LeastSquares(PAD, AIM, mask=HALF),
        ValueError,
        "mask is False everywhere for task 0",
    ),
    "a mask of no validation": (
        lambda: mg.LeastSquares(X, Y, validation_mask=MASK),
        ValueError,
        "validation_mask is given; expected None without validation data",
    ),
    "validation of other tasks": (
        lambda: mg.LeastSquares(X, Y, validation=(X[:2], Y[:2])),
        ValueError,
        "3 in X, 3 in y, 2 in X_val, 2 in y_val",
    ),
    "validation with a wrong array": (
        lambda: mg.LeastSquares(X, Y, validation=([X[0], X[1], X[2][:, :1]], Y)),
        ValueError,
        r"X_val\[2\] is of shape \(8, 1\)",
    ),
    "a batch larger than the smallest task": (
        lambda: mg.LeastSquares(X, Y, batch_size=4, replacement=False),
        ValueError,
        "batch_size is 4; expected at most the smallest n = 3 without replacement.*replacement=True",
    ),
    "a split": (
        lambda: mg.split_task(mg.LeastSquares(X, Y)),
        ValueError,
        "split_task: task is one with tasks of unequal sizes.*Split the samples of each task yourself",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()
