"""Regression."""

import numpy as np
from scipy import sparse, special
from scipy.special import gammaln

from tests.ad.losses.registry import loss

rng = np.random.default_rng(0)
X = rng.normal(size=(12, 3))
y = X @ np.array([1.0, -2.0, 0.5]) + 0.3 * rng.normal(size=12)
counts = rng.poisson(3.0, size=12)
w3 = rng.normal(size=3)


@loss(w3)
def least_squares(w):
    return np.mean((X @ w - y) ** 2)


@loss(w3)
def elastic_net(w):
    return 0.5 * np.linalg.norm(y - X @ w) ** 2 + 0.1 * np.abs(w).sum() + 0.05 * np.linalg.norm(w) ** 2


@loss({"coef": w3, "intercept": 0.3})
def weighted_regression_with_an_intercept(params):
    weights = np.linspace(0.5, 2.0, len(y))
    residual = y - (np.dot(X, params["coef"]) + params["intercept"])
    return np.average(np.square(residual), weights=weights)


@loss(w3)
def log_cosh(w):
    r = y - X @ w
    return np.sum(np.logaddexp(r, -r) - np.log(2.0))


@loss(w3)
def huber_by_where(w, delta=1.0):
    r = np.abs(y - X @ w)
    return np.where(r <= delta, 0.5 * r**2, delta * (r - 0.5 * delta)).mean()


@loss(w3)
def huber_of_scipy(w):
    return special.huber(0.7, X @ w - y).sum()


@loss(w3)
def pseudo_huber_of_scipy(w):
    return special.pseudo_huber(1.5, X @ w - y).mean()


@loss(0.3 * w3)
def poisson_regression(w):
    eta = X @ w
    return -(counts * eta - np.exp(eta) - gammaln(counts + 1)).mean()


@loss(0.3 * w3)
def gamma_regression(w):
    mu = np.exp(np.matmul(X, w))
    target = np.abs(y) + 0.1
    return 2 * np.sum(-np.log(target / mu) + (target - mu) / mu)


@loss(0.3 * w3)
def tweedie_regression(w, p=1.5):
    mu = np.exp(X @ w)
    return -np.mean(counts * np.power(mu, 1 - p) / (1 - p) - mu ** (2 - p) / (2 - p))


@loss(rng.normal(size=5))
def polynomial_by_polyval(w):
    t = np.linspace(-1, 1, 12)
    return np.sum((np.polyval(w, t) - y) ** 2)


@loss(rng.normal(size=4))
def polynomial_of_a_traced_grid(w):
    t = np.tanh(w)
    A = np.vander(t, 3, increasing=True)
    return np.sum((A @ np.array([1.0, 0.5, -1.0]) - y[:4]) ** 2)


@loss(rng.normal(size=6))
def piecewise_linear_by_interp(w):
    knots = np.linspace(-2.5, 2.5, 6)
    return np.mean((np.interp(X[:, 0], knots, w) - y) ** 2)


@loss([0.1, w3, rng.normal(size=(3, 2))])
def factorisation_machine(w):
    w0, w1, V = w
    pairs = 0.5 * np.sum(np.square(X @ V) - np.square(X) @ np.square(V), axis=1)
    return np.mean((w0 + X @ w1 + pairs - y) ** 2)


@loss((rng.normal(size=(4, 3)), np.zeros(4), rng.normal(size=4)))
def radial_basis_network(params):
    centres, log_width, weights = params
    d2 = ((X[:, None, :] - centres[None, :, :]) ** 2).sum(axis=-1)
    return ((np.exp(-d2 * np.exp(log_width)) @ weights - y) ** 2).mean()


@loss(w3)
def features_standardised_by_hand(w):
    Z = X * w
    Z = (Z - Z.mean(axis=0)) / (Z.std(axis=0, ddof=1) + 1e-3)
    return np.mean((Z.sum(axis=1) - y) ** 2)


@loss(w3)
def explained_variance(w):
    return -(1 - np.var(y - X @ w) / np.var(y))


@loss(w3)
def correlation(w):
    return 1 - np.corrcoef(X @ w, y)[0, 1]


@loss(rng.normal(size=(4, 3)))
def ridge_for_each_task(w):
    return np.sum((w @ X.T - y) ** 2, axis=-1) + 0.1 * np.sum(w**2, axis=-1)


@loss(rng.normal(size=8))
def sparse_features(w):
    S = sparse.random(12, 8, density=0.4, format="csr", random_state=0)
    return np.mean((S @ w - y) ** 2)


@loss(np.array([1.3, 0.7, 0.4]))
def michaelis_menten(w):
    vmax, km, hill = w
    dose = np.geomspace(0.1, 10, 12)
    return np.sum((vmax * dose**hill / (km**hill + dose**hill) - np.abs(y)) ** 2)


@loss(np.array([0.4, -0.3, 0.2]))
def complementary_log_log(w):
    hit = y > 0
    eta = X @ w
    p = -np.expm1(-np.exp(eta))
    return -np.sum(special.xlogy(hit, p) + special.xlog1py(~hit, -p))
