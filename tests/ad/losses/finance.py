"""Portfolios and prices."""

import numpy as np
from scipy.special import ndtr

from tests.ad.losses.registry import loss

rng = np.random.default_rng(11)
returns = 0.01 + 0.05 * rng.normal(size=(20, 4))
strikes = np.array([0.9, 1.0, 1.1])
w4 = rng.normal(size=4)


def weights(w):
    e = np.exp(w - np.max(w))
    return e / e.sum()


@loss(w4)
def mean_and_variance(w):
    p = weights(w)
    return 5 * p @ np.cov(returns, rowvar=False) @ p - returns.mean(axis=0) @ p


@loss(w4)
def sharpe_ratio(w):
    r = returns @ weights(w)
    return -np.mean(r) / np.std(r, ddof=1)


@loss(w4)
def expected_shortfall(w):
    r = returns @ weights(w)
    return -np.sort(r)[: int(0.2 * len(r))].mean()


@loss(w4)
def value_at_risk(w):
    return -np.quantile(returns @ weights(w), 0.13)


@loss(w4)
def largest_drawdown(w):
    wealth = np.cumprod(1 + returns @ weights(w))
    return np.max(1 - wealth / np.maximum.accumulate(wealth))


@loss(w4)
def growth_and_turnover(w):
    p = weights(w)
    return -np.mean(np.log1p(returns @ p)) + 0.1 * np.sum(np.sqrt((p - 0.25) ** 2 + 1e-4))


@loss(np.array([-1.5, 0.02]))
def black_scholes(w):
    sigma, rate, years = np.exp(w[0]), w[1], 0.5
    d1 = (np.log(1.0 / strikes) + (rate + sigma**2 / 2) * years) / (sigma * np.sqrt(years))
    price = ndtr(d1) - strikes * np.exp(-rate * years) * ndtr(d1 - sigma * np.sqrt(years))
    return np.sum((price - np.array([0.14, 0.07, 0.03])) ** 2)


@loss(np.array([-8.0, -1.0, 1.5]))
def changing_volatility(w):
    omega, alpha, beta = np.exp(w[0]), 1 / (1 + np.exp(-w[1])) / 2, 1 / (1 + np.exp(-w[2])) / 2
    variance, total = np.var(returns[:, 0]), 0.0
    for r in returns[:, 0]:
        variance = omega + alpha * r**2 + beta * variance
        total = total + 0.5 * (np.log(variance) + r**2 / variance)
    return total


@loss(w4)
def information_ratio_against_the_best(w):
    r = returns @ weights(w)
    active = r - returns.max(axis=1)
    return -np.nanmean(active) / np.nanstd(active)


@loss(w4)
def risk_parity(w):
    p = weights(w)
    contribution = p * (np.cov(returns.T) @ p)
    return np.sum(np.subtract.outer(contribution, contribution) ** 2) * 1e6
