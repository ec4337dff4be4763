"""Quantiles, order and robust statistics."""

import numpy as np
from scipy import special

from tests.ad.losses.registry import loss

rng = np.random.default_rng(6)
X = rng.normal(size=(11, 3))
y = X @ np.array([1.0, -1.0, 2.0]) + rng.standard_t(2, size=11)
w3 = rng.normal(size=3)
missing = np.where(rng.random(11) < 0.2, np.nan, y)


@loss(w3)
def pinball(w, tau=0.8):
    r = y - X @ w
    return np.mean(np.maximum(tau * r, (tau - 1) * r))


@loss(rng.normal(size=(3, 3)))
def several_quantiles(W):
    tau = np.array([0.1, 0.5, 0.9])
    r = y[:, None] - X @ W
    return np.where(r >= 0, tau * r, (tau - 1) * r).mean(axis=0).sum()


@loss(np.linspace(-1.0, 1.0, 4))
def quantile_huber(quantiles, kappa=1.0):
    tau = (np.arange(4) + 0.5) / 4
    u = y[:, np.newaxis] - quantiles
    h = np.where(np.abs(u) <= kappa, 0.5 * u**2, kappa * (np.abs(u) - 0.5 * kappa))
    return (np.abs(tau - (u < 0)) * h / kappa).sum(axis=1).mean()


@loss(w3)
def trimmed_mean(w):
    return np.sort((y - X @ w) ** 2)[1:-2].mean()


@loss(w3)
def median_of_means(w):
    r = np.square(y - X @ w)[:9]
    return np.median(r.reshape(3, 3).mean(axis=1))


@loss(w3)
def least_median_of_squares(w):
    return np.median((y - X @ w) ** 2)


@loss(w3)
def median_absolute_deviation(w):
    r = y - X @ w
    return 1.4826 * np.median(np.abs(r - np.median(r)))


@loss(w3)
def conditional_value_at_risk(w):
    losses = (y - X @ w) ** 2
    return np.mean(-np.partition(-losses, 3)[:3])


@loss(w3)
def quantile_of_losses(w):
    return np.quantile(np.abs(y - X @ w), 0.85) + np.percentile(X @ w, [25, 75]).sum()


@loss(w3)
def interquartile_range(w):
    q75, q25 = np.percentile(y - X @ w, [75, 25])
    return q75 - q25


@loss(w3)
def tukey_biweight(w, c=4.685):
    r = np.clip((y - X @ w) / c, -1.0, 1.0)
    return c**2 / 6 * np.sum(1 - (1 - r**2) ** 3)


@loss(w3)
def cauchy_and_welsch(w):
    r = y - X @ w
    return np.log1p((r / 2) ** 2).sum() + np.sum(-np.expm1(-((r / 3) ** 2)))


@loss(w3)
def winsorised(w):
    r = (y - X @ w) ** 2
    return np.minimum(r, np.quantile(r, 0.9)).mean()


@loss(rng.normal(size=(11, 5)))
def continuous_ranked_probability(ensemble):
    spread = np.abs(ensemble[:, :, None] - ensemble[:, None, :]).mean(axis=(1, 2))
    return np.mean(np.abs(ensemble - y[:, None]).mean(axis=1) - 0.5 * spread)


@loss(np.array([0.2, 0.4]))
def ranked_probability_of_a_normal(w):
    mu, sigma = w[0], np.exp(w[1])
    z = (y - mu) / sigma
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.mean(sigma * (z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)))


@loss(rng.normal(size=(4, 3)))
def energy_distance(z):
    def distance(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1) + 1e-12).mean()

    return 2 * distance(z, X) - distance(z, z)


@loss(w3)
def wasserstein_by_sorting(w):
    return np.abs(np.sort(X @ w) - np.sort(y)).mean()


@loss(w3)
def missing_values(w):
    return np.nanmean((missing - X @ w) ** 2)


@loss(w3)
def gini(w):
    r = np.sort(np.abs(y - X @ w))
    n = len(r)
    return np.sum((2 * np.arange(1, n + 1) - n - 1) * r) / (n * r.sum())


@loss(w3)
def rank_weighted(w):
    r = np.abs(y - X @ w)
    ranks = np.argsort(np.argsort(r))
    return np.average(r, weights=1.0 / (1 + ranks))


@loss(rng.normal(size=(2, 3)))
def worst_and_best_for_each_task(w):
    r = np.abs(y - w @ X.T)
    return r.max(axis=1) + 0.5 * np.amin(r, axis=1)
