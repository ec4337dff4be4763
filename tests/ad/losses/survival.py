"""Times until an event."""

import numpy as np
from scipy.special import erfc, expit, gammaincc, logsumexp, ndtr

from tests.ad.losses.registry import loss

rng = np.random.default_rng(4)
X = rng.normal(size=(10, 3))
time = rng.exponential(size=10)
event = rng.random(10) < 0.7
w3 = 0.5 * rng.normal(size=3)


@loss(w3)
def cox_by_cumulative_sums(w):
    order = np.argsort(-time)
    eta = (X @ w)[order]
    return -np.sum((eta - np.log(np.cumsum(np.exp(eta))))[event[order]])


@loss(w3)
def cox_by_accumulated_logarithms(w):
    order = np.argsort(time)[::-1]
    eta = np.take(X @ w, order)
    return -np.mean(event[order] * (eta - np.logaddexp.accumulate(eta)))


@loss(w3)
def cox_by_risk_sets(w):
    eta = X @ w
    at_risk = time[None, :] >= time[:, None]
    return -np.sum(event * (eta - logsumexp(np.where(at_risk, eta, -np.inf), axis=1)))


@loss({"w": w3, "log_shape": 0.2})
def accelerated_failure(params):
    z = (np.log(time) - X @ params["w"]) * np.exp(params["log_shape"])
    return -np.sum(event * (params["log_shape"] + z) - np.exp(z))


@loss({"w": w3, "log_sigma": 0.1})
def censored_log_normal(params):
    z = (np.log(time) - X @ params["w"]) / np.exp(params["log_sigma"])
    observed = -0.5 * np.square(z) - params["log_sigma"] - 0.5 * np.log(2 * np.pi)
    return -np.where(event, observed, np.log(0.5 * erfc(z / np.sqrt(2)))).sum()


@loss(rng.normal(size=(3, 4)))
def discrete_hazards(W):
    hazard = expit(X @ W)
    survival = np.cumprod(1 - hazard, axis=1)
    interval = np.searchsorted([0.3, 0.7, 1.2], time)
    before = np.concatenate([np.ones((10, 1)), survival[:, :-1]], axis=1)
    rows = np.arange(10)
    dies = hazard[rows, interval] * before[rows, interval]
    return -np.sum(np.log(np.where(event, dies, survival[rows, interval])))


@loss(w3)
def concordance(w):
    eta = X @ w
    pairs = (time[:, None] < time[None, :]) & event[:, None]
    return -np.sum(ndtr(eta[:, None] - eta[None, :]), where=pairs) / pairs.sum()


@loss(np.array([0.3]))
def censored_gamma(w):
    rate = np.exp(w[0])
    return -np.sum(np.where(event, 2 * w[0] + np.log(time) - rate * time, np.log(gammaincc(2.0, rate * time))))
