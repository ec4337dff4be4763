"""Negative log-likelihoods."""

import numpy as np
import scipy.special as sc
from scipy.special import betaln, gammaln, i0, ive, log_ndtr, logsumexp

from tests.ad.losses.registry import loss

rng = np.random.default_rng(2)
x = rng.normal(1.0, 2.0, size=15)
k = rng.negative_binomial(3, 0.4, size=15)
share = rng.beta(2.0, 3.0, size=15)
theta = rng.uniform(-np.pi, np.pi, size=15)
positive = rng.gamma(2.0, size=15)
data = rng.normal(size=(9, 3))
P = rng.dirichlet([2.0, 1.0, 3.0], size=8)


@loss(np.array([0.5, 0.2]))
def normal(w):
    mu, log_sigma = w
    return 0.5 * np.sum(((x - mu) / np.exp(log_sigma)) ** 2) + len(x) * (log_sigma + 0.5 * np.log(2 * np.pi))


@loss(np.array([0.3, 0.1, 1.2]))
def student_t(w):
    mu, sigma, nu = w[0], np.exp(w[1]), np.exp(w[2])
    z = (x - mu) / sigma
    logp = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(sigma)
    return -np.sum(logp - (nu + 1) / 2 * np.log1p(z**2 / nu))


@loss({"log_mu": 0.8, "log_r": 0.5})
def negative_binomial(w):
    mu, r = np.exp(w["log_mu"]), np.exp(w["log_r"])
    logp = gammaln(k + r) - gammaln(r) - gammaln(k + 1) + r * np.log(r / (r + mu)) + k * np.log(mu / (r + mu))
    return -logp.sum()


@loss(np.array([0.4, 0.9]))
def beta(w):
    a, b = np.exp(w)
    return -np.sum((a - 1) * np.log(share) + (b - 1) * np.log1p(-share) - betaln(a, b))


@loss(np.array([0.3, 0.7]))
def von_mises(w):
    mu, kappa = w[0], np.exp(w[1])
    return -np.mean(kappa * np.cos(theta - mu) - np.log(2 * np.pi * i0(kappa)))


@loss(np.array([0.3, 2.0]))
def von_mises_concentrated(w):
    kappa = np.exp(w[1])
    return -np.mean(kappa * (np.cos(theta - w[0]) - 1) - np.log(2 * np.pi * ive(0, kappa)))


@loss({"logits": np.array([0.1, -0.2, 0.3]), "mu": np.array([-1.0, 0.5, 2.0]), "log_s": np.array([0.1, -0.1, 0.4])})
def gaussian_mixture(w):
    log_weights = sc.log_softmax(w["logits"])
    z = (x[:, None] - w["mu"]) / np.exp(w["log_s"])
    return -logsumexp(log_weights - 0.5 * z**2 - w["log_s"] - 0.5 * np.log(2 * np.pi), axis=1).mean()


@loss({"weights": np.array([0.4, 0.8]), "mu": np.array([-1.0, 1.5])})
def mixture_with_weights_as_b(w):
    b = w["weights"] / np.sum(w["weights"])
    return -np.sum(logsumexp(-0.5 * (x[:, None] - w["mu"]) ** 2, b=b, axis=1))


@loss(np.array([-0.3, 0.9]))
def zero_inflated_poisson(w):
    log_zero, log_rest, rate = sc.log_expit(w[0]), sc.log_expit(-w[0]), np.exp(w[1])
    poisson = k * np.log(rate) - rate - gammaln(k + 1)
    return -np.where(k == 0, np.logaddexp(log_zero, log_rest - rate), log_rest + poisson).sum()


@loss(np.array([0.5, 0.8]))
def beta_binomial(w):
    a, b, n = np.exp(w[0]), np.exp(w[1]), 20
    return -np.sum(np.log(sc.binom(n, k)) + betaln(k + a, n - k + b) - betaln(a, b))


@loss(np.array([0.2, 0.4, 0.6]))
def dirichlet(w):
    alpha = np.exp(w)
    return -np.mean(gammaln(alpha.sum()) - gammaln(alpha).sum() + ((alpha - 1) * np.log(P)).sum(axis=1))


@loss(np.array([0.5, 0.3]))
def tobit(w):
    mu, sigma = w[0], np.exp(w[1])
    z = (x - mu) / sigma
    return -np.where(x <= 0, log_ndtr(-mu / sigma), -0.5 * z**2 - np.log(sigma)).sum()


@loss(np.array([0.1, 0.3, 1.5]))
def skew_normal(w):
    z = (x - w[0]) * np.exp(-w[1])
    return -np.sum(np.log(2) - w[1] - 0.5 * z**2 + log_ndtr(w[2] * z))


@loss(np.array([0.3, 0.2]))
def weibull(w):
    shape, scale = np.exp(w)
    return -np.sum(np.log(shape / scale) + (shape - 1) * np.log(positive / scale) - (positive / scale) ** shape)


@loss(np.array([0.7, -0.2]))
def gamma_distribution(w):
    a, rate = np.exp(w[0]), np.exp(w[1])
    return -(a * np.log(rate) - gammaln(a) + (a - 1) * np.log(positive) - rate * positive).mean()


@loss(np.array([0.7, -0.2, 0.4, 0.3]))
def divergence_of_gammas(w):
    a, b, c, d = np.exp(w)
    return (a - c) * sc.digamma(a) - gammaln(a) + gammaln(c) + c * (np.log(b) - np.log(d)) + a * (d - b) / b


@loss((0.1 * rng.normal(size=3), np.array([0.2, -0.1, 0.3]), np.eye(3) + 0.1 * rng.normal(size=(3, 3))))
def multivariate_normal_by_its_factor(params):
    mu, log_diagonal, M = params
    L = np.tril(M, -1) + np.diag(np.exp(log_diagonal))
    z = np.linalg.solve(L, (data - mu).T)
    return 0.5 * np.sum(z**2) + len(data) * np.sum(log_diagonal)


@loss({"mean": np.array([0.1, -0.2]), "log_var": np.array([0.3, -0.5])})
def evidence_lower_bound(q):
    noise = np.array([[0.5, -1.0], [1.5, 0.2], [-0.7, 0.9]])
    z = q["mean"] + np.exp(0.5 * q["log_var"]) * noise
    log_joint = np.mean(np.sum(-((z[:, 0:1] + z[:, 1:2] ** 2 - x) ** 2), axis=1) / 10)
    kl = 0.5 * np.sum(np.exp(q["log_var"]) + q["mean"] ** 2 - 1 - q["log_var"])
    return kl - log_joint


@loss(np.array([0.4, 0.6]))
def exponentially_modified_gaussian(w):
    sigma, rate = np.exp(w)
    z = (sigma**2 * rate - x) / (np.sqrt(2) * sigma)
    return -np.mean(np.log(rate / 2) + rate / 2 * (sigma**2 * rate - 2 * x) + np.log(sc.erfc(z)))


@loss(rng.normal(size=(3, 2)))
def normal_for_each_task(w):
    mu, s = w[:, :1], np.logaddexp(0, w[:, 1:])
    return np.sum(0.5 * ((x - mu) / s) ** 2 + np.log(s), axis=1)
