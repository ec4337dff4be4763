"""The real-data experiment: its preparation of the data, its choices and errors against plain loops, its verdict."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from analysis import real_data
from analysis.framework.contract import Context

CONFIG = replace(real_data.presets["quick"], horizons=(40, 200), linear=(10, 40), products=(64, 256))


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
    ready = real_data._standardised(X, 5)
    np.testing.assert_allclose(ready[:5].mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(ready[:5].std(axis=0), [1, 0, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(ready[:, 1], 0)
    X[5:] += 100.0
    np.testing.assert_array_equal(real_data._standardised(X, 5)[:5], ready[:5])


def test_products_leave_out_the_square_of_sex_alone():
    X = np.random.default_rng(0).normal(size=(7, 10))
    both = real_data._with_products(X)
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
    np.testing.assert_array_equal(again["errors"], table.arrays["errors"][0])
    assert not np.array_equal(real_data.compute(CONFIG, shard, Context(1, "cpu"))["errors"], again["errors"])


def test_the_verdict_fails_where_validation_does_not_win(table):
    swapped = replace(table, arrays=table.arrays | {"errors": table.arrays["errors"][:, :, [1, 0, 2]]})
    assert real_data.verdict(CONFIG, table).checks[0].holds
    assert not real_data.verdict(CONFIG, swapped).checks[0].holds
    dearer = table.arrays["errors"] * np.where(table.arrays["n"] >= 40, 1.1, 1.0)[:, None, None, None]
    dearer[:, :, 0] = table.arrays["errors"][:, :, 0]
    assert not real_data.verdict(CONFIG, replace(table, arrays=table.arrays | {"errors": dearer})).checks[1].holds


def test_without_the_data_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[data\]'"):
        real_data.compute(CONFIG, real_data.shards(CONFIG)[0], Context(0, "cpu"))
