"""The real-data experiment: its preparation of the data, its choices and errors against plain loops, its verdict."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from analysis import _real_problems as problems
from analysis import real_data
from analysis.framework.contract import Context

SIZES = {"diabetes": (10, 40), "products": (64, 96), "wine": (12, 48), "cancer": (30, 240), "digits": (64, 256)}
CONFIG = replace(real_data.presets["quick"], blocks=1, horizons=(40, 200), sizes=SIZES)


@pytest.fixture(scope="module")
def table():
    pytest.importorskip("sklearn", reason="the data are scikit-learn's; install the extra 'data'")
    parts = [real_data.compute(CONFIG, shard, Context(0, "cpu")) for shard in real_data.shards(CONFIG)]
    return real_data.assemble(CONFIG, parts)


def descend(X, y, eta, steps):
    w = np.zeros(X.shape[1])
    for _ in range(steps):
        w = w - eta * X.T @ (X @ w - y) / len(y)
    return w


def test_only_the_training_rows_set_the_scale():
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, 2.0, (9, 4))
    X[:5, 1] = 7.0
    ready = problems.standardised(X, 5)
    np.testing.assert_allclose(ready[:5].mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(ready[:5].std(axis=0), [1, 0, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(ready[:, 1], 0)
    X[5:] += 100.0
    np.testing.assert_array_equal(problems.standardised(X, 5)[:5], ready[:5])


def test_products_leave_out_the_square_of_sex_alone():
    X = np.random.default_rng(0).normal(size=(7, 10))
    both = problems.with_products(X)
    assert both.shape == (7, 64)
    assert not any(np.allclose(column, X[:, 1] ** 2) for column in both.T)
    assert any(np.allclose(column, X[:, 1] * X[:, 4]) for column in both.T)
    assert any(np.allclose(column, X[:, 3] ** 2) for column in both.T)


def test_errors_and_choices_are_those_of_plain_loops():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 10)), rng.normal(size=60)
    y = y - y[:12].mean()
    whole, part = (real_data.Regression.of(X[:n], y[:n]) for n in (12, 6))
    split = real_data._Split(whole, part, (X[6:12], y[6:12]), (X[12:], y[12:]))
    steps = np.array([3, 40])
    by_train = real_data.minimiser(real_data._spectra([part, whole]), steps)[1]
    found = real_data._measure(split, by_train, steps)
    for k, t in enumerate(steps):
        by_train, by_validation, _ = found["etas"][:, k] / whole.eigenvalues[0]
        for method, (n, eta) in enumerate([(12, by_train), (12, by_validation), (6, by_validation)]):
            w = descend(X[:n], y[:n], eta, t)
            np.testing.assert_allclose(found["errors"][method, k], np.mean((X[12:] @ w - y[12:]) ** 2), rtol=1e-9)
        etas = np.linspace(0, by_train, 400)
        train = [np.sum((X[:12] @ descend(X[:12], y[:12], eta, t) - y[:12]) ** 2) for eta in 1.02 * etas]
        assert min(train) >= np.sum((X[:12] @ descend(X[:12], y[:12], by_train, t) - y[:12]) ** 2)
        held = [np.sum((X[6:12] @ descend(X[:6], y[:6], eta, t) - y[6:12]) ** 2) for eta in etas]
        best = np.sum((X[6:12] @ descend(X[:6], y[:6], by_validation, t) - y[6:12]) ** 2)
        assert best <= min(held) * (1 + 1e-4)


def test_the_same_seed_the_same_splits_and_another_another(table):
    shard = real_data.shards(CONFIG)[0]
    again = real_data.compute(CONFIG, shard, Context(0, "cpu"))
    np.testing.assert_array_equal(again["errors"].astype(np.float32), table.arrays["errors"][0])
    assert not np.array_equal(real_data.compute(CONFIG, shard, Context(1, "cpu"))["errors"], again["errors"])


@pytest.mark.parametrize("name", real_data.PROBLEMS)
@pytest.mark.parametrize("seed", [0, 5])
def test_a_half_that_never_changes_is_kept_for_tests(name, seed):
    pytest.importorskip("sklearn", reason="the data are scikit-learn's; install the extra 'data'")
    data, about = problems.problem(name), real_data.PROBLEMS[name]
    fresh = problems.fresh_half(data)
    assert fresh.sum() == len(data.target) // 2
    np.testing.assert_array_equal(fresh, problems.fresh_half(data))
    n = max(real_data.presets["default"].sizes[name])
    split = real_data._Split.draw(data, n, np.random.default_rng(seed))
    assert split.whole.d == split.part.d == about.inputs
    assert (split.whole.n, split.part.n) == (n, n // 2)
    assert len(split.test[1]) == fresh.sum()
    unit = np.std(data.target[~fresh])
    np.testing.assert_allclose(np.ptp(split.test[1]), np.ptp(data.target[fresh]) / unit)
    # what is kept changes nothing of what is chosen
    other = replace(data, target=np.where(fresh, 0.0, data.target))
    again = real_data._Split.draw(other, n, np.random.default_rng(seed))
    np.testing.assert_array_equal(again.validation[1], split.validation[1])
    np.testing.assert_array_equal(again.whole.spectrum.weights, split.whole.spectrum.weights)


def test_pixels_keep_their_ratios():
    data = problems.Problem("digits", np.array([[0.0, 2.0], [4.0, 2.0], [100.0, 9.0]]), np.zeros(3), one_unit=True)
    np.testing.assert_allclose(problems.scaled(data, data.inputs_of, 2), np.array([[-2, 0], [2, 0], [98, 7]]) / 2**0.5)


def decided(table, **changed):
    arrays = table.arrays | {name: x.astype(np.float64) for name, x in changed.items()}
    return {check.key: check for check in real_data.verdict(CONFIG, replace(table, arrays=arrays)).checks}


def test_the_verdict_fails_where_validation_does_not_win(table):
    errors = table.arrays["errors"]
    before, swapped = decided(table), decided(table, errors=errors[:, :, [1, 0, 2]])
    for name in real_data.PROBLEMS:
        assert before[f"near_{name}"].holds
        assert swapped[f"near_{name}"].fails
    dearer = errors.copy()
    dearer[:, :, 1] = 1.06 * errors[:, :, 0]
    assert decided(table, errors=dearer)["far_digits"].fails
    assert tuple(before) == real_data.keys(CONFIG)


def test_without_the_data_it_says_what_to_install(monkeypatch):
    problems.problem.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[data\]'"):
        real_data.compute(CONFIG, real_data.shards(CONFIG)[0], Context(0, "cpu"))
