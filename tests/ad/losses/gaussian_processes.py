"""Gaussian processes and kernels."""

import numpy as np
import scipy.linalg as sla
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from tests.ad.losses.registry import loss

rng = np.random.default_rng(3)
X = np.sort(rng.uniform(-2, 2, size=7))
y = np.sin(2 * X) + 0.1 * rng.normal(size=7)
Z = np.linspace(-1.5, 1.5, 3)
w3 = np.array([0.1, -0.2, -1.0])


def kernel(a, b, w):
    return np.exp(2 * w[0]) * np.exp(-0.5 * np.subtract.outer(a, b) ** 2 / np.exp(2 * w[1]))


def covariance(w):
    return kernel(X, X, w) + (np.exp(2 * w[2]) + 1e-6) * np.eye(len(X))


@loss(w3)
def marginal_likelihood_by_cholesky(w):
    L = np.linalg.cholesky(covariance(w))
    alpha = solve_triangular(L, y, lower=True)
    return 0.5 * alpha @ alpha + np.log(np.diag(L)).sum() + 0.5 * len(y) * np.log(2 * np.pi)


@loss(w3)
def marginal_likelihood_by_cho_solve(w):
    c, lower = cho_factor(covariance(w), lower=True)
    return 0.5 * y @ cho_solve((c, lower), y) + np.sum(np.log(np.diagonal(c)))


@loss(w3)
def marginal_likelihood_by_slogdet(w):
    K = covariance(w)
    _, logdet = np.linalg.slogdet(K)
    return 0.5 * np.dot(y, np.linalg.solve(K, y)) + 0.5 * logdet


@loss(w3)
def marginal_likelihood_by_scipy(w):
    K = covariance(w)
    L = sla.cholesky(K, lower=True)
    return 0.5 * y @ sla.solve(K, y, assume_a="pos") + np.log(L.diagonal()).sum()


@loss(w3)
def leave_one_out(w):
    K_inv = np.linalg.inv(covariance(w))
    variance = 1 / np.diag(K_inv)
    mu = y - (K_inv @ y) * variance
    return np.sum(0.5 * np.log(variance) + 0.5 * (y - mu) ** 2 / variance)


@loss(w3)
def marginal_likelihood_by_eigenvalues(w):
    values, vectors = np.linalg.eigh(kernel(X, X, w))
    values = values + np.exp(2 * w[2])
    return 0.5 * np.sum((vectors.T @ y) ** 2 / values) + 0.5 * np.log(values).sum()


@loss({"w": w3, "Z": Z})
def sparse_with_inducing_points(params):
    w, z = params["w"], params["Z"]
    Kzz, Kzx = kernel(z, z, w) + 1e-4 * np.eye(3), kernel(z, X, w)
    L = np.linalg.cholesky(Kzz)
    A = solve_triangular(L, Kzx, lower=True) / np.exp(w[2])
    B = np.eye(3) + A @ A.T
    LB = np.linalg.cholesky(B)
    c = solve_triangular(LB, A @ y, lower=True) / np.exp(w[2])
    bound = -0.5 * y @ y / np.exp(2 * w[2]) + 0.5 * c @ c - np.sum(np.log(np.diag(LB))) - len(y) * w[2]
    return -(bound - 0.5 * (np.exp(2 * w[0]) * len(y) / np.exp(2 * w[2]) - np.trace(A @ A.T)))


@loss(w3 + 0.3 * rng.normal(size=(2, 3)))
def one_process_for_each_task(w):
    d2 = (X[:, None] - X[None, :]) ** 2
    K = np.exp(w[:, 0, None, None] - 0.5 * d2 * np.exp(-2 * w[:, 1, None, None])) + np.exp(w[:, 2])[
        :, None, None
    ] * np.eye(7)
    L = np.linalg.cholesky(K)
    alpha = np.linalg.solve(K, np.broadcast_to(y[:, None], (2, 7, 1)))[..., 0]
    return 0.5 * alpha @ y + np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(-1)


@loss(np.array([-1.2, 0.8]))
def periodic_kernel(w):
    r = np.abs(X[:, None] - X) * np.exp(w[0])
    K = np.exp(-2 * np.sin(np.pi * r) ** 2 / np.exp(w[1])) + 0.5 * np.eye(7)
    return y @ np.linalg.solve(K, y) + np.log(np.linalg.det(K))


@loss(rng.normal(size=(4, 2)))
def maximum_mean_discrepancy(z):
    target = np.array([[0.5, -0.5], [1.0, 0.3], [-1.0, 0.7]])

    def k(a, b):
        return np.exp(-np.sum((a[:, None] - b[None]) ** 2, axis=-1) / 2)

    return k(z, z).mean() - 2 * k(z, target).mean() + k(target, target).mean()
