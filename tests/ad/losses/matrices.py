"""Matrices and their factors."""

import numpy as np
import scipy.linalg as sla
from numpy.linalg import det, eigh, eigvalsh, inv, lstsq, pinv, qr, slogdet, solve, svd

from tests.ad.losses.registry import loss

rng = np.random.default_rng(7)
A = rng.normal(size=(6, 4))
M = rng.normal(size=(4, 4)) + 3 * np.eye(4)
S = np.cov(rng.normal(size=(4, 12)))
observed = rng.random((6, 4)) < 0.7
b = rng.normal(size=6)


@loss((rng.normal(size=(6, 2)), rng.normal(size=(4, 2))))
def masked_matrix_factorisation(params):
    U, V = params
    return np.sum(observed * (A - U @ V.T) ** 2) + 0.1 * (np.sum(U**2) + np.sum(V**2))


@loss((rng.normal(size=(6, 2)), rng.normal(size=(4, 2))))
def observed_entries_alone(params):
    rows, columns = np.nonzero(observed)
    predicted = np.einsum("nk,nk->n", params[0][rows], params[1][columns])
    return np.mean((A[rows, columns] - predicted) ** 2)


@loss(rng.normal(size=(6, 4)))
def nuclear_norm(W):
    return 0.5 * np.sum((W - A) ** 2, where=observed) + 0.1 * svd(W, compute_uv=False).sum()


@loss(rng.normal(size=(6, 4)))
def norms_of_a_matrix(W):
    return np.linalg.norm(W, "nuc") + np.linalg.norm(W, "fro") + np.linalg.norm(W, 2) + np.linalg.norm(W, axis=0).sum()


@loss(rng.normal(size=(6, 4)))
def low_rank_reconstruction(W):
    U, s, Vt = svd(A + 0.1 * W, full_matrices=False)
    return np.sum(((U[:, :2] * s[:2]) @ Vt[:2] - A) ** 2)


@loss(np.eye(4) + 0.1 * rng.normal(size=(4, 4)))
def log_det_divergence(L):
    X = L @ L.T
    XS = X @ inv(S)
    return np.trace(XS) - slogdet(XS)[1] - 4


@loss(rng.normal(size=(4, 4)))
def principal_components(W):
    values, vectors = eigh(S + 0.1 * (W + W.T))
    return -np.sum(values[-2:]) + np.sum((vectors[:, -1] @ A.T) ** 2)


@loss(rng.normal(size=4))
def spectral_gap(w):
    values = eigvalsh(S + np.outer(w, w))
    return -(values[-1] - values[-2])


@loss(rng.normal(size=(6, 3)))
def projection_on_orthogonal_columns(W):
    Q, R = qr(W)
    return np.sum((A - Q @ (Q.T @ A)) ** 2) + 0.1 * np.sum(np.log(np.abs(np.diag(R))))


@loss(rng.normal(size=(4, 3)))
def features_for_least_squares(W):
    features = np.tanh(A @ W)
    coefficients = lstsq(features, b, rcond=None)[0]
    return np.sum((features @ coefficients - b) ** 2) + 0.1 * np.sum(coefficients**2)


@loss(rng.normal(size=(4, 3)))
def features_for_the_pseudo_inverse(W):
    F = np.tanh(A @ W)
    return np.mean((F @ (pinv(F) @ b) - b) ** 2)


@loss(rng.normal(size=(4, 3)))
def ridge_by_the_normal_equations(W):
    F = np.tanh(A @ W)
    beta = solve(F.T @ F + 0.1 * np.eye(3), F.T @ b)
    return np.mean((F @ beta - b) ** 2)


@loss(rng.normal(size=(5, 5)))
def page_rank(W):
    P = np.exp(W) / np.exp(W).sum(axis=0)
    rank = solve(np.eye(5) - 0.85 * P, 0.15 / 5 * np.ones(5))
    return -np.log(rank[0])


@loss(rng.normal(size=(3, 3)))
def markov_chain(W):
    P = np.exp(W) / np.sum(np.exp(W), axis=1, keepdims=True)
    return -np.log((np.array([1.0, 0.0, 0.0]) @ np.linalg.matrix_power(P, 5))[2])


@loss((rng.normal(size=(2, 2)), rng.normal(size=(3, 2))))
def kronecker_factors(params):
    return np.sum((np.kron(params[0], params[1]) - A) ** 2)


@loss(0.3 * rng.normal(size=(4, 4)))
def independent_components(W):
    W = W + np.eye(4)
    return np.mean(np.sum(np.log(np.cosh(A @ W.T)), axis=1)) - np.log(np.abs(det(W)))


@loss([rng.normal(size=(3, 2)), rng.normal(size=(4, 2)), rng.normal(size=(2, 2))])
def tensor_factors(params):
    T = np.arange(24.0).reshape(3, 4, 2) / 24
    return np.sum((np.einsum("ir,jr,kr->ijk", *params) - T) ** 2)


@loss(rng.normal(size=(6, 4)))
def procrustes(W):
    U, _, Vt = svd(W.T @ A)
    return np.linalg.norm(W @ (U @ Vt) - A) ** 2


@loss(rng.normal(size=(4, 4)))
def experimental_design(W):
    F = A @ W
    C = np.linalg.inv(F.T @ F + np.eye(4))
    return np.trace(C) + np.log(np.linalg.det(C))


@loss(rng.normal(size=6))
def algebraic_connectivity(w):
    i, j = np.triu_indices(4, 1)
    D = np.zeros((6, 4))
    D[np.arange(6), i], D[np.arange(6), j] = 1.0, -1.0
    return -eigvalsh(D.T @ np.diag(np.exp(w)) @ D)[1]


@loss(np.eye(4) + 0.2 * rng.normal(size=(4, 4)))
def mahalanobis_metric(L):
    d = A[:3] - A[3:]
    return np.sum(np.sqrt(np.einsum("ni,ij,nj->n", d, L.T @ L, d)))


@loss(0.3 * rng.normal(size=(4, 4)))
def matrix_exponential(W):
    rotation = sla.expm(W - W.T)
    return np.sum((A @ rotation - A[:, ::-1]) ** 2)


@loss(rng.normal(size=(4, 4)))
def canonical_correlation(W):
    Sx = S + 0.1 * W @ W.T
    L = np.linalg.cholesky(Sx)
    K = sla.solve_triangular(L, M, lower=True)
    return -np.linalg.norm(K, ord=2) + np.linalg.multi_dot([K, K.T, K]).sum()


@loss(rng.normal(size=(3, 4, 4)))
def determinant_for_each_task(W):
    return slogdet(np.matmul(W, np.swapaxes(W, -1, -2)) + np.eye(4))[1] + np.trace(W, axis1=1, axis2=2)
