"""The models that penalties are tuned of, held against scikit-learn; what work is counted; what the splits see."""

import numpy as np
import pytest

from analysis import _grouped_digits as network
from analysis import _penalty_search as search
from analysis._counted import Counted
from analysis._penalised import FOLDS, MODELS, Splits
from analysis._real_problems import fresh_half, problem
from metagrad import ad
from metagrad.xp import rng

linear_model = pytest.importorskip("sklearn.linear_model")
RIDGE = pytest.mark.parametrize("name", ["products", "cancer"])


def splits(name, count=2):
    return Splits.draw(name, count, rng(0, "test", name))


@RIDGE
def test_models_are_those_of_scikit_learn(name):
    some, lam = splits(name), 0.05
    n = some.X.shape[1]
    w = some.fitted(np.full((some.count, 1), np.log(lam)))
    for b in range(some.count):
        if some.logistic:
            model = linear_model.LogisticRegression(C=1 / (lam * n), tol=1e-10, max_iter=10_000)
            model.fit(some.X[b, :, :-1], some.y[b])
            theirs = np.append(model.coef_, model.intercept_)
        else:
            theirs = linear_model.Ridge(alpha=lam * n, fit_intercept=False).fit(some.X[b], some.y[b]).coef_
        np.testing.assert_allclose(w[b], theirs, atol=2e-5)


def test_the_models_of_the_folds_are_those_of_ridge_without_these_samples():
    some, lam = splits("diabetes"), 0.3
    n = some.X.shape[1]
    theta, w = np.full((some.count, 1), np.log(lam)), np.zeros((some.count, FOLDS, some.X.shape[2]))
    for _ in range(10):
        w, loss, _ = search.descend(some, theta, w, 1e-12)
    total = 0.0
    for fold in range(FOLDS):
        out = some.fold[0] == fold
        theirs = linear_model.Ridge(alpha=lam * n, fit_intercept=False).fit(some.X[0, ~out], some.y[0, ~out])
        np.testing.assert_allclose(w[0, fold], theirs.coef_, atol=1e-9)
        total += np.sum((theirs.predict(some.X[0, out]) - some.y[0, out]) ** 2) / 2
    assert loss[0] == pytest.approx(total / n, rel=1e-9)


@pytest.mark.parametrize("name", list(MODELS))
def test_no_split_has_a_sample_that_is_kept_for_tests(name):
    data = problem(MODELS[name].data)
    kept = fresh_half(data)
    some = splits(name, 1)
    assert some.fresh.shape[1] == kept.sum()
    assert MODELS[name].samples <= (~kept).sum()
    assert {np.bincount(fold).min() for fold in some.fold} == {MODELS[name].samples // FOLDS}


@RIDGE
def test_a_gradient_of_all_folds_counts_as_four_passes(name):
    some, counted = splits(name), Counted()
    task = some.task(counted, np.zeros((some.count, 1)))
    counted.flops = 0
    ad.grad(lambda w: np.sum(task.loss(w, None)))(task.w0)
    assert counted.flops / some.flops * (FOLDS - 1) / FOLDS == FOLDS - 1


@pytest.mark.parametrize("method", ["unrolled", "implicit"])
def test_a_search_lowers_the_loss_in_cross_validation(method):
    some = splits("products")
    start = np.full((some.count, 1), search.START)
    found = search.Search(5, 4, 0.7, method).run(some, start)
    w = np.zeros((some.count, FOLDS, some.X.shape[2]))
    before, after = (search.descend(some, theta, w, 1e-4)[1] for theta in (start, found[-1].theta))
    assert (after < before).all()
    passes = [chosen.passes[0] for chosen in found]
    assert (np.diff(passes) > 0).all()
    assert passes[0] > 2 * 5 * (FOLDS - 1)  # forward, and at least as much back


def test_random_search_keeps_to_its_budgets_and_takes_the_best():
    some = splits("wine")
    budgets = [np.full(some.count, passes) for passes in (100.0, 1000.0)]
    small, large = search.at_random(some, budgets, 1e-3, rng(0, "budget"))
    assert (small.passes >= 100).all()
    assert (large.passes > small.passes).all()
    w = np.zeros((some.count, FOLDS, some.X.shape[2]))
    losses = [search.descend(some, chosen.theta, w, 1e-3)[1] for chosen in (small, large)]
    assert (losses[1] <= losses[0] * (1 + 1e-3)).all()


def test_a_source_with_more_wrong_labels_gets_less_weight():
    groups = network.Groups.draw(3, rng(0, "test"))
    theta, passes = network.by_gradient(groups, 2, 1.0)
    assert theta[:, 0].mean() > 0 > theta[:, network.SOURCES - 1].mean()
    assert passes > 2 * 2 * network.STEPS
